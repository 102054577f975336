/**
 * Round trip and clock offset of a node from its heartbeats, as NTP does it: the node's timestamp is taken to be of the
 * middle of the round trip; of the last samples the one with the smallest error counts, because queueing only ever adds
 * (clock filter of RFC 5905, section 10). The error of an offset is at most half of its round trip, what two readings of
 * one clock may differ, and what the clocks may have drifted since.
 * Surprising: samples whose intervals do not meet cannot both be true, so one of the two clocks was set meanwhile; the
 * newest one begins a new account.
 */
import { CLOCK_AGREEMENT_MS } from '../std/clock.js';

/** Samples that are looked back on: at 500 ms per heartbeat 16 s, in which clocks drift by about 3 ms. */
const WINDOW_SAMPLES = 32;

/** How far two clocks may move against each other, ms per ms: two quartzes of 100 parts in a million, one fast, one slow. */
export const DRIFT_MAX = 200e-6;

export interface ClockSample {
  /** Coordinator's wall clock when the question was sent and when the answer was there, s. */
  readonly sentAt: number;
  readonly receivedAt: number;
  /** The node's wall clock when it answered, s. */
  readonly nodeAt: number;
}

interface Estimate {
  readonly rttMs: number;
  /** Node's clock minus coordinator's. */
  readonly offsetMs: number;
  /** Coordinator's wall clock when it was made. */
  readonly atMs: number;
}

/** Node's clock minus coordinator's, and how wrong that may be. */
export interface ClockOffset {
  readonly offsetMs: number;
  readonly errorMs: number;
}

export class ClockEstimate {
  #samples: Estimate[] = [];
  #best: ClockOffset | null = null;

  add({ sentAt, receivedAt, nodeAt }: ClockSample): void {
    const rttMs = Math.max(0, receivedAt - sentAt) * 1000;
    const newest = { rttMs, offsetMs: (nodeAt - (sentAt + receivedAt) / 2) * 1000, atMs: receivedAt * 1000 };
    const known = bestOf(this.#samples, newest.atMs);
    if (known !== null && !meet(known, offsetOf(newest, newest.atMs))) this.#samples = [];
    this.#samples.push(newest);
    if (this.#samples.length > WINDOW_SAMPLES) this.#samples.shift();
    this.#best = bestOf(this.#samples, newest.atMs);
  }

  /** After a node was gone its clock may be another. */
  reset(): void {
    this.#samples = [];
    this.#best = null;
  }

  /** The shortest of the window. */
  get rttMs(): number | null {
    return this.#samples.length === 0 ? null : Math.min(...this.#samples.map((one) => one.rttMs));
  }

  /** As of the newest sample. */
  get offset(): ClockOffset | null {
    return this.#best;
  }
}

function bestOf(samples: readonly Estimate[], nowMs: number): ClockOffset | null {
  return samples
    .map((one) => offsetOf(one, nowMs))
    .reduce<ClockOffset | null>((best, one) => (best === null || one.errorMs <= best.errorMs ? one : best), null);
}

function offsetOf({ rttMs, offsetMs, atMs }: Estimate, nowMs: number): ClockOffset {
  return { offsetMs, errorMs: rttMs / 2 + CLOCK_AGREEMENT_MS + Math.abs(nowMs - atMs) * DRIFT_MAX };
}

function meet(a: ClockOffset, b: ClockOffset): boolean {
  return Math.abs(a.offsetMs - b.offsetMs) <= a.errorMs + b.errorMs;
}
