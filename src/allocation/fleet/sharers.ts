/** Draws the sessions that one step of the search is about: those that share what a placement takes. */
import type { Placed, State } from './state.js';

export interface SharersOptions {
  readonly state: State;
  readonly random: () => number;
  /** By task: 1 = never drawn. */
  readonly fixed: Uint8Array;
}

export class Sharers {
  readonly #options: SharersOptions;
  /** By task: the draw in which it came last. */
  readonly #mark: Uint32Array;
  #stamp = 0;

  constructor(options: SharersOptions) {
    this.#options = options;
    this.#mark = new Uint32Array(options.state.fleet.tasks.length);
  }

  /** The task and up to `others` of those on its resources, the fullest resources first. */
  draw(task: number, { resources }: Placed, others: number): number[] {
    const { state, random, fixed } = this.#options;
    const { capacity } = state.fleet;
    this.#stamp++;
    this.#mark[task] = this.#stamp;
    const tasks = [task];
    let total = 0;
    const shares = Array.from(resources, (resource) => {
      const load = state.tasksOn[resource]!.length === 0 ? 0 : state.used[resource]! / capacity[resource]!;
      total += load ** 3;
      return load ** 3;
    });
    for (let drawn = 0; drawn < others && total > 0; drawn++) {
      let left = random() * total;
      let at = 0;
      while (at < shares.length - 1 && left >= shares[at]!) left -= shares[at++]!;
      const there = state.tasksOn[resources[at]!]!;
      const one = there[Math.floor(random() * there.length)];
      if (one === undefined || this.isDrawn(one) || fixed[one] === 1) continue;
      this.#mark[one] = this.#stamp;
      tasks.push(one);
    }
    return tasks;
  }

  /** Whether the last draw has it. */
  isDrawn(task: number): boolean {
    return this.#mark[task] === this.#stamp;
  }
}
