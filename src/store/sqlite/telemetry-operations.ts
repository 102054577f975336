/** What the worker thread does for the telemetry store. Every function is synchronous and one transaction at most. */
import { OrchestratorError } from '../../contracts/errors.js';
import type { Profile } from '../../contracts/plan.js';
import {
  type LedgerAccounts,
  type LedgerQuery,
  type SourceAccount,
  type StoredLedgerRow,
  sinkAccounts,
} from '../ledger-accounts.js';
import { LEDGER_SQL } from '../ledger-sql.js';
import { type PacketsSteps, packetsSteps } from '../packets-sql.js';
import type { AggregateChunk, PruneChunk } from '../prune.js';
import { type PackedPackets, rowCount, unpackPackets } from '../report-rows.js';
import {
  type PacketsQuery,
  type RecentQuery,
  type ReportInput,
  type SessionPackets,
  type SqlValue,
  type StoredReport,
  TELEMETRY_TABLES,
  type TelemetryRow,
  type TelemetryTable,
} from '../store.js';
import { type Database, snapshot, transaction } from './connection.js';
import { type ErrorText, errorText } from './messages.js';
import { pruneAggregateChunk, pruneChunk, rollUpChunk } from './prune.js';

export interface TelemetryOperations {
  storeReports(reports: readonly ReportInput[]): (StoredReport | ErrorText)[];
  profiles(since: number): Profile[];
  ledger(query: LedgerQuery): LedgerAccounts;
  packets(query: PacketsQuery): SessionPackets;
  recent(query: RecentQuery & { table: TelemetryTable }): TelemetryRow[];
  rollUpChunk(source: TelemetryTable): number;
  pruneChunk(chunk: PruneChunk): number;
  pruneAggregateChunk(chunk: AggregateChunk): number;
}

/** Rows of one INSERT: more rows a statement save less and less, 256 x 12 columns stay far below SQLite's 32766 values. */
const ROWS_PER_STATEMENT = [256, 16, 1] as const;

export function telemetryOperations(db: Database): TelemetryOperations {
  const inserter = new RowInserter(db);
  const remember = db.prepare('INSERT INTO report VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING');
  const profiles = db.prepare(PROFILES_SQL);
  const storeReport = ({ nodeId, reportId, receivedAt, rows }: ReportInput): StoredReport => {
    if (reportId !== null && remember.run(receivedAt, nodeId, reportId, rows.count).changes === 0) {
      return { stored: false, rows: 0 };
    }
    inserter.insertPackets(rows.packets);
    for (const table of Object.keys(rows.flat) as (keyof typeof rows.flat)[]) inserter.insert(table, rows.flat[table]);
    return { stored: true, rows: rows.count };
  };
  return {
    storeReports: (reports) => transaction(db, () => reports.map((report) => reportOutcome(db, report, storeReport))),
    profiles: (since) => profiles.all(since) as Profile[],
    ledger: ledgerOperation(db),
    packets: (query) => snapshot(db, () => answered(db, packetsSteps(query))),
    recent: (query) => recentRows(db, query),
    rollUpChunk: (source) => rollUpChunk(db, source),
    pruneChunk: (chunk) => pruneChunk(db, chunk),
    pruneAggregateChunk: (chunk) => pruneAggregateChunk(db, chunk),
  };
}

function ledgerOperation(db: Database): TelemetryOperations['ledger'] {
  const sources = db.prepare(LEDGER_SQL.sources);
  const decided = db.prepare(LEDGER_SQL.decided);
  const rows = db.prepare(LEDGER_SQL.rows);
  return ({ session_id, from = 0, since = 0 }) =>
    snapshot(db, () => {
      const found = sources.all(session_id, from) as SourceAccount[];
      const before = (since > 0 ? decided.all(session_id, from, since) : []) as { handler_id: number; next: number }[];
      const begins = new Map(before.map(({ handler_id, next }) => [handler_id, next]));
      const read = rows.iterate(session_id, from, since) as Iterable<StoredLedgerRow>;
      return { sources: found, sinks: sinkAccounts(read, { sources: found, decided: begins }) };
    });
}

