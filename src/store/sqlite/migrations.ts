/**
 * The schema as an ordered list of steps; a step that was released is never changed, a change is a new step. Safe when
 * two processes open one file at once: the version is read and raised inside one write transaction.
 * Surprising: the reference's three tables have no primary key. Its key (timestamp, session, handler, sequence) collides
 * whenever two events of a packet fall on one tick; rows here are told apart by SQLite's hidden rowid, which `select *`
 * does not show, and what is sent twice is recognised by the report it came in.
 */
import type { DatabaseSync } from '@photostructure/sqlite';
import { OrchestratorError } from '../../contracts/errors.js';
import { rollupTablesSql } from '../rollups.js';

const TELEMETRY = `
  CREATE TABLE sys_info (
    timestamp REAL NOT NULL, node_id INTEGER NOT NULL, cpu_util REAL, mem_total INTEGER, mem_util REAL,
    gpu_util INTEGER, gpu_mem_util INTEGER, gpu_clock INTEGER, gpu_power INTEGER
  );
  CREATE INDEX sys_info_time ON sys_info (timestamp);
  CREATE TABLE proc_info (
    timestamp REAL NOT NULL, session_id INTEGER NOT NULL, handler_id INTEGER NOT NULL, cpu_util REAL, mem_util REAL,
    gpu_util INTEGER, gpu_mem_util INTEGER
  );
  CREATE INDEX proc_info_time ON proc_info (timestamp);
  CREATE INDEX proc_info_handler ON proc_info (session_id, handler_id, timestamp);
  CREATE TABLE packet_info (
    timestamp REAL NOT NULL, session_id INTEGER NOT NULL, handler_id INTEGER NOT NULL, sequence INTEGER NOT NULL,
    event TEXT NOT NULL, size INTEGER
  );
  CREATE INDEX packet_info_time ON packet_info (timestamp);
  CREATE INDEX packet_info_packet ON packet_info (session_id, handler_id, sequence);
  CREATE TABLE gpu_info (
    timestamp REAL NOT NULL, node_id INTEGER NOT NULL, session_id INTEGER, handler_id INTEGER, gpu_id INTEGER NOT NULL,
    gpu_util INTEGER, gpu_mem_util INTEGER, gpu_clock INTEGER, gpu_power INTEGER
  );
  CREATE INDEX gpu_info_time ON gpu_info (timestamp);
  CREATE TABLE profile (
    timestamp REAL NOT NULL, node_id INTEGER NOT NULL, session_id INTEGER NOT NULL, handler_id INTEGER NOT NULL,
    handler_type INTEGER NOT NULL, profile_key TEXT NOT NULL, packets INTEGER NOT NULL, service_ms REAL NOT NULL,
    service_ms_p95 REAL NOT NULL, queue_ms REAL NOT NULL, cpu_ms REAL NOT NULL, out_bytes REAL NOT NULL
  );
  CREATE INDEX profile_time ON profile (timestamp);
  CREATE TABLE link_info (
    timestamp REAL NOT NULL, session_id INTEGER NOT NULL, source_handler INTEGER NOT NULL,
    target_handler INTEGER NOT NULL, source_node INTEGER NOT NULL, target_node INTEGER NOT NULL,
    packets INTEGER NOT NULL, bytes INTEGER NOT NULL, latency_ms REAL
  );
  CREATE INDEX link_info_time ON link_info (timestamp);
  CREATE TABLE report (
    received_at REAL NOT NULL, node_id INTEGER NOT NULL, report_id TEXT NOT NULL, rows INTEGER NOT NULL,
    UNIQUE (node_id, report_id)
  );
  CREATE INDEX report_time ON report (received_at);
`;

