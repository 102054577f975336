/**
 * Connections to a MySQL or MariaDB server, transactions, and the server's errors in the catalogue's words. mysql2 is an
 * optional dependency, loaded when the first store is opened.
 * Surprising: a connection that goes away is not opened again here; the pool opens the next one when it is asked to, so a
 * server that restarts costs the calls in flight (they reject with DATABASE_UNAVAILABLE) and nothing else.
 */
import { isIP } from 'node:net';
import type { Connection, Pool, PoolConnection } from 'mysql2/promise';
import { OrchestratorError, toOrchestratorError } from '../../contracts/errors.js';
import type { Logger } from '../../std/logger.js';
import { checkedFlavour, type Flavour, quoteName, sessionSql } from './flavour.js';
import { migrate } from './migrations.js';

export interface MysqlAddress {
  /** Host name or address; a path is that of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Never part of a message. */
  readonly password: string;
  readonly schema: string;
  /** PEM; absent: not encrypted. */
  readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string };
}

export interface MysqlStoreOptions extends MysqlAddress {
  readonly logger: Logger;
}

/** Statements of one store at a time: writers, a reader, and retention. */
const CONNECTIONS_MAX = 4;

const CONNECT_TIMEOUT_MS = 5_000;

/** Of a statement, ms; a server that stays silent for longer is taken for lost. Deleting or storing a batch takes less than a second. */
export const STATEMENT_TIMEOUT_MS = 60_000;

/** Times that a transaction is tried when the server ended it in favour of another one. */
const DEADLOCK_ATTEMPTS = 5;

/** Opens the pool after creating and migrating the schema. Throws DATABASE_UNAVAILABLE or DATABASE_ENGINE_UNSUPPORTED. */
export async function openPool(options: MysqlStoreOptions): Promise<MysqlPool> {
  await withConnection(options, (connection, flavour) => migrate(connection, flavour, options));
  const mysql = await loadDriver();
  return new MysqlPool(mysql.createPool({ ...driverOptions(options), connectionLimit: CONNECTIONS_MAX }), options);
}

/** One connection for `work`, into the schema (made when missing, unless told not to); closed after it. */
export async function withConnection<T>(
  address: MysqlAddress,
  work: (connection: Connection, flavour: Flavour) => Promise<T>,
  { create = true }: { readonly create?: boolean } = {},
): Promise<T> {
  const mysql = await loadDriver();
  let connection: Connection | undefined;
  try {
    connection = await mysql.createConnection({ ...driverOptions(address), database: undefined });
    const flavour = await checkedFlavour(connection);
    await connection.query(sessionSql(flavour));
    await useSchema(connection, address.schema, create);
    return await work(connection, flavour);
  } catch (error) {
    throw databaseError(error, address);
  } finally {
    connection?.destroy();
  }
}

/** A schema that is there is used as it is: making one may need rights that using it does not. */
async function useSchema(connection: Connection, schema: string, create: boolean): Promise<void> {
  const name = quoteName(schema);
  try {
    await connection.query(`USE ${name}`);
  } catch (error) {
    if (!create || (error as { code?: string }).code !== 'ER_BAD_DB_ERROR') throw error;
    await connection.query(`CREATE DATABASE IF NOT EXISTS ${name} CHARACTER SET utf8mb4`);
    await connection.query(`USE ${name}`);
  }
}

async function loadDriver(): Promise<typeof import('mysql2/promise')> {
  try {
    return await import('mysql2/promise');
  } catch (error) {
    const message = 'a MySQL or MariaDB database needs the package mysql2, which is not installed: npm install mysql2';
    throw new OrchestratorError('DATABASE_ENGINE_UNSUPPORTED', message, {}, { cause: error });
  }
}

/**
 * A server that does not offer TLS is refused when it was asked for. A host name is compared with the certificate; of an
 * address the driver cannot, so there the signature alone counts.
 */
export function driverOptions({ host, port, user, password, schema, tls }: MysqlAddress) {
  return {
    ...(tls !== undefined && { ssl: { ...tls, rejectUnauthorized: true, verifyIdentity: isIP(host) === 0 } }),
    ...(host.startsWith('/') ? { socketPath: host } : { host, port }),
    ...{ user, password, database: schema, connectTimeout: CONNECT_TIMEOUT_MS, charset: 'utf8mb4' },
    ...{ supportBigNumbers: true, decimalNumbers: true, dateStrings: true, enableKeepAlive: true },
    // A server may not ask this client for its files.
    flags: ['-LOCAL_FILES'],
  };
}

export class MysqlPool {
  readonly #pool: Pool;
  readonly #address: MysqlAddress;
  #flavour: Flavour | null = null;
  readonly #ready = new WeakSet<object>();
  #closed = false;

  constructor(pool: Pool, address: MysqlAddress) {
    this.#pool = pool;
    this.#address = address;
  }

  /** Rows of one statement; `?` stand for `values`. */
  async query<Row = Record<string, unknown>>(sql: string, values: readonly unknown[] = []): Promise<Row[]> {
    return this.#using(async (connection) => (await statement(connection, sql, values)) as Row[]);
  }

