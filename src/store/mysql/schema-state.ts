/** The schema of a server looked at and changed by itself, without opening a store. */
import { OrchestratorError } from '../../contracts/errors.js';
import type { SchemaState } from '../store.js';
import { type MysqlAddress, type MysqlStoreOptions, withConnection } from './connection.js';
import { MYSQL_MIGRATIONS, migrate, schemaVersion } from './migrations.js';

export async function mysqlSchemaState(address: MysqlAddress): Promise<SchemaState> {
  try {
    const version = await withConnection(address, (connection) => schemaVersion(connection), { create: false });
    return { version, known: MYSQL_MIGRATIONS.length };
  } catch (error) {
    const missing = error instanceof OrchestratorError && error.context.cause === 'ER_BAD_DB_ERROR';
    if (missing) return { version: 0, known: MYSQL_MIGRATIONS.length };
    throw error;
  }
}

export async function migrateMysqlSchema(options: MysqlStoreOptions): Promise<void> {
  await withConnection(options, (connection, flavour) => migrate(connection, flavour, options));
}
