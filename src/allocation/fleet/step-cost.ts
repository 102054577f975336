/**
 * What a step of the search costs others: the price curve between the load that a resource had before the step and the
 * one that it has after it, in utility, over the resources that the step has touched. Nothing is copied or cleared for a
 * step but those.
 */
import { type Placed, PRICE_SLOPE, type State } from './state.js';

type Placements = readonly (Placed | null)[];

export class StepCost {
  readonly #state: State;
  /** By resource: the step that touched it last. */
  readonly #mark: Uint32Array;
  readonly #before: Float64Array;
  #stamp = 0;

  constructor(state: State) {
    this.#state = state;
    this.#mark = new Uint32Array(state.fleet.resourceCount);
    this.#before = new Float64Array(state.fleet.resourceCount);
  }

  /** Before the placements `old` are taken out. */
  begin(old: Placements): void {
    this.#stamp += 1;
    const { used } = this.#state;
    for (const one of old) for (const resource of one?.resources ?? []) this.#note(resource, used[resource]!);
  }

  /** After `now` have been put in for them. Below 0: the step has freed more than it has taken. */
  rise(old: Placements, now: Placements): number {
    this.#noteFresh(now);
    const { price, used, fleet } = this.#state;
    let rise = 0;
    for (const one of [...old, ...now]) {
      for (const resource of one?.resources ?? []) {
        const capacity = fleet.capacity[resource]!;
        if (this.#mark[resource] !== this.#stamp || capacity === Number.POSITIVE_INFINITY) continue;
        this.#mark[resource] = 0;
        const change = (used[resource]! - this.#before[resource]!) / capacity;
        rise += ((price[resource]! * capacity) / PRICE_SLOPE) * (1 - Math.exp(-PRICE_SLOPE * change));
      }
    }
    return rise;
  }

  /** Resources that only the new placements touch: their load before is what they carry now less what those take. */
  #noteFresh(now: Placements): void {
    const fresh = new Set<number>();
    for (const one of now) {
      one?.resources.forEach((resource, at) => {
        if (this.#mark[resource] === this.#stamp && !fresh.has(resource)) return;
        if (!fresh.has(resource)) this.#note(resource, this.#state.used[resource]!);
        fresh.add(resource);
        this.#before[resource]! -= one.amounts[at]!;
      });
    }
  }

  #note(resource: number, load: number): void {
    this.#mark[resource] = this.#stamp;
    this.#before[resource] = load;
  }
}
