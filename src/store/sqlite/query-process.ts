/**
 * The process that runs people's SQL. Three walls, each enough by itself: the file is opened read-only, an authorizer
 * lets a statement do nothing but read, and only one statement is run. What remains is cost: time is bounded by the
 * parent (it ends this process), memory by SQLite's heap limit, the answer by rows and bytes.
 */
import { constants, DatabaseSync } from '@photostructure/sqlite';
import { OrchestratorError } from '../../contracts/errors.js';
import { SQL_RESULT_BYTES_MAX, SQL_ROWS_MAX, type SqlResult, type SqlValue } from '../store.js';
import { type Database, databaseError } from './connection.js';
import { type ErrorText, errorText } from './messages.js';

export interface QueryCall {
  readonly path: string;
  readonly statement: string;
}

export type QueryAnswer = { readonly ready: true } | { readonly result: SqlResult } | { readonly error: ErrorText };

/** Memory that SQLite may take for sorting and caching, bytes. */
const HEAP_BYTES_MAX = 256 * 1024 * 1024;

const ALLOWED_ACTIONS = new Set([
  ...[constants.SQLITE_SELECT, constants.SQLITE_READ, constants.SQLITE_FUNCTION, constants.SQLITE_RECURSIVE],
]);

/** Pragmas that only describe the schema. */
const ALLOWED_PRAGMAS = new Set(['table_info', 'table_xinfo', 'table_list', 'index_list', 'index_info']);

function openReadOnly(path: string): Database {
  const db = new DatabaseSync(path, { readOnly: true, timeout: 1000, limits: { length: SQL_RESULT_BYTES_MAX } });
  db.exec(`PRAGMA hard_heap_limit = ${HEAP_BYTES_MAX}`);
  db.setAuthorizer((action, name) => {
    const allowed = ALLOWED_ACTIONS.has(action) || (action === constants.SQLITE_PRAGMA && ALLOWED_PRAGMAS.has(name!));
    return allowed ? constants.SQLITE_OK : constants.SQLITE_DENY;
  });
  return db;
}

function runStatement(db: Database, statement: string): SqlResult {
  try {
    const prepared = db.prepare(statement, { expandedSQL: true });
    prepared.setReturnArrays(true);
    prepared.setReadBigInts(true);
    refuseSecondStatement(statement, prepared.expandedSQL ?? '');
    const columns = prepared.columns().map(({ name }) => name);
    return { columns, ...bounded(prepared.iterate()) };
  } catch (error) {
    if (error instanceof OrchestratorError) throw error;
    throw new OrchestratorError('SQL_REFUSED', refusal((error as Error).message), {}, { cause: error });
  }
}

/** SQLite prepares the first statement and ignores the rest, so the rest is looked at here; comments are nothing. */
function refuseSecondStatement(given: string, first: string): void {
  const rest = given.startsWith(first) ? given.slice(first.length) : given;
  const meaning = rest.replaceAll(/--[^\n]*|\/\*[\s\S]*?(\*\/|$)|[\s;]+/g, '');
  if (meaning === '') return;
  const parameters = given.startsWith(first) ? '' : ' without parameters';
  throw new OrchestratorError(
    'SQL_REFUSED',
    `one statement${parameters} is accepted, not also ${rest.trim().slice(0, 60)}`,
  );
}

function refusal(message: string): string {
  if (/not authorized|prohibited|authorization denied/.test(message)) {
    return `only queries that read tables are accepted: ${message}`;
  }
  return message.includes('not properly initialized') ? 'the statement is empty' : message;
}

function bounded(iterator: Iterable<unknown>): Pick<SqlResult, 'rows' | 'truncated'> {
  const rows: SqlValue[][] = [];
  let bytes = 0;
  for (const row of iterator) {
    const values = (row as unknown[]).map(jsonValue);
    for (const value of values) bytes += typeof value === 'string' ? value.length : 8;
    if (rows.length === SQL_ROWS_MAX || bytes > SQL_RESULT_BYTES_MAX) return { rows, truncated: true };
    rows.push(values);
  }
  return { rows, truncated: false };
}

/** Integers beyond what JSON readers hold exactly become text, bytes become hexadecimal. */
function jsonValue(value: unknown): SqlValue {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  return typeof value === 'string' ? value : null;
}

/** A connection per statement: closing it ends the read transaction of a cut-off answer, which would hold up the log. */
function answerOf(path: string, statement: string): QueryAnswer {
  let db: Database | undefined;
  try {
    db = openReadOnly(path);
    return { result: runStatement(db, statement) };
  } catch (error) {
    return { error: errorText(databaseError(error, path)) };
  } finally {
    db?.close();
  }
}

process.on('disconnect', () => process.exit(0));
process.on('message', ({ path, statement }: QueryCall) => process.send?.(answerOf(path, statement)));
process.send?.({ ready: true } satisfies QueryAnswer);
