/**
 * The two stores behind the controller. The coordinator keeps what it decided in a StateStore; the collector writes what
 * nodes report into a TelemetryStore, and the coordinator reads profiles back from it. Each database implements both
 * (sqlite/, mysql/, memory/) and passes the same suite (conformance.testing.ts), so nothing here knows an engine.
 * Every method rejects with DATABASE_UNAVAILABLE when the database cannot be reached. Every write is one transaction, so it
 * happened or it did not; which of the two is unknown after such an error, and all writes but `appendEvents` may be repeated.
 */

import type { OrchestratorError } from '../contracts/errors.js';
import type { OrchestratorEvent } from '../contracts/event.js';
import type { NodeFacts } from '../contracts/node.js';
import type { Profile } from '../contracts/plan.js';
import type { Series, SeriesQuery } from '../contracts/series.js';
import type { StoredSession } from '../contracts/session.js';
import type { Lease } from './lease.js';
import type { LedgerAccounts, LedgerQuery } from './ledger-accounts.js';
import type { PackedPackets, ReportRows } from './report-rows.js';

/** A node as it was last seen; outlives a restart of the coordinator. */
export interface NodeSeen {
  readonly node_id: number;
  readonly node_name: string;
  /** s since the epoch. */
  readonly last_seen: number;
  readonly facts: NodeFacts | null;
}

/** A node that takes no new handlers, and since when (s since the epoch). */
export interface DrainedNode {
  readonly node_id: number;
  readonly since: number;
}

/** Where one handler of a session was placed by its newest plan. */
export interface PlacementRow {
  readonly session_id: number;
  readonly generation: number;
  readonly handler_id: number;
  readonly handler_name: string;
  readonly handler_type: number;
  readonly node_id: number;
  readonly alternative: string;
}

export interface EventQuery {
  /** At most so many, the newest; EVENTS_LIMIT_DEFAULT when absent. */
  readonly limit?: number;
  /** Not older than this, s since the epoch. */
  readonly since?: number;
  readonly session_id?: number;
  readonly node_id?: number;
}

export const EVENTS_LIMIT_DEFAULT = 100;

/** The coordinator's memory: desired state, stored before anything is sent. */
export interface StateStore {
  /** Which of several coordinators leads; null where one process has the store to itself (a file, memory). */
  readonly lease: Lease | null;
  /**
   * A fencing number greater than every one handed out before; taken once at each start of a coordinator. With a lease
   * only its `holder` gets one; throws NOT_LEADER for any other.
   */
  nextEpoch(holder?: string): Promise<number>;
  /** From now on sessions and drains are changed in the name of this epoch: NOT_LEADER once a newer one was handed out. */
  fence(epoch: number): void;
  /** A session id that no session has or had. */
  nextSessionId(): Promise<number>;
  /** Stores or replaces the session and the placements of its plan, both or neither. Throws NOT_LEADER. */
  saveSession(session: StoredSession): Promise<void>;
  session(sessionId: number): Promise<StoredSession | null>;
  /** By session_id. */
  sessions(): Promise<StoredSession[]>;
  /** Also its placements; true when there was one. Throws NOT_LEADER. */
  deleteSession(sessionId: number): Promise<boolean>;
  /** By session_id, then handler_id. */
  placements(sessionId?: number): Promise<PlacementRow[]>;
  saveNodeSeen(node: NodeSeen): Promise<void>;
  /** By node_id. */
  nodesSeen(): Promise<NodeSeen[]>;
  /** Drains the node, or (null) lets it be used again. Throws NOT_LEADER. */
  saveDrained(nodeId: number, since: number | null): Promise<void>;
  /** By node_id. */
  drained(): Promise<DrainedNode[]>;
  /** In the order given, all or none. */
  appendEvents(events: readonly OrchestratorEvent[]): Promise<void>;
  /** The newest ones, oldest first. */
  events(query?: EventQuery): Promise<OrchestratorEvent[]>;
  /** Deletes ended sessions and events over their bounds at time `now` (s since the epoch); returns rows deleted. */
  prune(now: number, retention?: StateRetention): Promise<number>;
  close(): Promise<void>;
}

