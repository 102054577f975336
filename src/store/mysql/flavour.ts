/** What differs between MariaDB and MySQL, and the settings that every connection needs of either. */
import type { Connection } from 'mysql2/promise';
import { OrchestratorError } from '../../contracts/errors.js';

export type Flavour = 'mariadb' | 'mysql';

/** Oldest servers with invisible columns and what else the schema needs. */
const OLDEST: Record<Flavour, readonly [number, number, number]> = { mariadb: [10, 5, 0], mysql: [8, 0, 23] };

/**
 * Strict: a figure that does not fit is an error and never a changed figure. READ COMMITTED: no gap locks, by which
 * retention and ingest would wait for one another.
 */
const SESSION_SQL =
  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION time_zone = '+00:00', SESSION transaction_isolation = 'READ-COMMITTED'";
/** MariaDB before 11.1 knows the variable by its older name only. */
const SESSION_SQL_MARIADB = SESSION_SQL.replace('transaction_isolation', 'tx_isolation');

/** Throws DATABASE_ENGINE_UNSUPPORTED for a server that is too old. */
export async function checkedFlavour(connection: Connection): Promise<Flavour> {
  const [rows] = await connection.query('SELECT version() AS version');
  const { version } = (rows as { version: string }[])[0]!;
  const flavour = /mariadb/i.test(version) ? 'mariadb' : 'mysql';
  // MariaDB may call itself 5.5.5-10.11.6-MariaDB.
  const numbers = /(\d+)\.(\d+)\.(\d+)(?=-mariadb)/i.exec(version) ?? /(\d+)\.(\d+)\.(\d+)/.exec(version) ?? [];
  const found = [1, 2, 3].map((index) => Number(numbers[index] ?? 0));
  const oldest = OLDEST[flavour];
  const order = oldest.map((part, index) => found[index]! - part).find((difference) => difference !== 0) ?? 0;
  if (order >= 0) return flavour;
  const message = `the server is ${version}; MariaDB ${OLDEST.mariadb.join('.')} or MySQL ${OLDEST.mysql.join('.')} is the oldest that works`;
  throw new OrchestratorError('DATABASE_ENGINE_UNSUPPORTED', message, { version });
}

export const sessionSql = (flavour: Flavour) => (flavour === 'mariadb' ? SESSION_SQL_MARIADB : SESSION_SQL);

/** A name of a schema, table or column, whatever is in it. */
export const quoteName = (name: string): string => `\`${name.replaceAll('`', '``')}\``;
