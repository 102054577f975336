/** TelemetryStore in one process's memory, bounded by the same retention. It has no SQL, so no series and no aggregates. */
import { OrchestratorError } from '../../contracts/errors.js';
import type { Profile } from '../../contracts/plan.js';
import type { PacketInfo } from '../../contracts/report.js';
import type { Series } from '../../contracts/series.js';
import { groupBy } from '../../std/group-by.js';
import { type LedgerAccounts, type LedgerQuery, type StoredLedgerRow, sinkAccounts } from '../ledger-accounts.js';
import { packPackets, rowCount, unpackPackets } from '../report-rows.js';
import {
  type PacketsQuery,
  type RecentQuery,
  type ReportInput,
  type ReportOutcome,
  type SessionPackets,
  type SqlResult,
  type SqlValue,
  type StoredReport,
  TELEMETRY_RETENTION,
  TELEMETRY_TABLE_NAMES,
  TELEMETRY_TABLES,
  type TelemetryRetention,
  type TelemetryRow,
  type TelemetryStore,
  type TelemetryTable,
} from '../store.js';

export class MemoryTelemetryStore implements TelemetryStore {
  readonly #tables = new Map<TelemetryTable, TelemetryRow[]>(TELEMETRY_TABLE_NAMES.map((name) => [name, []]));
  /** When each `node_id report_id` came, in order of coming. */
  readonly #reportIds = new Map<string, number>();

  async storeReports(reports: readonly ReportInput[]): Promise<ReportOutcome[]> {
    return reports.map((report) => {
      // As a NOT NULL column of the others does.
      if (!lacksFigure(report.rows.flat.profile)) return this.#storeReport(report);
      return new OrchestratorError('REPORT_INVALID', 'nothing of the report is stored: a figure of profile is null');
    });
  }