export interface StateRetention {
  /** An ended session is kept so long, s. */
  readonly endedSessionsS: number;
  readonly eventsS: number;
  readonly eventRowsMax: number;
}

const DAY_S = 24 * 3600;

/** A month of "what happened then?"; the row bound holds when a flapping node writes events all day (~100 B each). */
export const STATE_RETENTION: StateRetention = {
  endedSessionsS: 30 * DAY_S,
  eventsS: 30 * DAY_S,
  eventRowsMax: 1_000_000,
};

/** Tables of telemetry and their columns, in the order in which `select *` shows them. The first three are the reference's. */
export const TELEMETRY_TABLES = {
  sys_info: [
    ...['timestamp', 'node_id', 'cpu_util', 'mem_total', 'mem_util'],
    ...['gpu_util', 'gpu_mem_util', 'gpu_clock', 'gpu_power'],
  ],
  proc_info: ['timestamp', 'session_id', 'handler_id', 'cpu_util', 'mem_util', 'gpu_util', 'gpu_mem_util'],
  packet_info: ['timestamp', 'session_id', 'handler_id', 'sequence', 'event', 'size'],
  gpu_info: [
    ...['timestamp', 'node_id', 'session_id', 'handler_id', 'gpu_id'],
    ...['gpu_util', 'gpu_mem_util', 'gpu_clock', 'gpu_power'],
  ],
  profile: [
    ...['timestamp', 'node_id', 'session_id', 'handler_id', 'handler_type', 'profile_key'],
    ...['packets', 'service_ms', 'service_ms_p95', 'queue_ms', 'cpu_ms', 'out_bytes', 'threads'],
  ],
  link_info: [
    ...['timestamp', 'session_id', 'source_handler', 'target_handler', 'source_node', 'target_node'],
    ...['packets', 'bytes', 'latency_ms', 'rtt_ms', 'mbit_per_s'],
  ],
  ledger: [
    ...['timestamp', 'session_id', 'handler_id', 'node_id', 'incarnation', 'fate', 'at_handler'],
    ...['first_sequence', 'last_sequence', 'packets'],
  ],
} as const satisfies Record<string, readonly string[]>;
export type TelemetryTable = keyof typeof TELEMETRY_TABLES;
export const TELEMETRY_TABLE_NAMES = Object.keys(TELEMETRY_TABLES) as TelemetryTable[];

export type SqlValue = number | string | null;
export type TelemetryRow = Record<string, SqlValue>;

export interface ReportInput {
  /** Which node reports; decided by the collector, not by the body. */
  readonly nodeId: number;
  /** Null: the reporter gave none (the reference's), and what it sends again is stored again. */
  readonly reportId: string | null;
  /** s since the epoch. */
  readonly receivedAt: number;
  readonly rows: ReportRows;
}

export interface StoredReport {
  /** False: this (node_id, report_id) is stored already, and nothing was written. */
  readonly stored: boolean;
  /** Rows written, over all tables. */
  readonly rows: number;
}

/** What became of one report of a batch; an error is its own fault, and nothing of it was written. */
export type ReportOutcome = StoredReport | OrchestratorError;

export interface PacketsQuery {
  readonly session_id: number;
  /** When the session was made, s since the epoch; earlier rows are another session's. */
  readonly from?: number | undefined;
  /** Whose events are wanted. */
  readonly handlers: readonly number[];
  /** With `since`: only packets from the first on of which one of these has an event at or after it. */
  readonly sinks: readonly number[];
  readonly since?: number | undefined;
  /** At most so many sequences, the newest. */
  readonly sequencesMax: number;
}

export interface SessionPackets {
  /** In no order; report-rows.ts packetEvents() reads them. */
  readonly packets: PackedPackets;
  /** With `since`: true when there were more sequences. */
  readonly truncated: boolean;
}

export interface RecentQuery {
  /** Not older than this, s since the epoch; no bound when absent. */
  readonly since?: number;
  /** At most so many, the newest. */
  readonly limit: number;
}

