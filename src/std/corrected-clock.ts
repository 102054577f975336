/**
 * The controller's time on a machine whose own clock is wrong: machine time minus a correction. A changed correction is
 * slewed (the clock runs a little fast or slow until it is there), so that events keep their order and durations their
 * length to within SLEW_RATE; only a jump is stepped, because frames that are seconds off cannot wait for a slew.
 * Surprising: every process of a node follows what its agent says and decides nothing itself. Two processes that judged
 * by themselves could disagree by the whole error of the estimate, and a link between them would take negative time.
 */
import { type Clock, inOrder } from './clock.js';

/** How much faster or slower than the machine's clock it may run, as a part of 1: 100 ms are made good within 2 s. */
export const SLEW_RATE = 0.05;

/** Corrections that are off by more than this are stepped, ms: a slew would take longer than 5 s, and most deadlines pass. */
export const STEP_MS_MIN = 250;

/** What is subtracted from the machine's clock now, and where that is moving to. */
export interface ClockCorrection {
  readonly atMs: number;
  readonly toMs: number;
}

export class CorrectedClock implements Clock {
  readonly #machine: Clock;
  #fromMs = 0;
  #toMs = 0;
  /** When the slew began, monotonic ms. */
  #sinceMs = 0;
  #ordered = inOrder();

  constructor(machine: Clock) {
    this.#machine = machine;
  }

  now(): number {
    return this.#ordered(this.#machine.now() * 1000 - this.#correctionMs()) / 1000;
  }

  monotonicMs(): number {
    return this.#machine.monotonicMs();
  }

  get correction(): ClockCorrection {
    return { atMs: this.#correctionMs(), toMs: this.#toMs };
  }

  /** From `atMs` slowly to `toMs`; a step when what is subtracted now is far from `atMs`. */
  correct({ atMs, toMs }: ClockCorrection): void {
    if (Math.abs(atMs - this.#correctionMs()) > STEP_MS_MIN) this.#ordered = inOrder();
    this.#fromMs = atMs;
    this.#toMs = toMs;
    this.#sinceMs = this.#machine.monotonicMs();
  }

  #correctionMs(): number {
    const leftMs = this.#toMs - this.#fromMs;
    if (leftMs === 0) return this.#toMs;
    const slewedMs = (this.#machine.monotonicMs() - this.#sinceMs) * SLEW_RATE;
    return slewedMs >= Math.abs(leftMs) ? this.#toMs : this.#fromMs + Math.sign(leftMs) * slewedMs;
  }
}
