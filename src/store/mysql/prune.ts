/**
 * Aggregates and retention, a chunk at a time: a chunk is one short transaction, and between two of them reports are stored.
 * Surprising: numbers are given out before rows are committed, so the row with a lower number may come later. Aggregates
 * therefore go up to a number that was the highest while nobody wrote (see WRITERS).
 */
import type { Connection } from 'mysql2/promise';
import { type AggregateChunk, PRUNE_CHUNK_ROWS, type PruneChunk, TIME_COLUMN } from '../prune.js';
import { MYSQL_DIALECT, ROLLUP_CHUNK_ROWS, ROLLUP_SPAN_NAMES, rollUpSql, rollupOf } from '../rollups.js';
import { TELEMETRY_TABLE_NAMES, type TelemetryTable } from '../store.js';
import { changed, type MysqlPool, statement } from './connection.js';
import { WRITERS } from './migrations.js';

/** Held until the transaction ends; waits for nobody but `settledRows`, which is quick. */
export const HOLD_WRITERS = `SELECT last_row FROM rollup_progress WHERE source = '${WRITERS}' LOCK IN SHARE MODE`;

/** Deletes at most PRUNE_CHUNK_ROWS; 0 means that the table is within its bounds. */
export async function pruneChunk(pool: MysqlPool, { table, before, rowsMax }: PruneChunk): Promise<number> {
  const time = TIME_COLUMN[table];
  const counted =
    rollupOf(table) === undefined ? '' : `AND id <= (SELECT last_row FROM rollup_progress WHERE source = '${table}')`;
  const old = await pool.execute(
    `DELETE FROM ${table} WHERE ${time} < ? ${counted} ORDER BY ${time} LIMIT ${PRUNE_CHUNK_ROWS}`,
    [before],
  );
  if (old.affectedRows > 0) return old.affectedRows;
  const bound = (await highestRow(pool, table)) - rowsMax;
  if (bound <= 0) return 0;
  const over = await pool.execute(`DELETE FROM ${table} WHERE id <= ? ORDER BY id LIMIT ${PRUNE_CHUNK_ROWS}`, [bound]);
  return over.affectedRows;
}

async function highestRow(pool: MysqlPool, table: string): Promise<number> {
  const [newest] = await pool.query<{ id: number | null }>(`SELECT max(id) AS id FROM ${table}`);
  return newest?.id ?? 0;
}

export async function pruneAggregateChunk(pool: MysqlPool, { aggregate, before }: AggregateChunk): Promise<number> {
  const sql = `DELETE FROM ${aggregate} WHERE timestamp < ? ORDER BY timestamp LIMIT ${PRUNE_CHUNK_ROWS}`;
  return (await pool.execute(sql, [before])).affectedRows;
}

/** Of every table the row number up to which all rows are there that ever will be. */
export function settledRows(pool: MysqlPool): Promise<Map<TelemetryTable, number>> {
  return pool.transaction(async (connection) => {
    await statement(connection, `SELECT last_row FROM rollup_progress WHERE source = '${WRITERS}' FOR UPDATE`);
    const settled = new Map<TelemetryTable, number>();
    for (const table of TELEMETRY_TABLE_NAMES) {
      settled.set(table, await oneNumber(connection, `SELECT max(id) AS n FROM ${table}`));
    }
    return settled;
  });
}

/** Adds rows of at most ROLLUP_CHUNK_ROWS numbers to the aggregates; returns how many numbers, 0 when all are in. */
export function rollUpChunk(pool: MysqlPool, source: TelemetryTable, settled: number): Promise<number> {
  return pool.transaction(async (connection) => {
    await statement(connection, 'INSERT IGNORE INTO rollup_progress VALUES (?, 0)', [source]);
    const progress = `SELECT last_row AS n FROM rollup_progress WHERE source = '${source}' FOR UPDATE`;
    const first = await oneNumber(connection, `SELECT min(id) AS n FROM ${source}`);
    const from = Math.max(await oneNumber(connection, progress), first - 1);
    const to = Math.min(settled, from + ROLLUP_CHUNK_ROWS);
    if (to <= from) return 0;
    for (const span of ROLLUP_SPAN_NAMES) {
      await statement(connection, rollUpSql(rollupOf(source)!, span, MYSQL_DIALECT), [from, to]);
    }
    await changed(connection, 'UPDATE rollup_progress SET last_row = ? WHERE source = ?', [to, source]);
    return to - from;
  });
}

async function oneNumber(connection: Connection, sql: string): Promise<number> {
  const [row] = (await statement(connection, sql)) as { n: number | null }[];
  return row?.n ?? 0;
}
