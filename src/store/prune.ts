/** Retention as all engines do it: what a chunk is, and chunk after chunk until a table is within its bounds. */

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
  /** Rows older than this go, s since the epoch. */
  readonly before: number;
  /** Of those that came last, so many stay. */
  readonly rowsMax: number;
}

/** Calls `chunk` until the table is within its bounds; returns rows deleted. */
export async function pruneAll(chunk: () => Promise<number>): Promise<number> {
  let total = 0;
  for (;;) {
    const deleted = await chunk();
    if (deleted === 0) return total;
    total += deleted;
    await new Promise((resolve) => setTimeout(resolve, PRUNE_PAUSE_MS));
  }
}

/** What retention asks of every table of telemetry, and of the ids of reports. */
export function telemetryChunks(now: number, retention: TelemetryRetention): PruneChunk[] {
  const rows = { before: now - retention.rowsS, rowsMax: retention.tableRowsMax };
  const ids = { before: now - retention.reportIdsS, rowsMax: retention.reportIdsMax };
  return [...TELEMETRY_TABLE_NAMES.map((table) => ({ table, ...rows })), { table: 'report', ...ids }];
}
