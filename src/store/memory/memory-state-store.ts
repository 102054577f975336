/** StateStore in one process's memory: for tests, simulations and a coordinator that need not survive. Hands out copies. */
import type { OrchestratorEvent } from '../../contracts/event.js';
import type { StoredSession } from '../../contracts/session.js';
import { checkFence } from '../fence.js';
import { placementRows } from '../placement-rows.js';
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

export class MemoryStateStore implements StateStore {
  readonly lease = null;
  #epoch = 0;
  #fence: number | null = null;
  #lastSessionId = 0;
  readonly #sessions = new Map<number, StoredSession>();
  readonly #nodes = new Map<number, NodeSeen>();
  readonly #drained = new Map<number, number>();
  #events: OrchestratorEvent[] = [];

  async nextEpoch(): Promise<number> {
    this.#epoch += 1;
    return this.#epoch;
  }

  fence(epoch: number): void {
    this.#fence = epoch;
  }

  async nextSessionId(): Promise<number> {
    this.#lastSessionId = Math.max(this.#lastSessionId, ...this.#sessions.keys()) + 1;
    return this.#lastSessionId;
  }

  async saveSession(session: StoredSession): Promise<void> {
    checkFence(this.#fence, this.#epoch);
    this.#lastSessionId = Math.max(this.#lastSessionId, session.session_id);
    this.#sessions.set(session.session_id, structuredClone(session));
  }

  async session(sessionId: number): Promise<StoredSession | null> {
    return structuredClone(this.#sessions.get(sessionId) ?? null);
  }

  async sessions(): Promise<StoredSession[]> {
    return structuredClone([...this.#sessions.values()].sort((a, b) => a.session_id - b.session_id));
  }

  async deleteSession(sessionId: number): Promise<boolean> {
    checkFence(this.#fence, this.#epoch);
    return this.#sessions.delete(sessionId);
  }

  async placements(sessionId?: number): Promise<PlacementRow[]> {
    return (await this.sessions())
      .filter((session) => sessionId === undefined || session.session_id === sessionId)
      .flatMap(placementRows);
  }

  async saveNodeSeen(node: NodeSeen): Promise<void> {
    this.#nodes.set(node.node_id, structuredClone(node));
  }

  async nodesSeen(): Promise<NodeSeen[]> {
    return structuredClone([...this.#nodes.values()].sort((a, b) => a.node_id - b.node_id));
  }

  async saveDrained(nodeId: number, since: number | null): Promise<void> {
    checkFence(this.#fence, this.#epoch);
    if (since === null) this.#drained.delete(nodeId);
    else this.#drained.set(nodeId, since);
  }

  async drained(): Promise<DrainedNode[]> {
    return [...this.#drained].map(([node_id, since]) => ({ node_id, since })).sort((a, b) => a.node_id - b.node_id);
  }

  async appendEvents(events: readonly OrchestratorEvent[]): Promise<void> {
    this.#events.push(...structuredClone(events));
  }

  async events(query: EventQuery = {}): Promise<OrchestratorEvent[]> {
    const { limit = EVENTS_LIMIT_DEFAULT, since, session_id, node_id } = query;
    const fits = this.#events.filter(
      (event) =>
        (since === undefined || event.timestamp >= since) &&
        (session_id === undefined || event.session_id === session_id) &&
        (node_id === undefined || event.node_id === node_id),
    );
    return structuredClone(fits.slice(Math.max(0, fits.length - limit)));
  }

  async prune(now: number, retention: StateRetention = STATE_RETENTION): Promise<number> {
    const old = [...this.#sessions.values()].filter(
      (session) => session.ended !== null && session.ended.at < now - retention.endedSessionsS,
    );
    for (const session of old) this.#sessions.delete(session.session_id);
    const before = this.#events.length;
    const kept = this.#events.filter((event) => event.timestamp >= now - retention.eventsS);
    this.#events = kept.slice(Math.max(0, kept.length - retention.eventRowsMax));
    return old.length + before - this.#events.length;
  }

  async close(): Promise<void> {}
}
