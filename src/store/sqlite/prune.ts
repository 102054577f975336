/**
 * Retention, a chunk at a time: a chunk is one short transaction, and between two of them reports are stored.
 * Tables of rowid order are tables of coming: the row bound deletes by rowid and so needs no count.
 */
import { PRUNE_CHUNK_ROWS, type PruneChunk, TIME_COLUMN } from '../prune.js';
import type { Database } from './connection.js';

/** Deletes at most PRUNE_CHUNK_ROWS; 0 means that the table is within its bounds. */
export function pruneChunk(db: Database, { table, before, rowsMax }: PruneChunk): number {
  const old = `SELECT rowid FROM ${table} WHERE ${TIME_COLUMN[table]} < ? LIMIT ?`;
  const deleted = db.prepare(`DELETE FROM ${table} WHERE rowid IN (${old})`).run(before, PRUNE_CHUNK_ROWS).changes;
  if (Number(deleted) > 0) return Number(deleted);
  const over = `SELECT rowid FROM ${table} WHERE rowid <= (SELECT max(rowid) FROM ${table}) - ? ORDER BY rowid LIMIT ?`;
  return Number(db.prepare(`DELETE FROM ${table} WHERE rowid IN (${over})`).run(rowsMax, PRUNE_CHUNK_ROWS).changes);
}