/** Answer of one statement: column names as the statement gives them, rows as arrays in that order. */
export interface SqlResult {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly SqlValue[])[];
  /** True: there were more rows than SQL_ROWS_MAX, or more bytes than SQL_RESULT_BYTES_MAX. */
  readonly truncated: boolean;
}

/** Rows that one statement may return: a page that people can read and a browser can show. */
export const SQL_ROWS_MAX = 10_000;

/** Characters of text that one statement may return, and bytes of any one value. */
export const SQL_RESULT_BYTES_MAX = 16 * 1024 * 1024;

/** Time that one statement may take, ms: a scan of ten million rows takes about one second. */
export const SQL_TIME_MS_MAX = 10_000;

/** Statements that may wait for the one that runs. */
export const SQL_WAITING_MAX = 16;

/** What nodes report, in; figures for allocation and for people, out. */
export interface TelemetryStore {
  /**
   * Group commit: one transaction for the whole batch. Of each report every row is written or none; exactly once by
   * (node_id, report_id) when it has a report_id; a report that the database refuses keeps no other out. Outcomes are in
   * the order given. Rejects when the batch as a whole could not be written; then nothing of it was, or its commit went
   * unanswered, and it may be given again.
   */
  storeReports(reports: readonly ReportInput[]): Promise<ReportOutcome[]>;
  /**
   * Means per (handler_type, profile_key, node_id) since that time (s since the epoch), each sample weighted by its packets;
   * `samples` is the number of packets.
   */
  profiles(since: number): Promise<Profile[]>;
  /** The accounts of a session's sources and sinks, in which every sequence counts once. */
  ledger(query: LedgerQuery): Promise<LedgerAccounts>;
  /** Events of a session's newest packets; a packet whose rows are not all there yet is among them. */
  packets(query: PacketsQuery): Promise<SessionPackets>;
  /** The newest rows of one table by timestamp, oldest first. */
  recent(table: TelemetryTable, query: RecentQuery): Promise<TelemetryRow[]>;
  /** One read-only query in the database's own SQL; SQL_REFUSED with the database's message for anything else. */
  sql(statement: string): Promise<SqlResult>;
  /** One column over time, up to `now` (s since the epoch) when no end is asked for. Throws REQUEST_INVALID. */
  series(query: SeriesQuery, now: number): Promise<Series>;
  /**
   * Adds the rows that came since the last time to the minute and hour aggregates (rollups.ts), then deletes what is over
   * its bounds at time `now` (s since the epoch), a chunk at a time so that reports are stored meanwhile; returns rows
   * deleted.
   */
  prune(now: number, retention?: TelemetryRetention): Promise<number>;
  close(): Promise<void>;
}

export interface TelemetryRetention {
  /** Rows older than this go, s, by their own timestamp. */
  readonly rowsS: number;
  /** Aggregates of a minute are kept so long, s. */
  readonly minutesS: number;
  /** Aggregates of an hour are kept so long, s. */
  readonly hoursS: number;
  /** Rows of one table; the oldest stored go first. Holds when a node with a wrong clock reports from the future. */
  readonly tableRowsMax: number;
  /** A report_id is remembered so long, s after it came: longer than a reporter's spool keeps a report. */
  readonly reportIdsS: number;
  readonly reportIdsMax: number;
}

/**
 * 24 h of raw rows; 50 million packet_info rows are about 5 GB with their indexes. A million report ids are 3 days of
 * ten nodes reporting every 5 s, and about 60 MB. A month by the minute, two years by the hour: a handler has some five
 * rows of each.
 */
export const TELEMETRY_RETENTION: TelemetryRetention = {
  rowsS: DAY_S,
  minutesS: 30 * DAY_S,
  hoursS: 730 * DAY_S,
  tableRowsMax: 50_000_000,
  reportIdsS: 3 * DAY_S,
  reportIdsMax: 1_000_000,
};

/** How far the schema of a database is. */
export interface SchemaState {
  /** Migrations that were applied; 0: none, or no schema yet. */
  readonly version: number;
  /** Migrations that this program knows. */
  readonly known: number;
}
