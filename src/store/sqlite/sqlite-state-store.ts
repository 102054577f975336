/** StateStore in an SQLite file. */
import type { OrchestratorEvent } from '../../contracts/event.js';
import type { StoredSession } from '../../contracts/session.js';
import type { Logger } from '../../std/logger.js';
import { chunkAfterChunk } from '../prune.js';
import {
  type DrainedNode,
  type EventQuery,
  type NodeSeen,
  type PlacementRow,
  STATE_RETENTION,
  type StateRetention,
  type StateStore,
} from '../store.js';
import { BUSY_TIMEOUT_MS } from './connection.js';
import type { StateOperations } from './state-operations.js';
import { SqliteThread } from './thread.js';

export interface SqliteStoreOptions {
  /** The file; made, with its directory, when it is not there. */
  readonly path: string;
  readonly logger: Logger;
  /** How long a write waits for another process's, ms. */
  readonly busyTimeoutMs?: number;
}

/** Opens and migrates the file. Throws DATABASE_UNAVAILABLE. */
export async function openSqliteStateStore(options: SqliteStoreOptions): Promise<StateStore> {
  const { path, logger, busyTimeoutMs = BUSY_TIMEOUT_MS } = options;
  return new SqliteStateStore(await SqliteThread.open({ kind: 'state', path, busyTimeoutMs }, logger));
}

class SqliteStateStore implements StateStore {
  readonly lease = null;
  readonly #thread: SqliteThread;
  #epoch: number | null = null;

  constructor(thread: SqliteThread) {
    this.#thread = thread;
  }

  nextEpoch(): Promise<number> {
    return this.#call('nextEpoch');
  }

  fence(epoch: number): void {
    this.#epoch = epoch;
  }

  nextSessionId(): Promise<number> {
    return this.#call('nextSessionId');
  }

  saveSession(session: StoredSession): Promise<void> {
    return this.#call('saveSession', { session, epoch: this.#epoch });
  }

  session(sessionId: number): Promise<StoredSession | null> {
    return this.#call('session', sessionId);
  }

  sessions(): Promise<StoredSession[]> {
    return this.#call('sessions');
  }

  deleteSession(sessionId: number): Promise<boolean> {
    return this.#call('deleteSession', { sessionId, epoch: this.#epoch });
  }

  placements(sessionId?: number): Promise<PlacementRow[]> {
    return this.#call('placements', sessionId ?? null);
  }

  saveNodeSeen(node: NodeSeen): Promise<void> {
    return this.#call('saveNodeSeen', node);
  }

  nodesSeen(): Promise<NodeSeen[]> {
    return this.#call('nodesSeen');
  }

  saveDrained(nodeId: number, since: number | null): Promise<void> {
    return this.#call('saveDrained', { nodeId, since, epoch: this.#epoch });
  }

  drained(): Promise<DrainedNode[]> {
    return this.#call('drained');
  }

  appendEvents(events: readonly OrchestratorEvent[]): Promise<void> {
    return this.#call('appendEvents', events);
  }

  events(query: EventQuery = {}): Promise<OrchestratorEvent[]> {
    return this.#call('events', query);
  }

  async prune(now: number, retention: StateRetention = STATE_RETENTION): Promise<number> {
    const sessions = await this.#call('deleteEndedSessions', now - retention.endedSessionsS);
    const chunk = { table: 'event', before: now - retention.eventsS, rowsMax: retention.eventRowsMax } as const;
    return sessions + (await chunkAfterChunk(() => this.#call('pruneChunk', chunk)));
  }

  close(): Promise<void> {
    return this.#thread.close();
  }

  #call<M extends keyof StateOperations>(
    method: M,
    ...[argument]: Parameters<StateOperations[M]>
  ): Promise<ReturnType<StateOperations[M]>> {
    return this.#thread.call(method, argument) as Promise<ReturnType<StateOperations[M]>>;
  }
}
