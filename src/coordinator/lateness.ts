/**
 * Which running sessions miss the latency that they were promised, from the figures of their sinks. What comes too late is
 * dropped on its way (`latest`) and is in no percentile of what came: a session of which more than one frame in twenty
 * is dropped so misses its bound as well, however quick the others are. Whether it is the bound that is missed or a burst
 * that stays in the percentile, the planning loop finds by the counts that are told with it.
 */
import { LATE_SHARE_MAX } from '../allocation/fleet/loop-lateness.js';
import type { LoopEvent } from '../allocation/fleet/loop-rules.js';
import type { HandlerStats } from '../contracts/node.js';
import type { Clock } from '../std/clock.js';
import type { NodeRegistry } from './node-registry.js';
import { observedHandler, observedState, type SessionRecord, sinkIds } from './session-record.js';

/** A share is taken over so much time and so many frames: of twenty, one may be late. */
const WINDOW_MS = 2_000;
const WINDOW_FRAMES = 20;

export interface LatenessOptions {
  readonly registry: Pick<NodeRegistry, 'observed'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

interface Window {
  readonly pid: number | null;
  readonly atMs: number;
  readonly frames: number;
  readonly late: number;
  /** Of the window before. */
  readonly share: number;
}

export class Lateness {
  readonly #options: LatenessOptions;
  /** By session_id and handler_id of the sink. */
  #windows = new Map<string, Window>();

  constructor(options: LatenessOptions) {
    this.#options = options;
  }

  /** Those that miss their bound now; called every second or so. */
  missed(records: readonly SessionRecord[]): LoopEvent[] {
    const before = this.#windows;
    this.#windows = new Map();
    return records.flatMap((record) => this.#missed(record, before));
  }

  #missed(record: SessionRecord, before: ReadonlyMap<string, Window>): LoopEvent[] {
    const { registry } = this.#options;
    const { session_id, request, plan } = record.stored;
    const bound = request.objective?.latency_ms_max;
    if (bound === undefined || observedState(record, registry) !== 'running') return [];
    const counts = { frames: 0, late: 0 };
    const measured = sinkIds(plan).map((id) => {
      const seen = observedHandler(record, registry, id);
      if (seen?.stats === undefined) return 0;
      const { stats, pid } = seen;
      const key = `${session_id} ${id}`;
      const window = this.#advanced(before.get(key), pid, stats);
      this.#windows.set(key, window);
      const dropped = lateOf(stats.drops_seen);
      // The same frames come to every sink.
      counts.frames = Math.max(counts.frames, stats.processed + dropped);
      counts.late = Math.max(counts.late, dropped + (stats.late ?? 0));
      const p95 = stats.end_to_end_ms_p95 ?? 0;
      // By how much the dropped ones were late nobody knows: the more of them, the more.
      return window.share > LATE_SHARE_MAX ? Math.max(p95, bound * (1 + window.share)) : p95;
    });
    const measured_ms = Math.max(...measured);
    return measured_ms > bound ? [{ kind: 'latency_missed', session_id, measured_ms, ...counts }] : [];
  }

  #advanced(before: Window | undefined, pid: number | null, { processed, drops_seen }: HandlerStats): Window {
    const late = lateOf(drops_seen);
    const now = { pid, atMs: this.#options.clock.monotonicMs(), frames: processed + late, late };
    // Another process counts from its own beginning.
    if (before === undefined || before.pid !== pid || now.frames < before.frames) return { ...now, share: 0 };
    const frames = now.frames - before.frames;
    const isOver = frames >= WINDOW_FRAMES && now.atMs - before.atMs >= WINDOW_MS;
    return isOver ? { ...now, share: (late - before.late) / frames } : before;
  }
}

/** Keys are `reason handler_id`. */
function lateOf(drops: HandlerStats['drops_seen']): number {
  return Object.entries(drops).reduce((sum, [key, count]) => (key.startsWith('late ') ? sum + count : sum), 0);
}