function answered(db: Database, steps: PacketsSteps): SessionPackets {
  let step = steps.next([]);
  while (step.done !== true) step = steps.next(db.prepare(step.value.sql).all(...step.value.values));
  return step.value;
}

/** What one report's own fault undoes is that report; what is the database's (a full disk) undoes the transaction. */
function reportOutcome(db: Database, report: ReportInput, store: (report: ReportInput) => StoredReport) {
  db.exec('SAVEPOINT report');
  try {
    const stored = store(report);
    db.exec('RELEASE report');
    return stored;
  } catch (error) {
    const message = (error as Error).message;
    if (!db.isTransaction || !/constraint failed|datatype mismatch/.test(message)) throw error;
    db.exec('ROLLBACK TO report; RELEASE report');
    return errorText(new OrchestratorError('REPORT_INVALID', `nothing of the report is stored: ${message}`));
  }
}

function recentRows(db: Database, { table, since = 0, limit }: RecentQuery & { table: TelemetryTable }) {
  const newest = db.prepare(
    `SELECT * FROM (SELECT rowid AS at, ${TELEMETRY_TABLES[table].join(', ')} FROM ${table}
       WHERE timestamp >= ? ORDER BY timestamp DESC, at DESC LIMIT ?) ORDER BY timestamp, at`,
  );
  // A figure beyond 2^53 in an integer column is an error to read as a number, and must not hide the other rows.
  newest.setReadBigInts(true);
  return newest.all(since, limit).map(({ at: _, ...row }) => {
    const entries = Object.entries(row as Record<string, SqlValue | bigint>);
    return Object.fromEntries(
      entries.map(([name, value]) => [name, typeof value === 'bigint' ? Number(value) : value]),
    );
  });
}

// total() and not sum(): it adds as REAL, so that absurd figures give an absurd mean and not an overflow error.
const PROFILES_SQL = `
  SELECT handler_type, profile_key AS key, node_id, total(packets) AS samples,
    total(service_ms * packets) / total(packets) AS service_ms,
    total(cpu_ms * packets) / total(packets) AS cpu_ms,
    total(out_bytes * packets) / total(packets) AS out_bytes
  FROM profile WHERE timestamp >= ?
  GROUP BY handler_type, profile_key, node_id ORDER BY handler_type, profile_key, node_id`;

type Statement = ReturnType<Database['prepare']>;

/** Multi-row inserts from flat values, with one prepared statement per table and size. */
class RowInserter {
  readonly #db: Database;
  readonly #statements = new Map<string, Statement>();

  constructor(db: Database) {
    this.#db = db;
  }

  insert(table: TelemetryTable, values: readonly SqlValue[]): void {
    const width = TELEMETRY_TABLES[table].length;
    this.#inChunks(table, rowCount(table, values), (from, to) => values.slice(from * width, to * width));
  }

  insertPackets(packed: PackedPackets): void {
    this.#inChunks('packet_info', rowCount('packet_info', packed), (from, to) => unpackPackets(packed, from, to));
  }

  #inChunks(table: TelemetryTable, rows: number, valuesOf: (from: number, to: number) => SqlValue[]): void {
    let done = 0;
    for (const size of ROWS_PER_STATEMENT) {
      for (; rows - done >= size; done += size) this.#statement(table, size).run(...valuesOf(done, done + size));
    }
  }

  #statement(table: TelemetryTable, rows: number): Statement {
    const key = `${table} ${rows}`;
    let statement = this.#statements.get(key);
    if (statement === undefined) {
      const row = `(${TELEMETRY_TABLES[table].map(() => '?').join(',')})`;
      statement = this.#db.prepare(`INSERT INTO ${table} VALUES ${new Array(rows).fill(row).join(',')}`);
      this.#statements.set(key, statement);
    }
    return statement;
  }
}
