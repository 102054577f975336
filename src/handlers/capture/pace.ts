import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../../std/clock.js';

/**
 * When the picture after one that was due at `previousMs` is due. Steps are counted from the first picture, so that waits
 * that end late do not add up; after a stall of more than a step the count begins anew, so that no burst follows.
 */
export function nextDueMs(previousMs: number | null, nowMs: number, stepMs: number): number {
  return previousMs === null || nowMs > previousMs + 2 * stepMs ? nowMs : previousMs + stepMs;
}

/** Waits until the next picture is due, or `signal` aborts. */
export type Pacer = () => Promise<void>;

/** @param fps pictures per second by `clock`; 0 = no waiting */
export function pacer(fps: number, clock: Clock, signal: AbortSignal): Pacer {
  if (fps === 0) return async () => {};
  let dueMs: number | null = null;
  return async () => {
    const nowMs = clock.monotonicMs();
    dueMs = nextDueMs(dueMs, nowMs, 1000 / fps);
    if (dueMs > nowMs) await sleep(dueMs - nowMs, undefined, { signal }).catch(() => {});
  };
}
