/**
 * Aggregates and retention, a chunk at a time: a chunk is one short transaction, and between two of them reports are stored.
 * Tables of rowid order are tables of coming: the row bound deletes by rowid and so needs no count.
 * Surprising: SQLite gives the rowid of a deleted last row again, so a deletion also takes back how far the aggregates go
 * to the last row that is left; else the next rows would pass for counted.
 */
import { type AggregateChunk, PRUNE_CHUNK_ROWS, type PruneChunk, TIME_COLUMN } from '../prune.js';
import { ROLLUP_CHUNK_ROWS, ROLLUP_SPAN_NAMES, rollUpSql, rollupOf, SQLITE_DIALECT } from '../rollups.js';
import type { TelemetryTable } from '../store.js';
import { type Database, transaction } from './connection.js';

/** Deletes at most PRUNE_CHUNK_ROWS; 0 means that the table is within its bounds. */
export function pruneChunk(db: Database, chunk: PruneChunk): number {
  return transaction(db, () => {
    const deleted = deleteOld(db, chunk) || deleteOver(db, chunk);
    if (deleted > 0 && rollupOf(chunk.table) !== undefined) {
      const last = `coalesce((SELECT max(rowid) FROM ${chunk.table}), 0)`;
      db.prepare(`UPDATE rollup_progress SET last_row = min(last_row, ${last}) WHERE source = ?`).run(chunk.table);
    }
    return deleted;
  });
}

function deleteOld(db: Database, { table, before }: PruneChunk): number {
  const counted =
    rollupOf(table) === undefined
      ? ''
      : `AND rowid <= (SELECT last_row FROM rollup_progress WHERE source = '${table}')`;
  const old = `SELECT rowid FROM ${table} WHERE ${TIME_COLUMN[table]} < ? ${counted} LIMIT ?`;
  return Number(db.prepare(`DELETE FROM ${table} WHERE rowid IN (${old})`).run(before, PRUNE_CHUNK_ROWS).changes);
}

function deleteOver(db: Database, { table, rowsMax }: PruneChunk): number {
  const over = `SELECT rowid FROM ${table} WHERE rowid <= (SELECT max(rowid) FROM ${table}) - ? ORDER BY rowid LIMIT ?`;
  return Number(db.prepare(`DELETE FROM ${table} WHERE rowid IN (${over})`).run(rowsMax, PRUNE_CHUNK_ROWS).changes);
}

export function pruneAggregateChunk(db: Database, { aggregate, keys, before }: AggregateChunk): number {
  const key = keys.join(', ');
  const old = `SELECT ${key} FROM ${aggregate} WHERE timestamp < ? ORDER BY timestamp LIMIT ?`;
  return Number(
    db.prepare(`DELETE FROM ${aggregate} WHERE (${key}) IN (${old})`).run(before, PRUNE_CHUNK_ROWS).changes,
  );
}

/** Adds rows of at most ROLLUP_CHUNK_ROWS numbers to the aggregates; returns how many numbers, 0 when all are in. */
export function rollUpChunk(db: Database, source: TelemetryTable): number {
  return transaction(db, () => {
    const { first, last } = db
      .prepare(`SELECT coalesce(min(rowid), 1) AS first, coalesce(max(rowid), 0) AS last FROM ${source}`)
      .get() as { first: number; last: number };
    const progress = db.prepare('SELECT last_row FROM rollup_progress WHERE source = ?').get(source);
    const from = Math.max((progress as { last_row: number } | undefined)?.last_row ?? 0, first - 1);
    const to = Math.min(last, from + ROLLUP_CHUNK_ROWS);
    if (to <= from) return 0;
    for (const span of ROLLUP_SPAN_NAMES) {
      db.prepare(rollUpSql(rollupOf(source)!, span, SQLITE_DIALECT)).run(from, to);
    }
    db.prepare('INSERT INTO rollup_progress VALUES (?, ?) ON CONFLICT (source) DO UPDATE SET last_row = ?').run(
      ...[source, to, to],
    );
    return to - from;
  });
}
