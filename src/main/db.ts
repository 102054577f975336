/** `db status` and `db migrate`: the schema of the configured database, looked at or brought to its newest version. */
import { loadDatabaseConfig } from '../config/processes.js';
import { silentLogger } from '../std/logger.js';
import { describeDatabase, migrateSchema, schemaState } from './database.js';

export interface DatabaseStatus {
  readonly engine: 'sqlite' | 'mysql';
  readonly database: string;
  /** Migrations that were applied; 0: none, or no schema yet. */
  readonly version: number;
  /** Migrations that this program knows. */
  readonly known: number;
}

export async function databaseStatus(conf: string): Promise<DatabaseStatus> {
  const database = loadDatabaseConfig(conf);
  return { engine: database.engine, database: describeDatabase(database), ...(await schemaState(database)) };
}

export async function migrateDatabase(conf: string): Promise<{ before: DatabaseStatus; after: DatabaseStatus }> {
  const before = await databaseStatus(conf);
  await migrateSchema(loadDatabaseConfig(conf), silentLogger);
  return { before, after: await databaseStatus(conf) };
}
