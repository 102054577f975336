/**
 * When the picture after one that was due at `previousMs` is due. Steps are counted from the first picture, so that waits
 * that end late do not add up; after a stall of more than a step the count begins anew, so that no burst follows.
 */
export function nextDueMs(previousMs: number | null, nowMs: number, stepMs: number): number {
  return previousMs === null || nowMs > previousMs + 2 * stepMs ? nowMs : previousMs + stepMs;
}
