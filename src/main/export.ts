/**
 * A table of telemetry as a CSV or Parquet file, a page in memory at a time. The file has its name only once it is
 * complete.
 */
import { once } from 'node:events';
import { createWriteStream, renameSync, rmSync } from 'node:fs';
import type { Writable } from 'node:stream';
import type { BasicType, ColumnSource } from 'hyparquet-writer';
import { OrchestratorError } from '../contracts/errors.js';
import { MYSQL_DIALECT, SQLITE_DIALECT } from '../store/rollups.js';
import type { SqlValue } from '../store/store.js';
import { type ColumnKind, type ExportedTable, exportedTable } from '../store/table-pages.js';
import { describeDatabase, openQueries } from './database.js';
import { databaseFor } from './sql.js';

export const EXPORT_FORMATS = ['csv', 'parquet'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

export interface ExportOptions {
  readonly table: string;
  readonly format: ExportFormat;
  /** File to write; null: standard output (CSV only). */
  readonly out: string | null;
  /** Only rows of the last so many seconds. */
  readonly lastS?: number | undefined;
  readonly session_id?: number | undefined;
  /** SQLite file; the newest of the known ones when absent. */
  readonly database?: string | undefined;
  /** Configuration file of a coordinator or collector: its database. */
  readonly config?: string | undefined;
  /** s since the epoch. */
  readonly now: number;
  onSource(description: string): void;
  onRows(rows: number): void;
}

/** Rows written. Throws REQUEST_INVALID for a table that there is not, USAGE, DATABASE_UNAVAILABLE, FILE_UNWRITABLE. */
export async function exportTable(options: ExportOptions): Promise<number> {
  const { format, out, lastS, now } = options;
  const database = databaseFor(options);
  const table = exportedTable({
    ...{ table: options.table, session_id: options.session_id, since: lastS === undefined ? undefined : now - lastS },
    dialect: database.engine === 'sqlite' ? SQLITE_DIALECT : MYSQL_DIALECT,
  });
  options.onSource(describeDatabase(database));
  const queries = await openQueries(database);
  try {
    const pages = counted(
      table.pages((statement) => queries.run(statement)),
      options.onRows,
    );
    if (out === null) return await writeCsv(table, pages, process.stdout);
    return await complete(out, (part) => (format === 'csv' ? csvFile : parquetFile)(table, pages, part));
  } finally {
    queries.close();
  }
}

type Pages = AsyncIterable<readonly (readonly SqlValue[])[]>;

async function* counted(pages: Pages, onRows: (rows: number) => void): Pages {
  let rows = 0;
  for await (const page of pages) {
    yield page;
    rows += page.length;
    onRows(rows);
  }
}

async function complete(out: string, write: (part: string) => Promise<number>): Promise<number> {
  const part = `${out}.part`;
  try {
    const rows = await write(part);
    renameSync(part, out);
    return rows;
  } catch (error) {
    rmSync(part, { force: true });
    if (error instanceof OrchestratorError) throw error;
    const message = `${out} cannot be written: ${(error as Error).message}`;
    throw new OrchestratorError('FILE_UNWRITABLE', message, { file: out }, { cause: error });
  }
}

async function csvFile(table: ExportedTable, pages: Pages, file: string): Promise<number> {
  const stream = createWriteStream(file);
  const failed = once(stream, 'error').then(([error]) => Promise.reject(error));
  failed.catch(() => {});
  const rows = await Promise.race([writeCsv(table, pages, stream), failed]);
  stream.end();
  await Promise.race([once(stream, 'close'), failed]);
  return rows;
}

/** RFC 4180, with a header; nothing stands for NULL. */
async function writeCsv({ columns }: ExportedTable, pages: Pages, to: Writable): Promise<number> {
  let rows = 0;
  const write = async (text: string) => {
    if (!to.write(text)) await once(to, 'drain');
  };
  await write(`${columns.map(({ name }) => name).join(',')}\r\n`);
  for await (const page of pages) {
    await write(page.map((row) => `${row.map(csvValue).join(',')}\r\n`).join(''));
    rows += page.length;
  }
  return rows;
}

export function csvValue(value: SqlValue): string {
  if (value === null) return '';
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const PARQUET_TYPES: Record<ColumnKind, BasicType> = { integer: 'INT64', figure: 'DOUBLE', text: 'STRING' };

/** A page is a row group. */
async function parquetFile({ columns }: ExportedTable, pages: Pages, file: string): Promise<number> {
  const { fileWriter, ParquetWriter, schemaFromColumnData } = await import('hyparquet-writer');
  const sources = (page: readonly (readonly SqlValue[])[]): ColumnSource[] =>
    columns.map(({ name, kind }, index) => ({
      ...{ name, type: PARQUET_TYPES[kind], nullable: true },
      data: page.map((row) => parquetValue(row[index]!, kind)),
    }));
  const writer = new ParquetWriter({
    writer: fileWriter(file),
    schema: schemaFromColumnData({ columnData: sources([]) }),
    createdBy: 'vision-orchestrator',
  });
  let rows = 0;
  for await (const page of pages) {
    await writer.write({ columnData: sources(page), rowGroupSize: page.length });
    rows += page.length;
  }
  await writer.finish();
  return rows;
}

function parquetValue(value: SqlValue, kind: ColumnKind): bigint | number | string | null {
  if (value === null) return null;
  if (kind === 'integer') return BigInt(value);
  return kind === 'figure' ? Number(value) : String(value);
}
