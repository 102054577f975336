/**
 * When a session counts as late. What is measured covers some time: a burst of late frames stays in a p95 for as long as that
 * is, and would confirm itself. So whatever was seen first only begins a watch, and the frames that end after it decide:
 *
 *   most of them late for `confirmS`          it cannot go on like this
 *   more than p95 allows over `lateWindowS`   it does not hold its bound where it is
 *
 * A watch that is over is followed by the next one for as long as the session is told of as late, once a second.
 */
import type { LoopEvent, LoopRules } from './loop-rules.js';

export type Missed = Extract<LoopEvent, { kind: 'latency_missed' }>;

/** Frames that end while a session is told of as late. Immutable. */
export interface LateWatch {
  readonly fromS: number;
  /** When the session was told of last. */
  readonly toldS: number;
  /** As they were told when it began. */
  readonly frames: number;
  readonly late: number;
  /** By this watch, or by the one before until this one is over. */
  readonly isConfirmed: boolean;
}

/** Share of frames that is most of them. */
const MOST = 0.5;

/** What p95 leaves out. */
export const LATE_SHARE_MAX = 0.05;

/** Fewer frames say nothing: about most of them, and about one in twenty. */
const FRAMES_MIN = 5;
const WINDOW_FRAMES_MIN = 20;

/** Who has not been told of for so long is late no more; decisions about others come in between. */
const TOLD_S = 2;

/** Everybody's, with what the events tell in them. */
export function watchedAll(
  before: ReadonlyMap<number, LateWatch>,
  events: readonly LoopEvent[],
  atS: number,
  rules: LoopRules,
): ReadonlyMap<number, LateWatch> {
  const late = new Map([...before].filter(([, { toldS }]) => atS - toldS <= TOLD_S));
  for (const event of events) {
    if (event.kind === 'latency_missed')
      late.set(event.session_id, watched(late.get(event.session_id), event, atS, rules));
  }
  return late;
}

/** The watch with what is told at `atS` in it; `before` undefined = not late until now. */
export function watched(
  before: LateWatch | undefined,
  { frames, late }: Pick<Missed, 'frames' | 'late'>,
  atS: number,
  { confirmS, lateWindowS }: Pick<LoopRules, 'confirmS' | 'lateWindowS'>,
): LateWatch {
  const begun = (isConfirmed: boolean): LateWatch => ({ fromS: atS, toldS: atS, frames, late, isConfirmed });
  // Whoever counts them has begun anew.
  if (before === undefined || frames < before.frames || late < before.late) return begun(false);
  const lastsS = atS - before.fromS;
  const fresh = frames - before.frames;
  const freshLate = late - before.late;
  if (fresh >= WINDOW_FRAMES_MIN && lastsS >= Math.max(confirmS, lateWindowS))
    return begun(freshLate > LATE_SHARE_MAX * fresh);
  const isMost = fresh >= FRAMES_MIN && lastsS >= confirmS && freshLate > MOST * fresh;
  return { ...before, toldS: atS, isConfirmed: before.isConfirmed || isMost };
}