  /** Rows that one statement changed. */
  async execute(sql: string, values: readonly unknown[] = []): Promise<Changed> {
    return this.#using((connection) => changed(connection, sql, values));
  }

  /** All of `work` or nothing; again when the server ended it in favour of another transaction. */
  async transaction<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    return this.#using(async (connection) => {
      for (let attempt = 1; ; attempt++) {
        await connection.query('START TRANSACTION');
        try {
          const result = await work(connection);
          await statement(connection, 'COMMIT');
          return result;
        } catch (error) {
          // A connection that is gone has rolled back by itself.
          await connection.query('ROLLBACK').catch(() => {});
          if (attempt === DEADLOCK_ATTEMPTS || !isDeadlock(error)) throw error;
        }
      }
    });
  }

  /** Reads of one moment: what is written meanwhile does not show. */
  async snapshot<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    return this.#using(async (connection) => {
      await connection.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
      await connection.query('START TRANSACTION WITH CONSISTENT SNAPSHOT');
      try {
        return await work(connection);
      } finally {
        await connection.query('ROLLBACK').catch(() => {});
      }
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#pool.end().catch(() => {});
  }

  async #using<T>(work: (connection: PoolConnection) => Promise<T>): Promise<T> {
    let connection: PoolConnection | undefined;
    try {
      if (this.#closed)
        throw new OrchestratorError('DATABASE_UNAVAILABLE', `${placeOf(this.#address)}: the store is closed`);
      connection = await this.#pool.getConnection();
      await this.#prepare(connection);
      const result = await work(connection);
      connection.release();
      return result;
    } catch (error) {
      if (connection !== undefined && isReusable(error)) connection.release();
      else connection?.destroy();
      throw databaseError(error, this.#address);
    }
  }

  /** Once for each connection of the pool, which hands out a new object around it each time. */
  async #prepare(connection: PoolConnection): Promise<void> {
    if (this.#ready.has(connection.connection)) return;
    this.#flavour ??= await checkedFlavour(connection);
    await connection.query(sessionSql(this.#flavour));
    this.#ready.add(connection.connection);
  }
}

export interface Changed {
  readonly affectedRows: number;
  readonly insertId: number;
}

export async function statement(
  connection: Connection,
  sql: string,
  values: readonly unknown[] = [],
): Promise<unknown> {
  const [result] = await connection.query({ sql, values: [...values], timeout: STATEMENT_TIMEOUT_MS });
  return result;
}

export async function changed(connection: Connection, sql: string, values: readonly unknown[] = []): Promise<Changed> {
  return (await statement(connection, sql, values)) as Changed;
}

/** `reports` at 10.0.0.2:3306, for messages. */
export function placeOf({ host, port, schema }: MysqlAddress): string {
  return `database ${schema} at ${host.startsWith('/') ? host : `${host}:${port}`}`;
}

interface ServerError {
  readonly code?: string;
  readonly errno?: number;
  readonly sqlMessage?: string;
  readonly message: string;
  readonly fatal?: boolean;
}

/** Whatever was thrown while using the server, as an error that may cross a boundary. */
export function databaseError(error: unknown, address: MysqlAddress): OrchestratorError {
  if (error instanceof OrchestratorError) return error;
  const { code, sqlMessage, message } = error as ServerError;
  if (code === undefined) return toOrchestratorError(error);
  const context = { address: address.host, schema: address.schema, cause: code };
  const why = sqlMessage ?? (message || code);
  return new OrchestratorError('DATABASE_UNAVAILABLE', `${placeOf(address)}: ${why} (${code})`, context, {
    cause: error,
  });
}

/** The server answered, or it was not asked: the connection itself is sound. */
function isReusable(error: unknown): boolean {
  if (error instanceof OrchestratorError) return true;
  const { errno, fatal, sqlMessage } = error as ServerError;
  return fatal !== true && errno !== undefined && sqlMessage !== undefined;
}

export function isDeadlock(error: unknown): boolean {
  const { code } = error as ServerError;
  return code === 'ER_LOCK_DEADLOCK' || code === 'ER_LOCK_WAIT_TIMEOUT' || code === 'ER_CHECKREAD';
}

/** A row that the server refuses for what is in it. */
export function isRefusedRow(error: unknown): boolean {
  return ROW_FAULTS.has((error as ServerError).code ?? '');
}

const ROW_FAULTS = new Set([
  ...['ER_BAD_NULL_ERROR', 'ER_WARN_DATA_OUT_OF_RANGE', 'ER_DATA_TOO_LONG', 'ER_TRUNCATED_WRONG_VALUE_FOR_FIELD'],
  ...['ER_ILLEGAL_VALUE_FOR_TYPE', 'ER_BAD_FIELD_ERROR', 'WARN_DATA_TRUNCATED'],
]);

export const isDuplicate = (error: unknown): boolean => (error as ServerError).code === 'ER_DUP_ENTRY';
