/**
 * The time of this node: the machine's clock for heartbeats (the coordinator estimates its offset from them), and the
 * controller's time for every timestamp that leaves the node. While the coordinator is away the last correction stays.
 * Invariant: a correction that the estimate cannot tell from the present one changes nothing; in particular daemons of
 * one machine, whose offset is within its own error, keep exactly the machine's clock.
 */
import type { HeartbeatQuery } from '../contracts/node.js';
import type { Clock } from '../std/clock.js';
import { type ClockCorrection, CorrectedClock, STEP_MS_MIN } from '../std/corrected-clock.js';

export interface NodeClockOptions {
  readonly clock: Clock;
  /** Emulated error of the machine's clock, ms. */
  readonly skewMs: number;
}

export class NodeClock {
  /** As the machine has it. */
  readonly machine: Clock;
  /** The controller's. */
  readonly corrected: CorrectedClock;
  readonly #skewMs: number;
  #epoch = 0;
  #known = false;

  constructor({ clock, skewMs }: NodeClockOptions) {
    this.#skewMs = skewMs;
    this.machine = skewed(clock, skewMs);
    this.corrected = new CorrectedClock(this.machine);
  }

  /**
   * What a coordinator says with its heartbeat; one that is older than `epochSeen`, or than one that spoke before, is not
   * heard. True when the correction changed.
   */
  learn({ epoch, clock_offset_ms: offsetMs, clock_error_ms: errorMs }: HeartbeatQuery, epochSeen: number): boolean {
    if (epoch === undefined || offsetMs === undefined || errorMs === undefined) return false;
    if (epoch < Math.max(epochSeen, this.#epoch)) return false;
    this.#epoch = epoch;
    const { atMs, toMs: presentMs } = this.corrected.correction;
    const isFirst = !this.#known;
    this.#known = true;
    if (Math.abs(offsetMs - presentMs) <= errorMs) return false;
    const toMs = Math.abs(offsetMs) <= errorMs ? 0 : offsetMs;
    // Before the first one no timestamp of this node could be compared with any other: there is nothing to keep.
    const steps = isFirst || Math.abs(toMs - atMs) > STEP_MS_MIN;
    this.corrected.correct({ atMs: steps ? toMs : atMs, toMs });
    return true;
  }

  /** For handler hosts, whose clock is the machine's own without the emulated error. */
  get hostCorrection(): ClockCorrection {
    const { atMs, toMs } = this.corrected.correction;
    return { atMs: atMs - this.#skewMs, toMs: toMs - this.#skewMs };
  }
}

function skewed(clock: Clock, skewMs: number): Clock {
  if (skewMs === 0) return clock;
  return { now: () => clock.now() + skewMs / 1000, monotonicMs: () => clock.monotonicMs() };
}
