/** TelemetryStore in a MySQL or MariaDB schema; people's SQL has a connection of its own for each statement. */
import type { Connection } from 'mysql2/promise';
import { OrchestratorError } from '../../contracts/errors.js';
import type { Profile } from '../../contracts/plan.js';
import type { Series, SeriesQuery } from '../../contracts/series.js';
import {
  type LedgerAccounts,
  type LedgerQuery,
  type SourceAccount,
  type StoredLedgerRow,
  sinkAccounts,
} from '../ledger-accounts.js';
import { LEDGER_SQL } from '../ledger-sql.js';
import { packetsSteps } from '../packets-sql.js';
import { aggregateChunks, chunkAfterChunk, telemetryChunks } from '../prune.js';
import { MYSQL_DIALECT } from '../rollups.js';
import { seriesStatement } from '../series.js';
import {
  type PacketsQuery,
  type RecentQuery,
  type ReportInput,
  type ReportOutcome,
  type SessionPackets,
  SQL_TIME_MS_MAX,
  type SqlResult,
  type SqlValue,
  TELEMETRY_RETENTION,
  TELEMETRY_TABLE_NAMES,
  TELEMETRY_TABLES,
  type TelemetryRetention,
  type TelemetryRow,
  type TelemetryStore,
  type TelemetryTable,
} from '../store.js';
import {
  isDuplicate,
  isRefusedRow,
  type MysqlPool,
  type MysqlStoreOptions,
  openPool,
  statement,
} from './connection.js';
import { insertTexts, literal, packetInsertTexts } from './insert-text.js';
import { HOLD_WRITERS, pruneAggregateChunk, pruneChunk, rollUpChunk, settledRows } from './prune.js';
import { MysqlQueries } from './queries.js';

export interface MysqlTelemetryOptions extends MysqlStoreOptions {
  /** Bound on one `sql` statement, ms. */
  readonly sqlTimeMsMax?: number;
}

/** Opens and migrates the schema. Throws DATABASE_UNAVAILABLE or DATABASE_ENGINE_UNSUPPORTED. */
export async function openMysqlTelemetryStore(options: MysqlTelemetryOptions): Promise<TelemetryStore> {
  const { sqlTimeMsMax = SQL_TIME_MS_MAX } = options;
  return new MysqlTelemetryStore(
    await openPool(options),
    new MysqlQueries({ address: options, timeMsMax: sqlTimeMsMax }),
  );
}

class MysqlTelemetryStore implements TelemetryStore {
  readonly #pool: MysqlPool;
  readonly #queries: MysqlQueries;

  constructor(pool: MysqlPool, queries: MysqlQueries) {
    this.#pool = pool;
    this.#queries = queries;
  }

  /** All at once; when that meets a report that is stored already or does not fit, each by itself. */
  async storeReports(reports: readonly ReportInput[]): Promise<ReportOutcome[]> {
    if (reports.length === 0) return [];
    try {
      await this.#pool.transaction((connection) => insertReports(connection, reports));
      return reports.map(({ rows }) => ({ stored: true, rows: rows.count }));
    } catch (error) {
      const cause = (error as Error).cause ?? error;
      const own = isDuplicate(cause) || isRefusedRow(cause) || isInvalid(error);
      if (!own) throw error;
      if (reports.length === 1) return [outcomeOf(error, cause)];
      const outcomes: ReportOutcome[] = [];
      for (const report of reports) outcomes.push(...(await this.storeReports([report])));
      return outcomes;
    }
  }

  profiles(since: number): Promise<Profile[]> {
    return this.#pool.query<Profile>(PROFILES_SQL, [since]);
  }

