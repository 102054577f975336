/** Which engine a configuration names, and what is opened then. The other engine's code is not even loaded. */
import type { DatabaseConfig } from '../config/database.js';
import type { Logger } from '../std/logger.js';
import {
  type SchemaState,
  SQL_TIME_MS_MAX,
  type SqlResult,
  type StateStore,
  type TelemetryStore,
} from '../store/store.js';

export async function openStateStore(database: DatabaseConfig, logger: Logger): Promise<StateStore> {
  if (database.engine === 'sqlite') {
    const { openSqliteStateStore } = await import('../store/sqlite/sqlite-state-store.js');
    return openSqliteStateStore({ path: database.path, logger });
  }
  const { openMysqlStateStore } = await import('../store/mysql/mysql-state-store.js');
  return openMysqlStateStore({ ...database, logger });
}

export async function openTelemetryStore(database: DatabaseConfig, logger: Logger): Promise<TelemetryStore> {
  if (database.engine === 'sqlite') {
    const { openSqliteTelemetryStore } = await import('../store/sqlite/sqlite-telemetry-store.js');
    return openSqliteTelemetryStore({ path: database.path, logger });
  }
  const { openMysqlTelemetryStore } = await import('../store/mysql/mysql-telemetry-store.js');
  return openMysqlTelemetryStore({ ...database, logger });
}

export interface Queries {
  run(statement: string): Promise<SqlResult>;
  close(): void;
}

/** Reads only; the schema is not touched. */
export async function openQueries(database: DatabaseConfig): Promise<Queries> {
  if (database.engine === 'sqlite') {
    const { SqliteQueries } = await import('../store/sqlite/queries.js');
    return new SqliteQueries({ path: database.path, timeMsMax: SQL_TIME_MS_MAX });
  }
  const { MysqlQueries } = await import('../store/mysql/queries.js');
  return new MysqlQueries({ address: database, timeMsMax: SQL_TIME_MS_MAX });
}

export async function schemaState(database: DatabaseConfig): Promise<SchemaState> {
  if (database.engine === 'sqlite')
    return (await import('../store/sqlite/schema-state.js')).sqliteSchemaState(database.path);
  return (await import('../store/mysql/schema-state.js')).mysqlSchemaState(database);
}

export async function migrateSchema(database: DatabaseConfig, logger: Logger): Promise<void> {
  if (database.engine === 'sqlite')
    return (await import('../store/sqlite/schema-state.js')).migrateSqliteFile(database.path);
  return (await import('../store/mysql/schema-state.js')).migrateMysqlSchema({ ...database, logger });
}

/** Where it is, for people: a file, or schema, user and address of a server. */
export function describeDatabase(database: DatabaseConfig): string {
  if (database.engine === 'sqlite') return database.path;
  const { user, host, port, schema } = database;
  return `${schema} of ${user}@${host.startsWith('/') ? host : `${host}:${port}`}`;
}
