/** Time behind an interface, so that a whole cluster can run in virtual time. */
export interface Clock {
  /** Wall clock, seconds since the epoch (the unit of every timestamp on the wire and in the database). */
  now(): number;
  /** Monotonic milliseconds with an arbitrary origin; only differences mean anything. */
  monotonicMs(): number;
}

/** The machine's clock. The wall clock is anchored once and advanced monotonically, so steps do not reorder events. */
export function systemClock(): Clock {
  const originMs = Date.now() - performance.now();
  return {
    now: () => (originMs + performance.now()) / 1000,
    monotonicMs: () => performance.now(),
  };
}
