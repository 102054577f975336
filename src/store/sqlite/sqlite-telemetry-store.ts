/**
 * TelemetryStore in an SQLite file: a thread writes and reads what the program asks; people's SQL runs in a process of its
 * own (query-process.ts), because a thread inside a long query cannot be stopped and would hold up the reports behind it.
 */
import type { Profile } from '../../contracts/plan.js';
import type { Series, SeriesQuery } from '../../contracts/series.js';
import type { LedgerAccounts, LedgerQuery } from '../ledger-accounts.js';
import { aggregateChunks, chunkAfterChunk, telemetryChunks } from '../prune.js';
import { SQLITE_DIALECT } from '../rollups.js';
import { seriesStatement } from '../series.js';
import {
  type PacketsQuery,
  type RecentQuery,
  type ReportInput,
  type ReportOutcome,
  type SessionPackets,
  SQL_TIME_MS_MAX,
  type SqlResult,
  TELEMETRY_RETENTION,
  TELEMETRY_TABLE_NAMES,
  type TelemetryRetention,
  type TelemetryRow,
  type TelemetryStore,
  type TelemetryTable,
} from '../store.js';
import { BUSY_TIMEOUT_MS } from './connection.js';
import { errorOf } from './messages.js';
import { SqliteQueries } from './queries.js';
import type { SqliteStoreOptions } from './sqlite-state-store.js';
import type { TelemetryOperations } from './telemetry-operations.js';
import { SqliteThread } from './thread.js';

export interface SqliteTelemetryOptions extends SqliteStoreOptions {
  /** Bound on one `sql` statement, ms. */
  readonly sqlTimeMsMax?: number;
}

/** Opens and migrates the file. Throws DATABASE_UNAVAILABLE. */
export async function openSqliteTelemetryStore(options: SqliteTelemetryOptions): Promise<TelemetryStore> {
  const { path, logger, busyTimeoutMs = BUSY_TIMEOUT_MS, sqlTimeMsMax = SQL_TIME_MS_MAX } = options;
  const thread = await SqliteThread.open({ kind: 'telemetry', path, busyTimeoutMs }, logger);
  return new SqliteTelemetryStore(thread, new SqliteQueries({ path, timeMsMax: sqlTimeMsMax }));
}

class SqliteTelemetryStore implements TelemetryStore {
  readonly #thread: SqliteThread;
  readonly #queries: SqliteQueries;

  constructor(thread: SqliteThread, queries: SqliteQueries) {
    this.#thread = thread;
    this.#queries = queries;
  }

  async storeReports(reports: readonly ReportInput[]): Promise<ReportOutcome[]> {
    const buffers = reports.map(({ rows }) => rows.packets.buffer);
    const outcomes = (await this.#thread.call('storeReports', reports, buffers)) as ReturnType<
      TelemetryOperations['storeReports']
    >;
    return outcomes.map((outcome) => ('code' in outcome ? errorOf(outcome) : outcome));
  }

  profiles(since: number): Promise<Profile[]> {
    return this.#call('profiles', since);
  }

  ledger(query: LedgerQuery): Promise<LedgerAccounts> {
    return this.#call('ledger', query);
  }

  packets(query: PacketsQuery): Promise<SessionPackets> {
    return this.#call('packets', query);
  }

  recent(table: TelemetryTable, query: RecentQuery): Promise<TelemetryRow[]> {
    return this.#call('recent', { ...query, table });
  }

  sql(statement: string): Promise<SqlResult> {
    return this.#queries.run(statement);
  }

  async series(query: SeriesQuery, now: number): Promise<Series> {
    const { sql, read } = seriesStatement(query, SQLITE_DIALECT, now);
    return read(await this.#queries.run(sql));
  }

  async prune(now: number, retention: TelemetryRetention = TELEMETRY_RETENTION): Promise<number> {
    for (const table of TELEMETRY_TABLE_NAMES) await chunkAfterChunk(() => this.#call('rollUpChunk', table));
    let deleted = 0;
    for (const chunk of telemetryChunks(now, retention)) {
      deleted += await chunkAfterChunk(() => this.#call('pruneChunk', chunk));
    }
    for (const chunk of aggregateChunks(now, retention)) {
      deleted += await chunkAfterChunk(() => this.#call('pruneAggregateChunk', chunk));
    }
    return deleted;
  }

  async close(): Promise<void> {
    this.#queries.close();
    await this.#thread.close();
  }

  #call<M extends keyof TelemetryOperations>(
    method: M,
    argument: Parameters<TelemetryOperations[M]>[0],
  ): Promise<ReturnType<TelemetryOperations[M]>> {
    return this.#thread.call(method, argument) as Promise<ReturnType<TelemetryOperations[M]>>;
  }
}
