/** Retention as all engines do it: what a chunk is, and chunk after chunk until a table is within its bounds. */

import { ROLLUP_SPAN_NAMES, ROLLUPS, rollupTable } from './rollups.js';
import { TELEMETRY_TABLE_NAMES, type TelemetryRetention } from './store.js';

/** Rows of one transaction: about 20 ms with two indexes. */
export const PRUNE_CHUNK_ROWS = 5000;

/** Pause between chunks, ms, in which the other process's writer gets the lock. */
export const PRUNE_PAUSE_MS = 5;

export const TIME_COLUMN = {
  ...{ sys_info: 'timestamp', proc_info: 'timestamp', packet_info: 'timestamp', gpu_info: 'timestamp' },
  ...{ profile: 'timestamp', link_info: 'timestamp', ledger: 'timestamp', report: 'received_at', event: 'timestamp' },
} as const;
export type PrunedTable = keyof typeof TIME_COLUMN;

export interface PruneChunk {
  readonly table: PrunedTable;
  /** Rows older than this go, s since the epoch; of a table with aggregates only those that are in them. */
  readonly before: number;
  /** Of those that came last, so many stay. */
  readonly rowsMax: number;
}

/** Aggregates go by age only: their number is bounded by the minutes kept. */
export interface AggregateChunk {
  readonly aggregate: string;
  /** The primary key. */
  readonly keys: readonly string[];
  readonly before: number;
}

/** Calls `chunk` until it has nothing left to do; returns rows done. */
export async function chunkAfterChunk(chunk: () => Promise<number>): Promise<number> {
  let total = 0;
  for (;;) {
    const rows = await chunk();
    if (rows === 0) return total;
    total += rows;
    await new Promise((resolve) => setTimeout(resolve, PRUNE_PAUSE_MS));
  }
}

/** What retention asks of every table of telemetry, and of the ids of reports. */
export function telemetryChunks(now: number, retention: TelemetryRetention): PruneChunk[] {
  const rows = { before: now - retention.rowsS, rowsMax: retention.tableRowsMax };
  const ids = { before: now - retention.reportIdsS, rowsMax: retention.reportIdsMax };
  return [...TELEMETRY_TABLE_NAMES.map((table) => ({ table, ...rows })), { table: 'report', ...ids }];
}

export function aggregateChunks(now: number, retention: TelemetryRetention): AggregateChunk[] {
  const before = { minute: now - retention.minutesS, hour: now - retention.hoursS };
  return ROLLUPS.flatMap(({ source, keys }) =>
    ROLLUP_SPAN_NAMES.map((span) => ({
      aggregate: rollupTable(source, span),
      keys: ['timestamp', ...Object.keys(keys)],
      before: before[span],
    })),
  );
}
