/**
 * Opening the file, transactions, and SQLite's errors in the catalogue's words. WAL, because the collector and the
 * coordinator write to one file from two processes while people read it. Runs off the HTTP event loop: every call blocks.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { OrchestratorError, toOrchestratorError } from '../../contracts/errors.js';
import { migrate } from './migrations.js';

export type Database = InstanceType<typeof DatabaseSync>;

/** How long a writer waits for the other process's transaction, ms; those are milliseconds long. */
export const BUSY_TIMEOUT_MS = 10_000;

/** After a checkpoint the log file is cut to this, bytes; it grows beyond only while a long query reads. */
const WAL_BYTES_KEPT = 64 * 1024 * 1024;

/** Pages of 4 KiB after which the log goes into the file: each time costs two syncs, and pages written often go once. */
const CHECKPOINT_PAGES = 4000;

/** Page cache, KiB, taken as it is needed: the pages where new rows go into the indexes stay in it. */
const CACHE_KIB = 64 * 1024;

const OPEN_RETRY_MS = 20;

/** Opens (and creates, and migrates) the database for writing. Throws DATABASE_UNAVAILABLE. */
export function openDatabase(path: string, busyTimeoutMs = BUSY_TIMEOUT_MS): Database {
  let db: Database | undefined;
  try {
    mkdirSync(dirname(path), { recursive: true });
    db = new DatabaseSync(path, { timeout: busyTimeoutMs });
    enableWal(db, busyTimeoutMs);
    db.exec(`PRAGMA synchronous = NORMAL; PRAGMA cache_size = -${CACHE_KIB};
      PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}; PRAGMA journal_size_limit = ${WAL_BYTES_KEPT}`);
    migrate(db);
    return db;
  } catch (error) {
    db?.close();
    throw databaseError(error, path);
  }
}

/** Runs `work` in a write transaction: all of it or, when it throws, nothing. */
export function transaction<T>(db: Database, work: () => T): T {
  db.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    db.exec('COMMIT');
    return result;
  } catch (error) {
    // A full disk makes SQLite roll back by itself.
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

/** Runs `work`, whose queries all see the database as it is now. */
export function snapshot<T>(db: Database, work: () => T): T {
  db.exec('BEGIN');
  try {
    return work();
  } finally {
    db.exec('COMMIT');
  }
}

/** Whatever was thrown while using the database at `path`, as an error that may cross the thread's boundary. */
export function databaseError(error: unknown, path: string): OrchestratorError {
  if (error instanceof OrchestratorError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  // Not the database's: a fault of the program itself (TypeError, ERR_INVALID_ARG_TYPE ...).
  if (code === undefined || (code.startsWith('ERR_') && !code.includes('SQLITE'))) return toOrchestratorError(error);
  return new OrchestratorError('DATABASE_UNAVAILABLE', `database ${path}: ${message}`, { path }, { cause: error });
}

/** Two processes that switch a new file to WAL at once can meet SQLITE_BUSY, for which the busy time-out does not wait. */
function enableWal(db: Database, timeoutMs: number): void {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      db.exec('PRAGMA journal_mode = WAL');
      return;
    } catch (error) {
      if (!String((error as Error).message).includes('locked') || performance.now() > deadline) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, OPEN_RETRY_MS);
    }
  }
}
