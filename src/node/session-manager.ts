/**
 * The sessions of this node, and who may change them. Two kinds share the numbers: a coordinator's (`PUT`, fenced) and
 * those of a peer that speaks the reference's protocol (`POST /`, in reference-actions.ts); neither touches the other's.
 * Invariant: nothing older than what was seen takes effect. Epochs hold for the node, generations for a session; a
 * removed session is remembered for a while, so that a request that was overtaken by its removal cannot revive it.
 */
import type { NodeSession } from '../contracts/blueprint.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { ObservedSession } from '../contracts/node.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import { NODE_SESSIONS_MAX } from './options.js';
import { Session } from './session.js';
import type { SessionContext } from './session-context.js';
import type { Host } from './session-hosts.js';

/** How long a removed session is remembered, ms: the time-out of a request (10 s), after which its sender gave it up. */
const REMOVED_MEMORY_MS = 10_000;

export type SessionOwner = 'coordinator' | 'reference';

interface Entry {
  readonly session: Session;
  readonly owner: SessionOwner;
  removal: Promise<void> | null;
}

interface Seen {
  readonly epoch: number;
  readonly generation: number;
  readonly atMs: number;
}

export interface SessionManagerOptions {
  readonly nodeId: number | null;
  readonly context: SessionContext;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class SessionManager {
  readonly #options: SessionManagerOptions;
  readonly #entries = new Map<number, Entry>();
  readonly #removed = new Map<number, Seen>();
  readonly #watchers = new Set<() => void>();
  #epoch = 0;
  #nodeId: number | null;
  #closed = false;

  constructor(options: SessionManagerOptions) {
    this.#options = options;
    this.#nodeId = options.nodeId;
  }

  /** The highest coordinator epoch seen. */
  get epoch(): number {
    return this.#epoch;
  }

  /** A coordinator of this epoch is there: older ones are not obeyed any more. */
  see(epoch: number): void {
    this.#epoch = Math.max(this.#epoch, epoch);
  }

  /** As configured, else as the coordinator said; null when nobody said. */
  get nodeId(): number | null {
    return this.#nodeId;
  }

  observe(owner?: SessionOwner): ObservedSession[] {
    return [...this.#entries.values()]
      .filter((entry) => owner === undefined || entry.owner === owner)
      .map((entry) => entry.session.observe());
  }

  hosts(): Host[] {
    return [...this.#entries.values()].flatMap((entry) => [...entry.session.hosts]);
  }

  /** Calls `listener` whenever a session or one of its hosts is in another state; returns how to end that. */
  watch(listener: () => void): () => void {
    this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  /** A session or one of its hosts is in another state. */
  changed(): void {
    for (const listener of [...this.#watchers]) listener();
  }

  /** Handlers that may want cores of their own at the same time. */
  inferences(): number {
    return [...this.#entries.values()].reduce((sum, { session }) => sum + session.inferences, 0);
  }

  /** Tells every host what to correct its clock by from now on. */
  clockCorrected(): void {
    for (const { supervisor } of this.hosts()) supervisor.correctClock();
  }

  find(session_id: number, owner: SessionOwner): Session | undefined {
    const entry = this.#entries.get(session_id);
    return entry?.owner === owner ? entry.session : undefined;
  }

  /** The host of a handler that takes links and packets now. Throws SESSION_NOT_FOUND, HANDLER_NOT_FOUND, LINK_BUSY. */
  servingHost(session_id: number, handler_id: number): Host {
    const { session } = this.#entry(session_id);
    const host = session.hostOf(handler_id);
    if (host?.supervisor.isServing) return host;
    const context = { session_id, handler_id };
    const { desired, handlers } = session.target;
    const isExpected = desired !== 'stopped' && handlers.some((one) => one.handler_id === handler_id);
    if (host === undefined && !isExpected) {
      const message = `session ${session_id} has no handler ${handler_id} on this node`;
      throw new OrchestratorError('HANDLER_NOT_FOUND', message, context);
    }
    const message = `handler ${handler_id} of session ${session_id} is ${host?.supervisor.state ?? 'preparing'}`;
    throw new OrchestratorError('LINK_BUSY', message, context);
  }

  /** Takes what the coordinator wants; answers what is there, and goes on by itself. */
  put(wanted: NodeSession): ObservedSession {
    this.#checkNode(wanted);
    this.#checkEpoch(wanted.session_id, wanted.epoch);
    const entry = this.#entries.get(wanted.session_id);
    if (entry?.owner === 'reference') throw this.#taken(wanted.session_id);
    this.#checkGeneration(wanted, entry?.session.target ?? this.#removedLately(wanted.session_id));
    let session = entry?.session;
    if (session === undefined) session = this.create(wanted, 'coordinator');
    else session.apply(wanted);
    this.#epoch = wanted.epoch;
    this.#nodeId ??= wanted.node_id;
    if (entry !== undefined) entry.removal = null;
    return session.observe();
  }

  /** Drains and ends the session and forgets it; answers at once. */
  remove(session_id: number, epoch: number): ObservedSession {
    this.#checkEpoch(session_id, epoch);
    const entry = this.#entry(session_id);
    if (entry.owner === 'reference') throw this.#taken(session_id);
    this.#epoch = epoch;
    if (entry.removal === null) {
      const { session } = entry;
      session.apply({ ...session.target, desired: 'stopped' });
      const removal = session
        .settle()
        .catch(() => {})
        .then(() => {
          if (entry.removal === removal) this.forget(session_id, session);
        });
      entry.removal = removal;
    }
    return entry.session.observe();
  }

  /** Throws SESSION_EXISTS when the number is in use. */
  create(wanted: NodeSession, owner: SessionOwner): Session {
    const { session_id } = wanted;
    if (this.#entries.has(session_id)) throw this.#taken(session_id);
    if (this.#closed || this.#entries.size >= NODE_SESSIONS_MAX) {
      const why = this.#closed ? 'the node is closing' : `it runs ${NODE_SESSIONS_MAX}, the most that one node takes`;
      throw new OrchestratorError('SESSION_REFUSED', `session ${session_id} is refused: ${why}`);
    }
    const session = new Session(wanted, this.#options.context);
    for (const warning of session.warnings) this.#options.logger.warn({ session_id }, warning);
    this.#entries.set(session_id, { session, owner, removal: null });
    return session;
  }

  /** Only when it is still this session that has the number. */
  forget(session_id: number, session: Session): void {
    const entry = this.#entries.get(session_id);
    if (entry?.session !== session) return;
    this.#entries.delete(session_id);
    this.changed();
    if (entry.owner !== 'coordinator') return;
    const { epoch, generation } = session.target;
    this.#removed.delete(session_id);
    this.#removed.set(session_id, { epoch, generation, atMs: this.#options.clock.monotonicMs() });
    const oldest = this.#removed.keys().next();
    if (this.#removed.size > NODE_SESSIONS_MAX && oldest.done !== true) this.#removed.delete(oldest.value);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#entries.values()].map((entry) => entry.session.close()));
    this.#entries.clear();
    this.changed();
  }

  #entry(session_id: number): Entry {
    const entry = this.#entries.get(session_id);
    if (entry !== undefined) return entry;
    throw new OrchestratorError('SESSION_NOT_FOUND', `no session ${session_id} on this node`, { session_id });
  }

  #taken(session_id: number): OrchestratorError {
    const owner = this.#entries.get(session_id)?.owner === 'reference' ? 'POST /' : 'a coordinator';
    return new OrchestratorError('SESSION_EXISTS', `session id ${session_id} is in use on this node, by ${owner}`, {
      session_id,
    });
  }

  #checkNode({ session_id, node_id }: NodeSession): void {
    if (this.#nodeId === null || this.#nodeId === node_id) return;
    const message = `session ${session_id}: the share is for node ${node_id}, this is node ${this.#nodeId}`;
    throw new OrchestratorError('REQUEST_INVALID', message, { node_id: this.#nodeId });
  }

  #checkEpoch(session_id: number, epoch: number): void {
    if (epoch >= this.#epoch) return;
    throw new OrchestratorError(
      'SESSION_STALE',
      `session ${session_id}: epoch ${epoch} is older than ${this.#epoch}, which this node has seen`,
      { epoch, epoch_seen: this.#epoch },
    );
  }

  #checkGeneration(wanted: NodeSession, seen: { epoch: number; generation: number } | undefined): void {
    if (seen === undefined || wanted.epoch > seen.epoch) return;
    if (wanted.generation > seen.generation) return;
    if (wanted.generation === seen.generation && this.#entries.has(wanted.session_id)) return;
    throw new OrchestratorError(
      'SESSION_STALE',
      `session ${wanted.session_id}: generation ${wanted.generation} is not newer than ${seen.generation}, which this node has seen`,
      { generation: wanted.generation, generation_seen: seen.generation },
    );
  }

  #removedLately(session_id: number): Seen | undefined {
    const seen = this.#removed.get(session_id);
    return seen !== undefined && this.#options.clock.monotonicMs() - seen.atMs < REMOVED_MEMORY_MS ? seen : undefined;
  }
}
