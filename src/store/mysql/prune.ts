/** Retention, a chunk at a time: a chunk is one short transaction, and between two of them reports are stored. */
import { PRUNE_CHUNK_ROWS, type PruneChunk, TIME_COLUMN } from '../prune.js';
import type { MysqlPool } from './connection.js';

/** Deletes at most PRUNE_CHUNK_ROWS; 0 means that the table is within its bounds. */
export async function pruneChunk(pool: MysqlPool, { table, before, rowsMax }: PruneChunk): Promise<number> {
  const time = TIME_COLUMN[table];
  const old = await pool.execute(`DELETE FROM ${table} WHERE ${time} < ? ORDER BY ${time} LIMIT ${PRUNE_CHUNK_ROWS}`, [
    before,
  ]);
  if (old.affectedRows > 0) return old.affectedRows;
  const [newest] = await pool.query<{ id: number | null }>(`SELECT max(id) AS id FROM ${table}`);
  const bound = (newest?.id ?? 0) - rowsMax;
  if (bound <= 0) return 0;
  const over = await pool.execute(`DELETE FROM ${table} WHERE id <= ? ORDER BY id LIMIT ${PRUNE_CHUNK_ROWS}`, [bound]);
  return over.affectedRows;
}
