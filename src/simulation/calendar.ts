/** Virtual time: what happens when, in order. Two things of one moment happen in the order in which they were entered. */
import { Heap } from '../std/heap.js';

interface Entry {
  readonly ms: number;
  readonly order: number;
  readonly act: () => void;
}

export class Calendar {
  readonly #entries = new Heap<Entry>((a, b) => a.ms < b.ms || (a.ms === b.ms && a.order < b.order));
  #order = 0;
  #nowMs = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** `ms` since the start; what lies in the past happens next. */
  at(ms: number, act: () => void): void {
    this.#entries.push({ ms: Math.max(ms, this.#nowMs), order: this.#order++, act });
  }

  after(ms: number, act: () => void): void {
    this.at(this.#nowMs + ms, act);
  }

  /** Everything up to and including `ms`, also what is entered meanwhile; then it is `ms`. */
  runUntil(ms: number): void {
    for (let next = this.#entries.peek(); next !== undefined && next.ms <= ms; next = this.#entries.peek()) {
      this.#entries.pop();
      this.#nowMs = next.ms;
      next.act();
    }
    this.#nowMs = Math.max(this.#nowMs, ms);
  }
}