  ledger({ session_id, from = 0, since = 0 }: LedgerQuery): Promise<LedgerAccounts> {
    return this.#pool.snapshot(async (connection) => {
      const read = async <Row>(sql: string, values: readonly number[]) =>
        (await statement(connection, sql, values)) as Row[];
      const sources = await read<SourceAccount>(LEDGER_SQL.sources, [session_id, from]);
      const before = await read<Omit<SourceAccount, 'first'>>(LEDGER_SQL.decided, [session_id, from, since]);
      const decided = new Map(before.map(({ handler_id, next }) => [handler_id, next]));
      const rows = await read<StoredLedgerRow>(LEDGER_SQL.rows, [session_id, from, since]);
      return { sources, sinks: sinkAccounts(rows, { sources, decided }) };
    });
  }

  packets(query: PacketsQuery): Promise<SessionPackets> {
    return this.#pool.snapshot(async (connection) => {
      const steps = packetsSteps(query);
      let step = steps.next([]);
      while (step.done !== true) {
        const { sql, values } = step.value;
        step = steps.next((await statement(connection, sql, values)) as object[]);
      }
      return step.value;
    });
  }

  recent(table: TelemetryTable, { since = 0, limit }: RecentQuery): Promise<TelemetryRow[]> {
    const columns = TELEMETRY_TABLES[table].join(', ');
    return this.#pool.query<TelemetryRow>(
      `SELECT ${columns} FROM (SELECT id, ${columns} FROM ${table} WHERE timestamp >= ?
         ORDER BY timestamp DESC, id DESC LIMIT ?) AS newest ORDER BY timestamp, id`,
      [since, limit],
    );
  }

  sql(statement: string): Promise<SqlResult> {
    return this.#queries.run(statement);
  }

  async series(query: SeriesQuery, now: number): Promise<Series> {
    const { sql, read } = seriesStatement(query, MYSQL_DIALECT, now);
    return read(await this.#queries.run(sql));
  }

  async prune(now: number, retention: TelemetryRetention = TELEMETRY_RETENTION): Promise<number> {
    for (const [table, settled] of await settledRows(this.#pool)) {
      await chunkAfterChunk(() => rollUpChunk(this.#pool, table, settled));
    }
    let deleted = 0;
    for (const chunk of telemetryChunks(now, retention)) {
      deleted += await chunkAfterChunk(() => pruneChunk(this.#pool, chunk));
    }
    for (const chunk of aggregateChunks(now, retention)) {
      deleted += await chunkAfterChunk(() => pruneAggregateChunk(this.#pool, chunk));
    }
    return deleted;
  }

  async close(): Promise<void> {
    this.#queries.close();
    await this.#pool.close();
  }
}

const PROFILES_SQL = `
  SELECT handler_type, profile_key AS \`key\`, node_id, sum(packets) AS samples,
    sum(service_ms * packets) / sum(packets) AS service_ms,
    sum(cpu_ms * packets) / sum(packets) AS cpu_ms,
    sum(out_bytes * packets) / sum(packets) AS out_bytes
  FROM profile WHERE timestamp >= ?
  GROUP BY handler_type, profile_key, node_id ORDER BY handler_type, profile_key, node_id`;

/** The ids first: a report that is stored already costs no rows. The next text is made while the server does the one before. */
async function insertReports(connection: Connection, reports: readonly ReportInput[]): Promise<void> {
  let running: Promise<unknown> = Promise.resolve();
  for (const text of texts(reports)) {
    await running;
    running = statement(connection, text);
    running.catch(() => {}); // It is awaited, but only once the next text is made.
  }
  await running;
}

function* texts(reports: readonly ReportInput[]): Generator<string> {
  yield HOLD_WRITERS;
  const named = reports.filter(({ reportId }) => reportId !== null);
  if (named.length > 0) {
    const values = named.map(({ receivedAt, nodeId, reportId, rows }) =>
      [receivedAt, nodeId, reportId, rows.count].map((value: SqlValue) => literal(value)).join(','),
    );
    yield `INSERT INTO report (received_at, node_id, report_id, \`rows\`) VALUES (${values.join('),(')})`;
  }
  yield* packetInsertTexts(reports.map(({ rows }) => rows.packets));
  for (const table of TELEMETRY_TABLE_NAMES) {
    if (table === 'packet_info') continue;
    yield* insertTexts(
      table,
      reports.map(({ rows }) => rows.flat[table]),
    );
  }
}

const isInvalid = (error: unknown): boolean => error instanceof OrchestratorError && error.code === 'REPORT_INVALID';

function outcomeOf(error: unknown, cause: unknown): ReportOutcome {
  if (isDuplicate(cause)) return { stored: false, rows: 0 };
  if (isInvalid(error)) return error as OrchestratorError;
  const { sqlMessage } = cause as { sqlMessage?: string };
  return new OrchestratorError(
    'REPORT_INVALID',
    `nothing of the report is stored: ${sqlMessage ?? 'a row is refused'}`,
  );
}
