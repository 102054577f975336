/** The schema of a file looked at and changed by itself, without opening a store. */
import { existsSync } from 'node:fs';
import { DatabaseSync } from '@photostructure/sqlite';
import type { SchemaState } from '../store.js';
import { type Database, databaseError, openDatabase } from './connection.js';
import { MIGRATIONS, schemaVersion } from './migrations.js';

export function sqliteSchemaState(path: string): SchemaState {
  if (!existsSync(path)) return { version: 0, known: MIGRATIONS.length };
  let db: Database | undefined;
  try {
    db = new DatabaseSync(path, { readOnly: true });
    return { version: schemaVersion(db), known: MIGRATIONS.length };
  } catch (error) {
    throw databaseError(error, path);
  } finally {
    db?.close();
  }
}

export function migrateSqliteFile(path: string): void {
  openDatabase(path).close();
}
