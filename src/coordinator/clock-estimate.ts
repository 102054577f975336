/**
 * Round trip and clock offset of a node from its heartbeats, as NTP does it: the node's timestamp is taken to be of the
 * middle of the round trip; of the last samples the one with the shortest round trip counts, because queueing only ever
 * adds (clock filter of RFC 5905, section 10). The error of the offset is at most half of that round trip.
 */

/** Samples that are looked back on: at 500 ms per heartbeat 16 s, in which clocks drift by less than a millisecond. */
const WINDOW_SAMPLES = 32;

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
}

export class ClockEstimate {
  #samples: Estimate[] = [];
  #best: Estimate | null = null;

  add({ sentAt, receivedAt, nodeAt }: ClockSample): void {
    const rttMs = Math.max(0, receivedAt - sentAt) * 1000;
    const offsetMs = (nodeAt - (sentAt + receivedAt) / 2) * 1000;
    this.#samples.push({ rttMs, offsetMs });
    if (this.#samples.length > WINDOW_SAMPLES) this.#samples.shift();
    this.#best = this.#samples.reduce((best, one) => (one.rttMs <= best.rttMs ? one : best));
  }

  /** After a node was gone its clock may be another. */
  reset(): void {
    this.#samples = [];
    this.#best = null;
  }

  get rttMs(): number | null {
    return this.#best?.rttMs ?? null;
  }

  get offsetMs(): number | null {
    return this.#best?.offsetMs ?? null;
  }
}
