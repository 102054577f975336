/** Time behind an interface, so that a whole cluster can run in virtual time. */
export interface Clock {
  /** Wall clock, seconds since the epoch (the unit of every timestamp on the wire and in the database). */
  now(): number;
  /** Monotonic milliseconds with an arbitrary origin; only differences mean anything. */
  monotonicMs(): number;
}

/** The machine's two clocks, ms; tests pass their own. */
export interface ClockSources {
  /** Coarse (1 ms), may be set by hand or by NTP. */
  wallMs(): number;
  /** Fine, never set. */
  monotonicMs(): number;
}

const MACHINE: ClockSources = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };

/**
 * Coarse and fine time may disagree by this much before the fine one is anchored anew: twice the coarse one's step, ms.
 * So far may two processes of one machine disagree about the time.
 */
export const CLOCK_AGREEMENT_MS = 2;

/** A wall clock that is set back by more than this is believed; less is waited out, so that events keep their order, ms. */
const BACKWARD_MS_MAX = 1000;

/** How often the coarse clock is looked at, ms: it has no finer step, and a look costs as much as one at the fine clock. */
const LOOK_MS = 1;

/**
 * The machine's wall clock with the resolution of its monotonic one. It follows when the wall clock is set, so that all
 * processes of a machine agree to within 2 ms, whenever they were started; and it does not run backwards for small steps.
 */
export function systemClock({ wallMs, monotonicMs }: ClockSources = MACHINE): Clock {
  let originMs = wallMs() - monotonicMs();
  let lookedMs = monotonicMs();
  const ordered = inOrder();
  const nowMs = () => {
    const fineMs = monotonicMs();
    if (fineMs - lookedMs >= LOOK_MS) {
      lookedMs = fineMs;
      const driftMs = wallMs() - (originMs + fineMs);
      if (Math.abs(driftMs) > CLOCK_AGREEMENT_MS) originMs += driftMs;
    }
    return ordered(originMs + fineMs);
  };
  return { now: () => nowMs() / 1000, monotonicMs };
}

/** Readings of one clock as its process shows them: a small step back is waited out, a large one believed. */
export function inOrder(): (readingMs: number) => number {
  let lastMs = 0;
  return (readingMs) => {
    if (readingMs > lastMs || lastMs - readingMs > BACKWARD_MS_MAX) lastMs = readingMs;
    return lastMs;
  };
}
