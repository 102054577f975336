/**
 * Retention, a chunk at a time: a chunk is one short transaction, and between two of them reports are stored.
 * Tables of rowid order are tables of coming: the row bound deletes by rowid and so needs no count.
 */
import type { Database } from './connection.js';

/** Rows of one transaction: about 20 ms with two indexes. */
export const PRUNE_CHUNK_ROWS = 5000;

/** Pause between chunks, ms, in which the other process's writer gets the lock. */
export const PRUNE_PAUSE_MS = 5;

const TIME_COLUMN = {
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

/** Deletes at most PRUNE_CHUNK_ROWS; 0 means that the table is within its bounds. */
export function pruneChunk(db: Database, { table, before, rowsMax }: PruneChunk): number {
  const old = `SELECT rowid FROM ${table} WHERE ${TIME_COLUMN[table]} < ? LIMIT ?`;
  const deleted = db.prepare(`DELETE FROM ${table} WHERE rowid IN (${old})`).run(before, PRUNE_CHUNK_ROWS).changes;
  if (Number(deleted) > 0) return Number(deleted);
  const over = `SELECT rowid FROM ${table} WHERE rowid <= (SELECT max(rowid) FROM ${table}) - ? ORDER BY rowid LIMIT ?`;
  return Number(db.prepare(`DELETE FROM ${table} WHERE rowid IN (${over})`).run(rowsMax, PRUNE_CHUNK_ROWS).changes);
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
