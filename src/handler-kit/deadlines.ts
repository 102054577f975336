/** How long there is for the packets that a handler has at work: what its models, in another process, are told. */
import type { Clock } from '../std/clock.js';

export class Deadlines {
  readonly #clock: Clock;
  /** Seconds since the epoch; as many as the handler's `concurrency`. */
  readonly #open: number[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A packet is at work; 0: it has no deadline. */
  begin(deadline: number): void {
    this.#open.push(deadline > 0 ? deadline : Number.POSITIVE_INFINITY);
  }

  end(deadline: number): void {
    const index = this.#open.indexOf(deadline > 0 ? deadline : Number.POSITIVE_INFINITY);
    if (index >= 0) this.#open.splice(index, 1);
  }

  /** Until the earliest one, ms; Infinity when there is none. */
  leftMs(): number {
    const earliest = Math.min(...this.#open);
    return Number.isFinite(earliest) ? (earliest - this.#clock.now()) * 1000 : Number.POSITIVE_INFINITY;
  }
}