  async profiles(since: number): Promise<Profile[]> {
    const groups = new Map<string, TelemetryRow[]>();
    for (const row of this.#rows('profile')) {
      if (Number(row.timestamp) < since) continue;
      const key = JSON.stringify([row.handler_type, row.profile_key, row.node_id]);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [row]);
      else group.push(row);
    }
    return [...groups.values()].map(weightedMean).sort(byPlace);
  }

  async ledger({ session_id, from = 0, since = 0 }: LedgerQuery): Promise<LedgerAccounts> {
    const ofSession = this.#rows('ledger').filter(
      (row) => row.session_id === session_id && Number(row.timestamp) >= from,
    );
    const [emitted, ended] = [true, false].map((isSource) =>
      ofSession.filter((row) => (row.fate === 'emitted') === isSource),
    ) as [TelemetryRow[], TelemetryRow[]];
    const sources = [...groupBy(emitted, (row) => Number(row.handler_id))].map(([handler_id, rows]) => ({
      handler_id,
      first: Math.min(...rows.map((row) => Number(row.first_sequence))),
      next: nextOf(rows),
    }));
    sources.sort((a, b) => a.handler_id - b.handler_id);
    const before = ended.filter((row) => Number(row.timestamp) < since);
    const decided = new Map(
      [...groupBy(before, (row) => Number(row.handler_id))].map(([id, rows]) => [id, nextOf(rows)]),
    );
    const rows = ended.filter((row) => Number(row.timestamp) >= since || row.fate === 'settled').sort(bySequence);
    return { sources, sinks: sinkAccounts(rows as unknown as StoredLedgerRow[], { sources, decided }) };
  }

  async packets(query: PacketsQuery): Promise<SessionPackets> {
    const { session_id, handlers, sinks, from = 0, since, sequencesMax } = query;
    const all = (this.#rows('packet_info') as unknown as PacketInfo[]).filter(
      (row) => row.session_id === session_id && handlers.includes(row.handler_id),
    );
    const last = all.reduce((highest, { sequence }) => Math.max(highest, sequence), -1);
    const bound = Math.max(0, last - sequencesMax + 1);
    const ends = all.filter(({ handler_id, timestamp }) => sinks.includes(handler_id) && timestamp >= (since ?? from));
    const firsts = ends.map(({ sequence }) => sequence).filter((sequence) => sequence >= bound);
    const first = since === undefined ? bound : firsts.reduce((low, sequence) => Math.min(low, sequence), last + 1);
    return {
      packets: packPackets(all.filter(({ sequence, timestamp }) => sequence >= first && timestamp >= from)),
      truncated: since !== undefined && ends.some(({ sequence }) => sequence < bound),
    };
  }

  async recent(table: TelemetryTable, { since, limit }: RecentQuery): Promise<TelemetryRow[]> {
    const fits = this.#rows(table).filter((row) => since === undefined || Number(row.timestamp) >= since);
    const sorted = fits.sort((a, b) => Number(a.timestamp) - Number(b.timestamp));
    return sorted.slice(Math.max(0, sorted.length - limit)).map((row) => ({ ...row }));
  }

  async sql(_statement: string): Promise<SqlResult> {
    throw new OrchestratorError('SQL_REFUSED', 'telemetry is kept in memory here, without a database that knows SQL');
  }

  async series(): Promise<Series> {
    throw new OrchestratorError('SQL_REFUSED', 'telemetry is kept in memory here, without a database that knows SQL');
  }

  async prune(now: number, retention: TelemetryRetention = TELEMETRY_RETENTION): Promise<number> {
    let deleted = 0;
    for (const [name, rows] of this.#tables) {
      const young = rows.filter((row) => Number(row.timestamp) >= now - retention.rowsS);
      const kept = young.slice(Math.max(0, young.length - retention.tableRowsMax));
      this.#tables.set(name, kept);
      deleted += rows.length - kept.length;
    }
    let over = this.#reportIds.size - retention.reportIdsMax;
    for (const [key, receivedAt] of this.#reportIds) {
      if (over <= 0 && receivedAt >= now - retention.reportIdsS) continue;
      this.#reportIds.delete(key);
      over -= 1;
      deleted += 1;
    }
    return deleted;
  }

  async close(): Promise<void> {}

  #storeReport({ nodeId, reportId, receivedAt, rows: { flat, packets, count } }: ReportInput): StoredReport {
    if (reportId !== null) {
      const key = `${nodeId} ${reportId}`;
      if (this.#reportIds.has(key)) return { stored: false, rows: 0 };
      this.#reportIds.set(key, receivedAt);
    }
    this.#insert('packet_info', unpackPackets(packets, 0, rowCount('packet_info', packets)));
    for (const name of Object.keys(flat) as (keyof typeof flat)[]) this.#insert(name, flat[name]);
    return { stored: true, rows: count };
  }

  #rows(table: TelemetryTable): TelemetryRow[] {
    return this.#tables.get(table) ?? [];
  }

  #insert(table: TelemetryTable, values: readonly SqlValue[]): void {
    const columns = TELEMETRY_TABLES[table];
    const rows = this.#rows(table);
    for (let at = 0; at < values.length; at += columns.length) {
      rows.push(Object.fromEntries(columns.map((column, i) => [column, values[at + i]!])));
    }
  }
}

/** Of rows of `profile`: one without the figures that other databases want; only its threads may be unknown. */
function lacksFigure(values: readonly SqlValue[]): boolean {
  const columns = TELEMETRY_TABLES.profile;
  return values.some((value, at) => value === null && columns[at % columns.length] !== 'threads');
}

function weightedMean(rows: readonly TelemetryRow[]): Profile {
  const first = rows[0]!;
  const samples = rows.reduce((sum, row) => sum + Number(row.packets), 0);
  const mean = (column: string) =>
    rows.reduce((sum, row) => sum + Number(row[column]) * Number(row.packets), 0) / samples;
  return {
    handler_type: Number(first.handler_type),
    key: String(first.profile_key),
    node_id: Number(first.node_id),
    samples,
    service_ms: mean('service_ms'),
    cpu_ms: mean('cpu_ms'),
    out_bytes: mean('out_bytes'),
  };
}

function nextOf(rows: readonly TelemetryRow[]): number {
  return 1 + rows.reduce((highest, row) => Math.max(highest, Number(row.last_sequence)), -1);
}

const LEDGER_ORDER = ['handler_id', 'first_sequence', 'last_sequence', 'incarnation', 'node_id'];

function bySequence(a: TelemetryRow, b: TelemetryRow): number {
  return LEDGER_ORDER.reduce((order, column) => order || Number(a[column]) - Number(b[column]), 0);
}

function byPlace(a: Profile, b: Profile): number {
  const byKey = a.key < b.key ? -1 : Number(a.key > b.key);
  return a.handler_type - b.handler_type || byKey || a.node_id - b.node_id;
}
