/** StateStore in a MySQL or MariaDB schema. Plans and requests are kept as the JSON text that they were given as. */
import type { Connection } from 'mysql2/promise';
import type { OrchestratorEvent } from '../../contracts/event.js';
import type { StoredSession } from '../../contracts/session.js';
import { checkFence } from '../fence.js';
import { placementRows } from '../placement-rows.js';
import { chunkAfterChunk } from '../prune.js';
import { eventOf, eventWhere, type NodeRow, nodeOf, type SessionRow, sessionOf, sessionValues } from '../state-rows.js';
import {
  type DrainedNode,
  EVENTS_LIMIT_DEFAULT,
  type EventQuery,
  type NodeSeen,
  type PlacementRow,
  STATE_RETENTION,
  type StateRetention,
  type StateStore,
} from '../store.js';
import { changed, type MysqlPool, type MysqlStoreOptions, openPool, statement } from './connection.js';
import { MysqlLease } from './mysql-lease.js';
import { pruneChunk } from './prune.js';

/** Opens and migrates the schema. Throws DATABASE_UNAVAILABLE or DATABASE_ENGINE_UNSUPPORTED. */
export async function openMysqlStateStore(options: MysqlStoreOptions): Promise<StateStore> {
  return new MysqlStateStore(await openPool(options));
}

class MysqlStateStore implements StateStore {
  readonly lease: MysqlLease;
  readonly #pool: MysqlPool;
  #epoch: number | null = null;

  constructor(pool: MysqlPool) {
    this.#pool = pool;
    this.lease = new MysqlLease(pool);
  }

