/**
 * Over how many connections a link should run. One carries everything on a short, clean path. On a long path each lost
 * segment halves a connection's window for many round trips, and on any path it holds back all that is behind it; four
 * connections that are each used when they have least on the way carry on meanwhile.
 * Grows only: a path that was lossy once is left as it is until the link connects anew.
 */

import { OrchestratorError } from '../contracts/errors.js';

/** Connections of one link: four carried 29.4 of 30 fps at 1 % loss and 20 ms round trip, one 13. */
export const LINK_STRIPES_MAX = 4;

/** A round trip from here on is a long path, ms: within one machine room it is below 1. */
export const STRIPE_RTT_MS = 5;

/** Round trips that must have been measured: some wait behind models that are being loaded, or behind data. */
const RTT_SAMPLES_MIN = 5;

/** Paths shorter than this never stall by loss (one machine, one switch); what is late there was late in a process, ms. */
const STALL_RTT_MS = 1;

/** A packet that came so much later than the quickest, beside the round trip, was held back by a lost segment, ms. */
const STALL_MS = 100;

/** Stalls that are needed: one may be a process that was busy. */
const STALLS_MIN = 3;

export class StripePolicy {
  #rttMs = Number.POSITIVE_INFINITY;
  #rttSamples = 0;
  #quickestMs = Number.POSITIVE_INFINITY;
  #stalls = 0;

  rtt(rttMs: number): void {
    this.#rttSamples += 1;
    this.#rttMs = Math.min(this.#rttMs, rttMs);
  }

  /** From sent to received, ms, by clocks that need not agree. */
  delay(delayMs: number): void {
    this.#quickestMs = Math.min(this.#quickestMs, delayMs);
    if (delayMs - this.#quickestMs > STALL_MS + 2 * this.#rttMs) this.#stalls += 1;
  }

  /** Connections that the link should have now. */
  get wanted(): number {
    if (this.#rttSamples < RTT_SAMPLES_MIN || this.#rttMs < STALL_RTT_MS) return 1;
    return this.#rttMs >= STRIPE_RTT_MS || this.#stalls >= STALLS_MIN ? LINK_STRIPES_MAX : 1;
  }
}

/** Throws LINK_PROTOCOL when a connection that names `group` may not join the link. */
export function checkJoin(link: { open: boolean; size: number; group: string }, group: string): void {
  if (!link.open || group === '' || group !== link.group) {
    throw new OrchestratorError('LINK_PROTOCOL', `no connection of group ${group || '(none)'} is open`);
  }
  if (link.size < LINK_STRIPES_MAX) return;
  throw new OrchestratorError('LINK_PROTOCOL', `group ${group} has ${LINK_STRIPES_MAX} connections already`);
}
