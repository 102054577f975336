/**
 * A table of telemetry page by page, in statements that every engine of SQL answers within its bounds for people's
 * statements. Rows come in the order in which they were stored, up to the last one that was there at the beginning, so a
 * table that grows comes to an end. Aggregates have no such number: they come by time.
 */
import { OrchestratorError } from '../contracts/errors.js';
import { type Dialect, ROLLUP_SPAN_NAMES, ROLLUPS, rollupTable } from './rollups.js';
import { type SqlResult, type SqlValue, TELEMETRY_TABLE_NAMES, TELEMETRY_TABLES } from './store.js';

export type ColumnKind = 'integer' | 'figure' | 'text';

export interface ExportedTable {
  readonly columns: readonly { readonly name: string; readonly kind: ColumnKind }[];
  /** Rows of the page, in the order of `columns`. */
  pages(run: (statement: string) => Promise<SqlResult>): AsyncGenerator<readonly (readonly SqlValue[])[]>;
}

export interface ExportQuery {
  readonly table: string;
  /** s since the epoch. */
  readonly since?: number | undefined;
  readonly session_id?: number | undefined;
  readonly dialect: Dialect;
}

/** Rows of one statement; an answer that is cut at the bound of bytes is a shorter page. */
const PAGE_ROWS = 10_000;

/** Whole numbers by their meaning; what is measured is a figure, also where it happens to be whole. */
const INTEGERS = new Set([
  ...['node_id', 'session_id', 'handler_id', 'handler_type', 'gpu_id', 'sequence', 'size', 'at_handler', 'incarnation'],
  ...['source_handler', 'target_handler', 'source_node', 'target_node', 'first_sequence', 'last_sequence'],
]);
const TEXTS = new Set(['event', 'profile_key', 'fate']);

const AGGREGATES = new Map(
  ROLLUPS.flatMap(({ source, keys, measures }) =>
    ROLLUP_SPAN_NAMES.map((span) => {
      const names = ['timestamp', ...Object.keys(keys)];
      return [rollupTable(source, span), { keys: names, columns: [...names, ...measures.map(({ name }) => name)] }];
    }),
  ),
);

/** Throws REQUEST_INVALID for a table or a filter that there is not. */
export function exportedTable(query: ExportQuery): ExportedTable {
  const { table } = query;
  const aggregate = AGGREGATES.get(table);
  const raw = TELEMETRY_TABLE_NAMES.find((name) => name === table);
  const names: readonly string[] | undefined = aggregate?.columns ?? (raw && TELEMETRY_TABLES[raw]);
  if (names === undefined) {
    const known = [...TELEMETRY_TABLE_NAMES, ...AGGREGATES.keys()].join(', ');
    throw new OrchestratorError('REQUEST_INVALID', `there is no table ${table} to export; there are: ${known}`);
  }
  if (query.session_id !== undefined && !names.includes('session_id')) {
    throw new OrchestratorError('REQUEST_INVALID', `${table} has no session_id to choose rows by`);
  }
  const where = [
    ...(query.since === undefined ? [] : [`timestamp >= ${query.since}`]),
    ...(query.session_id === undefined ? [] : [`session_id = ${query.session_id}`]),
  ];
  const kindOf = (name: string): ColumnKind => (INTEGERS.has(name) ? 'integer' : TEXTS.has(name) ? 'text' : 'figure');
  return {
    columns: names.map((name) => ({ name, kind: kindOf(name) })),
    pages: (run) =>
      aggregate === undefined
        ? pagesByRow(run, { table, names, where, rowNumber: query.dialect.rowNumber })
        : pagesByTime(run, { table, names, where, keys: aggregate.keys }),
  };
}

type Run = (statement: string) => Promise<SqlResult>;

interface PageOptions {
  readonly table: string;
  readonly names: readonly string[];
  readonly where: readonly string[];
}

async function* pagesByRow(run: Run, { table, names, where, rowNumber }: PageOptions & { rowNumber: string }) {
  const newest = await run(`SELECT coalesce(max(${rowNumber}), 0) FROM ${table}`);
  const last = Number(newest.rows[0]![0]);
  for (let from = 0; from < last; ) {
    const bounds = [`${rowNumber} > ${from}`, `${rowNumber} <= ${last}`, ...where].join(' AND ');
    const page = await run(
      `SELECT ${rowNumber}, ${names.join(', ')} FROM ${table} WHERE ${bounds} ORDER BY ${rowNumber} LIMIT ${PAGE_ROWS}`,
    );
    if (page.rows.length === 0) return;
    yield page.rows.map((row) => row.slice(1));
    from = Number(page.rows.at(-1)![0]);
  }
}

/** The next page begins with the time at which the last one ended, and leaves out what that had of it. */
async function* pagesByTime(run: Run, { table, names, where, keys }: PageOptions & { keys: readonly string[] }) {
  let [from, done] = [0, 0];
  for (;;) {
    const bounds = [`timestamp >= ${from}`, ...where].join(' AND ');
    const order = `ORDER BY ${keys.join(', ')} LIMIT ${PAGE_ROWS} OFFSET ${done}`;
    const { rows } = await run(`SELECT ${names.join(', ')} FROM ${table} WHERE ${bounds} ${order}`);
    if (rows.length === 0) return;
    yield rows;
    const time = Number(rows.at(-1)![0]);
    const ofTime = rows.filter((row) => Number(row[0]) === time).length;
    done = time === from ? done + ofTime : ofTime;
    from = time;
  }
}
