/**
 * What the sinks of a session took between two moments, from the heartbeats alone. A sink's figures count every sequence
 * that has passed it once, as processed or as a drop, so they can be held against how far its sequences have come.
 * They begin anew with its process; then there is nothing to compare, and the ledger must be asked.
 */
import type { NodeRegistry } from './node-registry.js';
import { observedHandler, type SessionRecord, sinkIds } from './session-record.js';

interface SinkCount {
  readonly pid: number | null;
  readonly last: number;
  readonly processed: number;
  readonly skipped: number;
  readonly dropped: number;
}

/** By handler_id of the sink. */
export type SinkTally = ReadonlyMap<number, SinkCount>;

export interface SinkDifference {
  /** Sequences that ended as drops, or did not come at all. */
  readonly lost: number;
  /** Sequences that were taken more than once. */
  readonly duplicated: number;
}

export function sinkTally(record: SessionRecord, registry: Pick<NodeRegistry, 'observed'>): SinkTally {
  const counts = sinkIds(record.stored.plan).flatMap((id): [number, SinkCount][] => {
    const observed = observedHandler(record, registry, id);
    if (observed?.stats === undefined) return [];
    const { last_sequence, processed, drops_seen } = observed.stats;
    const { skipped = 0, ...drops } = drops_seen;
    const dropped = Object.values(drops).reduce((sum, count) => sum + count, 0);
    return [[id, { pid: observed.pid, last: last_sequence ?? -1, processed, skipped, dropped }]];
  });
  return new Map(counts);
}

/** Over all sinks; null when one of them is not the process that it was, or does not tell. */
export function sinkDifference(before: SinkTally, now: SinkTally): SinkDifference | null {
  let lost = 0;
  let duplicated = 0;
  if (before.size !== now.size) return null;
  for (const [id, then] of before) {
    const count = now.get(id);
    if (count === undefined || count.pid !== then.pid) return null;
    const dropped = count.dropped - then.dropped;
    const passed = count.processed - then.processed + count.skipped - then.skipped + dropped;
    const missing = count.last - then.last - passed;
    lost += dropped + Math.max(0, missing);
    duplicated += Math.max(0, -missing);
  }
  return { lost, duplicated };
}

/** `12 lost (between 1190 and 1230)`: the sequences that the sinks had come to before and after. */
export function lostWords(before: SinkTally, now: SinkTally): string {
  const difference = sinkDifference(before, now);
  if (difference === null) return 'its sink began anew: orchestrator loss tells what was lost';
  const lasts = [...before, ...now].map(([, { last }]) => last);
  const where = difference.lost === 0 ? '' : ` (between ${Math.min(...lasts)} and ${Math.max(...lasts)})`;
  return `${difference.lost} lost${where}`;
}

/** `0 lost, 0 duplicated` */
export function differenceWords(difference: SinkDifference | null): string {
  if (difference === null) return 'its sink began anew: orchestrator loss tells what was lost';
  return `${difference.lost} lost, ${difference.duplicated} duplicated`;
}