  async nextEpoch(holder?: string): Promise<number> {
    if (holder !== undefined) return this.lease.nextEpoch(holder);
    return (await this.#pool.execute(RAISE_SQL, ['epoch', 1])).insertId;
  }

  fence(epoch: number): void {
    this.#epoch = epoch;
  }

  nextSessionId(): Promise<number> {
    return this.#pool.transaction(async (connection) => {
      const rows = await statement(connection, 'SELECT coalesce(max(session_id), 0) + 1 AS least FROM session');
      const [{ least }] = rows as [{ least: number }];
      return (await changed(connection, RAISE_SQL, ['session_id', least])).insertId;
    });
  }

  async saveSession(session: StoredSession): Promise<void> {
    await this.#pool.transaction(async (connection) => {
      await this.#checkFence(connection);
      await changed(connection, RAISE_TO_SQL, ['session_id', session.session_id]);
      await changed(connection, `REPLACE INTO session (${SESSION_COLUMNS}) VALUES (?)`, [sessionValues(session)]);
      await changed(connection, 'DELETE FROM placement WHERE session_id = ?', [session.session_id]);
      const rows = placementRows(session).map((row) => Object.values(row));
      const columns = Object.keys(placementRows(session)[0] ?? {}).join(', ');
      if (rows.length > 0) await changed(connection, `INSERT INTO placement (${columns}) VALUES ?`, [rows]);
    });
  }

  async session(sessionId: number): Promise<StoredSession | null> {
    const [row] = await this.#pool.query<SessionRow>('SELECT * FROM session WHERE session_id = ?', [sessionId]);
    return row === undefined ? null : sessionOf(row);
  }

  async sessions(): Promise<StoredSession[]> {
    return (await this.#pool.query<SessionRow>('SELECT * FROM session ORDER BY session_id')).map(sessionOf);
  }

  deleteSession(sessionId: number): Promise<boolean> {
    return this.#pool.transaction(async (connection) => {
      await this.#checkFence(connection);
      await changed(connection, 'DELETE FROM placement WHERE session_id = ?', [sessionId]);
      return (await changed(connection, 'DELETE FROM session WHERE session_id = ?', [sessionId])).affectedRows > 0;
    });
  }

  placements(sessionId?: number): Promise<PlacementRow[]> {
    return this.#pool.query<PlacementRow>(
      'SELECT * FROM placement WHERE session_id = coalesce(?, session_id) ORDER BY session_id, handler_id',
      [sessionId ?? null],
    );
  }

  async saveNodeSeen({ node_id, node_name, last_seen, facts }: NodeSeen): Promise<void> {
    const values = [node_id, node_name, last_seen, facts === null ? null : JSON.stringify(facts)];
    await this.#pool.execute('REPLACE INTO node (node_id, node_name, last_seen, facts) VALUES (?)', [values]);
  }

  async nodesSeen(): Promise<NodeSeen[]> {
    return (await this.#pool.query<NodeRow>('SELECT * FROM node ORDER BY node_id')).map(nodeOf);
  }

  async saveDrained(nodeId: number, since: number | null): Promise<void> {
    await this.#pool.transaction(async (connection) => {
      await this.#checkFence(connection);
      if (since === null) await changed(connection, 'DELETE FROM drained_node WHERE node_id = ?', [nodeId]);
      else await changed(connection, 'REPLACE INTO drained_node (node_id, since) VALUES (?)', [[nodeId, since]]);
    });
  }

  drained(): Promise<DrainedNode[]> {
    return this.#pool.query<DrainedNode>('SELECT * FROM drained_node ORDER BY node_id');
  }

  async appendEvents(events: readonly OrchestratorEvent[]): Promise<void> {
    if (events.length === 0) return;
    const rows = events.map(({ timestamp, kind, node_id, session_id, handler_id, message }) => [
      ...[timestamp, kind, node_id ?? null, session_id ?? null, handler_id ?? null, message],
    ]);
    await this.#pool.execute(`INSERT INTO event (${EVENT_COLUMNS}) VALUES ?`, [rows]);
  }

  async events(query: EventQuery = {}): Promise<OrchestratorEvent[]> {
    const { where, values } = eventWhere(query);
    const limit = query.limit ?? EVENTS_LIMIT_DEFAULT;
    const sql = `SELECT ${EVENT_COLUMNS} FROM event ${where} ORDER BY id DESC LIMIT ?`;
    return (await this.#pool.query(sql, [...values, limit])).reverse().map(eventOf);
  }

  async prune(now: number, retention: StateRetention = STATE_RETENTION): Promise<number> {
    const old = await this.#pool.query<{ session_id: number }>('SELECT session_id FROM session WHERE ended_at < ?', [
      now - retention.endedSessionsS,
    ]);
    let deleted = 0;
    for (const { session_id } of old) deleted += (await this.deleteSession(session_id)) ? 1 : 0;
    const chunk = { table: 'event', before: now - retention.eventsS, rowsMax: retention.eventRowsMax } as const;
    return deleted + (await chunkAfterChunk(() => pruneChunk(this.#pool, chunk)));
  }

  /** Shared with others that write: no newer epoch can be handed out until this transaction has ended. */
  async #checkFence(connection: Connection): Promise<void> {
    if (this.#epoch === null) return;
    const sql = "SELECT value FROM meta WHERE `key` = 'epoch' LOCK IN SHARE MODE";
    const [row] = (await statement(connection, sql)) as { value: number }[];
    checkFence(this.#epoch, row?.value ?? 0);
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}

const SESSION_COLUMNS =
  'session_id, service_name, desired, generation, created_at, ended_at, ended_state, ended_reason, request, plan';
const EVENT_COLUMNS = 'timestamp, kind, node_id, session_id, handler_id, message';

/** One more than before, at least so much; told as the id of the insert, by which raising and reading are one statement. */
const RAISE_SQL = `INSERT INTO meta (\`key\`, value) VALUES (?, LAST_INSERT_ID(?))
  ON DUPLICATE KEY UPDATE value = LAST_INSERT_ID(greatest(value + 1, VALUES(value)))`;
const RAISE_TO_SQL =
  'INSERT INTO meta (`key`, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE value = greatest(value, VALUES(value))';
