/** What the worker thread does for the state store. Every function is synchronous and one transaction at most. */
import type { OrchestratorEvent } from '../../contracts/event.js';
import type { StoredSession } from '../../contracts/session.js';
import { checkFence } from '../fence.js';
import { placementRows } from '../placement-rows.js';
import type { PruneChunk } from '../prune.js';
import { eventOf, eventWhere, type NodeRow, nodeOf, type SessionRow, sessionOf, sessionValues } from '../state-rows.js';
import { type DrainedNode, EVENTS_LIMIT_DEFAULT, type EventQuery, type NodeSeen, type PlacementRow } from '../store.js';
import { type Database, transaction } from './connection.js';
import { pruneChunk } from './prune.js';

export interface StateOperations {
  nextEpoch(): number;
  nextSessionId(): number;
  saveSession(given: { readonly session: StoredSession; readonly epoch: number | null }): void;
  session(sessionId: number): StoredSession | null;
  sessions(): StoredSession[];
  deleteSession(given: { readonly sessionId: number; readonly epoch: number | null }): boolean;
  placements(sessionId: number | null): PlacementRow[];
  saveNodeSeen(node: NodeSeen): void;
  nodesSeen(): NodeSeen[];
  saveDrained(given: { readonly nodeId: number; readonly since: number | null; readonly epoch: number | null }): void;
  drained(): DrainedNode[];
  appendEvents(events: readonly OrchestratorEvent[]): void;
  events(query: EventQuery): OrchestratorEvent[];
  deleteEndedSessions(before: number): number;
  pruneChunk(chunk: PruneChunk): number;
}

export function stateOperations(db: Database): StateOperations {
  return { ...counters(db), ...sessionOperations(db), ...nodeOperations(db), ...eventOperations(db) };
}

function counters(db: Database) {
  const raise = db.prepare(`INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET
    value = max(value + 1, excluded.value) RETURNING value`);
  const next = (key: string, least: number): number => raise.get(key, least).value;
  const lastSession = db.prepare('SELECT coalesce(max(session_id), 0) AS last FROM session');
  return {
    nextEpoch: () => next('epoch', 1),
    nextSessionId: () => transaction(db, () => next('session_id', lastSession.get().last + 1)),
  };
}

/** Throws NOT_LEADER; inside the transaction of what it guards. */
function fence(db: Database): (epoch: number | null) => void {
  const newest = db.prepare("SELECT coalesce(max(value), 0) AS epoch FROM meta WHERE key = 'epoch'");
  return (epoch) => checkFence(epoch, newest.get().epoch);
}

function sessionOperations(
  db: Database,
): Pick<
  StateOperations,
  'saveSession' | 'session' | 'sessions' | 'deleteSession' | 'placements' | 'deleteEndedSessions'
> {
  const save = db.prepare('INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
  // A session that the user gave its id keeps that id from being handed out later, even once it is deleted.
  const useId = db.prepare(`INSERT INTO meta VALUES ('session_id', ?) ON CONFLICT (key) DO UPDATE SET
    value = max(value, excluded.value)`);
  const unplace = db.prepare('DELETE FROM placement WHERE session_id = ?');
  const place = db.prepare('INSERT INTO placement VALUES (?, ?, ?, ?, ?, ?, ?)');
  const remove = db.prepare('DELETE FROM session WHERE session_id = ?');
  const read = db.prepare('SELECT * FROM session WHERE session_id = ?');
  const readAll = db.prepare('SELECT * FROM session ORDER BY session_id');
  const placed = db.prepare(`SELECT * FROM placement WHERE ?1 IS NULL OR session_id = ?1
    ORDER BY session_id, handler_id`);
  const ended = db.prepare('SELECT session_id FROM session WHERE ended_at < ?');

  const fenced = fence(db);

  const deleteSession = (sessionId: number): boolean => {
    unplace.run(sessionId);
    return Number(remove.run(sessionId).changes) > 0;
  };
  return {
    saveSession: ({ session, epoch }) =>
      transaction(db, () => {
        fenced(epoch);
        save.run(...sessionValues(session));
        useId.run(session.session_id);
        unplace.run(session.session_id);
        for (const row of placementRows(session)) {
          const { session_id, generation, handler_id, handler_name, handler_type, node_id, alternative } = row;
          place.run(session_id, generation, handler_id, handler_name, handler_type, node_id, alternative);
        }
      }),
    session: (sessionId: number) => {
      const row = read.get(sessionId) as SessionRow | undefined;
      return row === undefined ? null : sessionOf(row);
    },
    sessions: () => (readAll.all() as SessionRow[]).map(sessionOf),
    deleteSession: ({ sessionId, epoch }) =>
      transaction(db, () => {
        fenced(epoch);
        return deleteSession(sessionId);
      }),
    placements: (sessionId: number | null) => placed.all(sessionId) as PlacementRow[],
    deleteEndedSessions: (before: number) =>
      transaction(db, () => {
        const old = ended.all(before) as { session_id: number }[];
        return old.filter(({ session_id }) => deleteSession(session_id)).length;
      }),
  };
}

function nodeOperations(db: Database) {
  const save = db.prepare('INSERT OR REPLACE INTO node VALUES (?, ?, ?, ?)');
  const readAll = db.prepare('SELECT * FROM node ORDER BY node_id');
  const drain = db.prepare('INSERT OR REPLACE INTO drained_node VALUES (?, ?)');
  const undrain = db.prepare('DELETE FROM drained_node WHERE node_id = ?');
  const readDrained = db.prepare('SELECT * FROM drained_node ORDER BY node_id');
  const fenced = fence(db);
  return {
    saveNodeSeen: ({ node_id, node_name, last_seen, facts }: NodeSeen) => {
      save.run(node_id, node_name, last_seen, facts === null ? null : JSON.stringify(facts));
    },
    nodesSeen: () => (readAll.all() as NodeRow[]).map(nodeOf),
    saveDrained: ({ nodeId, since, epoch }: Parameters<StateOperations['saveDrained']>[0]) =>
      transaction(db, () => {
        fenced(epoch);
        if (since === null) undrain.run(nodeId);
        else drain.run(nodeId, since);
      }),
    drained: () => readDrained.all() as DrainedNode[],
  };
}

function eventOperations(db: Database) {
  const append = db.prepare('INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)');
  return {
    appendEvents: (events: readonly OrchestratorEvent[]) =>
      transaction(db, () => {
        for (const { timestamp, kind, node_id, session_id, handler_id, message } of events) {
          append.run(timestamp, kind, node_id ?? null, session_id ?? null, handler_id ?? null, message);
        }
      }),
    events: (query: EventQuery) => {
      const { where, values } = eventWhere(query);
      const newest = db.prepare(`SELECT * FROM event ${where} ORDER BY rowid DESC LIMIT ?`);
      return newest
        .all(...values, query.limit ?? EVENTS_LIMIT_DEFAULT)
        .reverse()
        .map(eventOf);
    },
    pruneChunk: (chunk: PruneChunk) => pruneChunk(db, chunk),
  };
}