const STATE = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE node (
    node_id INTEGER PRIMARY KEY, node_name TEXT NOT NULL, last_seen REAL NOT NULL, facts TEXT
  );
  CREATE TABLE session (
    session_id INTEGER PRIMARY KEY, service_name TEXT NOT NULL, desired TEXT NOT NULL, generation INTEGER NOT NULL,
    created_at REAL NOT NULL, ended_at REAL, ended_state TEXT, ended_reason TEXT,
    request TEXT NOT NULL, plan TEXT NOT NULL
  );
  CREATE INDEX session_ended ON session (ended_at);
  CREATE TABLE placement (
    session_id INTEGER NOT NULL, generation INTEGER NOT NULL, handler_id INTEGER NOT NULL, handler_name TEXT NOT NULL,
    handler_type INTEGER NOT NULL, node_id INTEGER NOT NULL, alternative TEXT NOT NULL,
    PRIMARY KEY (session_id, handler_id)
  ) WITHOUT ROWID;
  CREATE TABLE event (
    timestamp REAL NOT NULL, kind TEXT NOT NULL, node_id INTEGER, session_id INTEGER, handler_id INTEGER,
    message TEXT NOT NULL
  );
  CREATE INDEX event_time ON event (timestamp);
  CREATE INDEX event_session ON event (session_id);
`;

// The second index is for reading one session's accounts in the order of their sequences, without sorting.
const LEDGER = `
  ALTER TABLE link_info ADD COLUMN rtt_ms REAL;
  ALTER TABLE link_info ADD COLUMN mbit_per_s REAL;
  CREATE TABLE ledger (
    timestamp REAL NOT NULL, session_id INTEGER NOT NULL, handler_id INTEGER NOT NULL, node_id INTEGER NOT NULL,
    incarnation INTEGER NOT NULL, fate TEXT NOT NULL, at_handler INTEGER, first_sequence INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL, packets INTEGER NOT NULL
  );
  CREATE INDEX ledger_time ON ledger (timestamp);
  CREATE INDEX ledger_account ON ledger (session_id, handler_id, first_sequence);
`;

// SQLite cannot take a NOT NULL off a column: a probe between nodes has no session and no handlers.
const PROBES = `
  ALTER TABLE link_info RENAME TO link_info_before;
  DROP INDEX link_info_time;
  CREATE TABLE link_info (
    timestamp REAL NOT NULL, session_id INTEGER, source_handler INTEGER, target_handler INTEGER,
    source_node INTEGER NOT NULL, target_node INTEGER NOT NULL,
    packets INTEGER NOT NULL, bytes INTEGER NOT NULL, latency_ms REAL, rtt_ms REAL, mbit_per_s REAL
  );
  INSERT INTO link_info SELECT * FROM link_info_before;
  DROP TABLE link_info_before;
  CREATE INDEX link_info_time ON link_info (timestamp);
`;

const ROLLUPS = rollupTablesSql({
  ...{ number: 'INTEGER', figure: 'REAL', text: () => 'TEXT', end: 'WITHOUT ROWID' },
}).join(';\n');

const DRAINS = 'CREATE TABLE drained_node (node_id INTEGER PRIMARY KEY, since REAL NOT NULL)';

const PROFILE_THREADS = 'ALTER TABLE profile ADD COLUMN threads INTEGER';

/** Version n of the schema is the first n steps. */
export const MIGRATIONS: readonly string[] = [TELEMETRY, STATE, LEDGER, PROBES, ROLLUPS, DRAINS, PROFILE_THREADS];

/** Brings the schema to the newest version; DATABASE_UNAVAILABLE when a newer program has already gone further. */
export function migrate(db: InstanceType<typeof DatabaseSync>, steps: readonly string[] = MIGRATIONS): void {
  db.exec('BEGIN IMMEDIATE');
  try {
    db.exec('CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)');
    const version = schemaVersion(db, steps);
    for (const [at, step] of steps.entries()) {
      if (at < version) continue;
      db.exec(step);
      db.prepare("INSERT INTO schema_version VALUES (?, datetime('now'))").run(at + 1);
    }
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

/** 0 for a file without tables. Throws DATABASE_UNAVAILABLE when a newer program has gone further. */
export function schemaVersion(db: InstanceType<typeof DatabaseSync>, steps: readonly string[] = MIGRATIONS): number {
  const made = db.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'").get();
  if (made === undefined) return 0;
  const { version } = db.prepare('SELECT coalesce(max(version), 0) AS version FROM schema_version').get();
  if (version <= steps.length) return version;
  const message = `its schema has version ${version}, this program knows up to ${steps.length}: a newer program made it`;
  throw new OrchestratorError('DATABASE_UNAVAILABLE', message, { version, known: steps.length });
}
