/**
 * People's SQL: a connection for each statement, so that nothing a statement does to its session outlives it. The session
 * reads only, the server ends what takes too long and sends no more rows than are shown; if it does not, the connection is
 * cut.
 */
import type { Connection as PlainConnection } from 'mysql2';
import type { Connection } from 'mysql2/promise';
import { OrchestratorError } from '../../contracts/errors.js';
import { withTimeout } from '../../std/deferred.js';
import { StatementQueue } from '../statement-queue.js';
import { SQL_RESULT_BYTES_MAX, SQL_ROWS_MAX, type SqlResult, type SqlValue } from '../store.js';
import { databaseError, type MysqlAddress, placeOf, withConnection } from './connection.js';
import type { Flavour } from './flavour.js';
import { checkReadOnly } from './read-only.js';

export interface MysqlQueriesOptions {
  readonly address: MysqlAddress;
  readonly timeMsMax: number;
}

/** How much later than the server this side ends a statement, ms. */
const GRACE_MS = 1_000;

export class MysqlQueries {
  readonly #options: MysqlQueriesOptions;
  readonly #queue = new StatementQueue();
  #closed = false;

  constructor(options: MysqlQueriesOptions) {
    this.#options = options;
  }

  run(statement: string): Promise<SqlResult> {
    return this.#queue.run(async () => {
      checkReadOnly(statement);
      const { address, timeMsMax } = this.#options;
      if (this.#closed) throw new OrchestratorError('DATABASE_UNAVAILABLE', `${placeOf(address)}: the store is closed`);
      return withConnection(
        address,
        async (connection, flavour) => {
          await connection.query(readOnlySession(flavour, timeMsMax));
          await connection.query('SET SESSION TRANSACTION READ ONLY');
          const tooLong = () => new OrchestratorError('SQL_REFUSED', `the statement took longer than ${timeMsMax} ms`);
          const rows = readRows(connection, statement);
          try {
            return await withTimeout(rows, timeMsMax + GRACE_MS, tooLong);
          } catch (error) {
            connection.destroy();
            rows.catch(() => {});
            throw /execution time|max_statement_time|interrupted/i.test((error as Error).message)
              ? tooLong()
              : refusal(error, address);
          }
        },
        { create: false },
      );
    });
  }

  close(): void {
    this.#closed = true;
  }
}

/** MariaDB counts seconds, MySQL milliseconds. */
function readOnlySession(flavour: Flavour, timeMsMax: number): string {
  const time = flavour === 'mariadb' ? `max_statement_time = ${timeMsMax / 1000}` : `max_execution_time = ${timeMsMax}`;
  return `SET SESSION sql_select_limit = ${SQL_ROWS_MAX + 1}, SESSION ${time}`;
}

/** The server understood and said no, or the connection is gone. */
function refusal(error: unknown, address: MysqlAddress): OrchestratorError {
  const { errno, sqlMessage, fatal } = error as { errno?: number; sqlMessage?: string; fatal?: boolean };
  if (errno === undefined || sqlMessage === undefined || fatal === true) return databaseError(error, address);
  return new OrchestratorError('SQL_REFUSED', sqlMessage, {}, { cause: error });
}

function readRows(connection: Connection, statement: string): Promise<SqlResult> {
  // Rows come one by one, so that an answer is cut before it is in memory.
  const { connection: plain } = connection as unknown as { connection: PlainConnection };
  const query = plain.query({ sql: statement, rowsAsArray: true });
  return new Promise((resolve, reject) => {
    let columns: string[] = [];
    const rows: SqlValue[][] = [];
    let bytes = 0;
    query.on('fields', (fields: readonly { name: string }[] | undefined) => {
      columns = (fields ?? []).map(({ name }) => name);
    });
    query.on('error', reject);
    query.on('result', (row: unknown) => {
      if (!Array.isArray(row)) return;
      const values = row.map(jsonValue);
      for (const value of values) bytes += typeof value === 'string' ? value.length : 8;
      if (rows.length === SQL_ROWS_MAX || bytes > SQL_RESULT_BYTES_MAX) resolve({ columns, rows, truncated: true });
      else rows.push(values);
    });
    query.on('end', () => resolve({ columns, rows, truncated: false }));
  });
}

/** Bytes become hexadecimal; what JSON does not have (a driver's object) becomes text. */
function jsonValue(value: unknown): SqlValue {
  if (value === null || value === undefined) return null;
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}
