/**
 * Drives what nodes run to what is stored, again and again. Level-triggered: each step looks at the stored session and
 * at the newest heartbeats, does what is missing, and forgets; a failed request needs no memory, the next heartbeat
 * shows that it is still to be done. One session's steps never overlap; different sessions' do.
 *
 * A plan is applied in two rounds: first every node is told `ready` (models load, sources are silent), and once every
 * handler of this generation is ready, `running`. When a node of a generation runs already, the rest is told `running`
 * at once: this is a node that came back, or a coordinator that was restarted. After a loss a node that had nothing of
 * the session is told `running` in the first round, so that its hosts take their links over as soon as they are ready.
 * A plan that changes while frames flow is made before the old one is broken: a node that the new plan does without
 * keeps its share until the new plan runs everywhere, unless frames begin or end there.
 * Stopping goes from the sources down, so that what is in flight arrives. Nodes outside the plan are told to forget.
 */
import { type ErrorCode, OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import type { ObservedSession } from '../contracts/node.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import type { EventLog } from './event-log.js';
import type { Failover } from './failover.js';
import type { Mover } from './mover.js';
import { type NodeRegistry, type RegisteredNode, urlFor } from './node-registry.js';
import type { CoordinatorBounds } from './options.js';
import {
  END_OF_STREAM,
  type Failure,
  handlerStats,
  isInner,
  isPrepared,
  observedNodes,
  observedState,
  type SessionRecord,
  shareOf,
  sinkIds,
  sourceIds,
} from './session-record.js';
import type { SessionTable } from './session-table.js';

export interface ReconcilerOptions {
  readonly table: SessionTable;
  readonly registry: NodeRegistry;
  readonly failover: Failover;
  readonly mover: Mover;
  readonly events: EventLog;
  readonly epoch: number;
  /** False: another coordinator may lead, and nothing is sent to any node. */
  leads(): boolean;
  readonly bounds: CoordinatorBounds;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How long one step asks for hurried heartbeats, ms; the next step asks again when it is not done. */
const HURRY_MS = 1_000;

/** Failures of a PUT that pass by themselves: the next heartbeat shows that it is still to be done. */
const PASSING: ReadonlySet<ErrorCode> = new Set([
  ...(['NODE_UNREACHABLE', 'SESSION_STALE', 'SESSION_REFUSED', 'INTERNAL'] as const),
  ...(['TOKEN_MISSING', 'TOKEN_INVALID', 'ROUTE_NOT_FOUND'] as const),
]);

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #runs = new Map<number, { again: boolean }>();
  /** By node_id and session_id: when a DELETE was answered, monotonic ms. */
  readonly #deletes = new Map<number, Map<number, number>>();
  #closed = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /** Looks at this session soon, and once more if a step is under way. */
  kick(sessionId: number): void {
    const run = this.#runs.get(sessionId);
    if (run !== undefined) {
      run.again = true;
      return;
    }
    const fresh = { again: true };
    this.#runs.set(sessionId, fresh);
    void this.#drive(sessionId, fresh);
  }

  kickAll(): void {
    for (const { stored } of this.#options.table.active()) this.kick(stored.session_id);
  }

  /** A node has answered, or came, or went: whatever has to do with it is looked at. */
  nodeChanged(nodeId: number, change: 'up' | 'lost' | 'missing' | 'heartbeat'): void {
    const { registry, table } = this.#options;
    const observed = registry.get(nodeId)?.status.sessions ?? new Map<number, ObservedSession>();
    const deletes = this.#deletes.get(nodeId);
    for (const sessionId of deletes?.keys() ?? []) if (!observed.has(sessionId)) deletes?.delete(sessionId);
    const concerned = new Set(observed.keys());
    for (const record of table.records()) {
      if (record.stored.ended !== null) continue;
      const waits = record.suspension !== null;
      if (record.nodeIds.has(nodeId) || waits || (change !== 'heartbeat' && record.stored.desired === 'stopped')) {
        concerned.add(record.stored.session_id);
      }
    }
    const weight = (id: number) => table.get(id)?.stored.request.weight ?? 1;
    // Places are given in this order.
    const order = change === 'heartbeat' ? concerned : [...concerned].sort((a, b) => weight(b) - weight(a) || a - b);
    for (const sessionId of order) this.kick(sessionId);
  }

  close(): void {
    this.#closed = true;
  }

  /** Resolves when no step is under way. */
  async settle(): Promise<void> {
    while (this.#runs.size > 0) await new Promise((resolve) => setImmediate(resolve));
  }

  async #drive(sessionId: number, run: { again: boolean }): Promise<void> {
    // Let those who kick in the same turn of the event loop share one step.
    await Promise.resolve();
    while (run.again && !this.#closed) {
      run.again = false;
      try {
        await this.#step(sessionId);
      } catch (error) {
        const { code, message } = toOrchestratorError(error);
        this.#options.logger.error({ err: error, code, session_id: sessionId }, `session ${sessionId}: ${message}`);
      }
    }
    this.#runs.delete(sessionId);
  }

  async #step(sessionId: number): Promise<void> {
    const record = this.#options.table.get(sessionId);
    if (record === undefined || record.stored.ended !== null) return this.#removeEverywhere(sessionId);
    if (record.stored.desired === 'stopped') await this.#stop(record);
    else await this.#run(record);
    this.#tell(record);
  }

  async #run(record: SessionRecord): Promise<void> {
    const { failover, table } = this.#options;
    await failover.check(record);
    const { session_id } = record.stored;
    if (table.get(session_id) !== record) return;
    if (record.suspension?.kind === 'placement') return this.#removeEverywhere(session_id);
    const failure = this.#failureOf(record);
    if (failure !== null) return this.#fail(record, failure.reason, failure);
    if (this.#streamEnded(record)) return this.#end(record, 'stopped', END_OF_STREAM);
    const { nodeIds } = record;
    const [faults] = await Promise.all([
      this.#putShares(record, [...nodeIds]),
      this.#removeEverywhere(session_id, (nodeId) => !nodeIds.has(nodeId) && !this.#servesOn(record, nodeId)),
    ]);
    if (faults.length > 0) return this.#fail(record, faults[0]!);
    failover.watch(record);
    this.#hurry(record);
  }

  /**
   * A move that cannot be made is taken back, and what does not go on on one node is tried on another; anything else that
   * cannot be made ends the session.
   */
  async #fail(record: SessionRecord, reason: string, failure?: Failure): Promise<void> {
    const { mover, failover } = this.#options;
    const goesOn =
      (await mover.giveUp(record, reason)) || (failure?.isLocal === true && (await failover.evade(record, failure)));
    if (goesOn) this.kick(record.stored.session_id);
    else await this.#end(record, 'failed', reason);
  }

  /** Frames flow through handlers on this node until the plan, which does without it, runs everywhere. */
  #servesOn(record: SessionRecord, nodeId: number): boolean {
    const { registry } = this.#options;
    const { stored, suspension } = record;
    if (stored.desired !== 'running' || suspension !== null || observedState(record, registry) === 'running') {
      return false;
    }
    const observed = registry.observed(nodeId, stored.session_id);
    if (observed === undefined || observed.desired !== 'running') return false;
    return observed.handlers.every(({ handler_id }) => isInner(stored.plan, handler_id));
  }

  /** Tells each node of the plan what it should have, where that differs; answers faults that will not pass. */
  async #putShares(record: SessionRecord, nodeIds: readonly number[]): Promise<string[]> {
    const { registry } = this.#options;
    const { stored } = record;
    const observedOf = (nodeId: number) => registry.observed(nodeId, stored.session_id);
    const isMade = (nodeId: number) => isPrepared(observedOf(nodeId), stored.generation);
    const runs = (nodeId: number) => {
      const observed = observedOf(nodeId);
      const isNow = observed?.generation === stored.generation && observed.desired === 'running';
      return isNow && !record.recovery?.early.has(nodeId);
    };
    const mayRun = stored.desired === 'running' && (nodeIds.some(runs) || nodeIds.every(isMade));
    const faults = await Promise.all(
      nodeIds.map((nodeId) =>
        this.#put(record, nodeId, mayRun || this.#takesOver(record, nodeId) ? 'running' : 'ready'),
      ),
    );
    // A node may have everything ready already when it answers: then the second round need not wait for a heartbeat.
    if (!mayRun && stored.desired === 'running' && nodeIds.every(isMade)) this.kick(stored.session_id);
    return faults.filter((fault) => fault !== null);
  }

  /** Frames wait for what is made there, and nothing of the session ran there before that could be broken. */
  #takesOver({ stored, recovery }: SessionRecord, nodeId: number): boolean {
    if (stored.desired !== 'running' || recovery === null) return false;
    if (this.#options.registry.observed(nodeId, stored.session_id) === undefined) recovery.early.add(nodeId);
    return recovery.early.has(nodeId);
  }

  /** Null when it is done, or will be tried again; else why this plan cannot run there. */
  async #put(record: SessionRecord, nodeId: number, desired: 'ready' | 'running' | 'stopped'): Promise<string | null> {
    const { registry, epoch, logger } = this.#options;
    const node = registry.get(nodeId);
    if (node === undefined || !this.#mayCommand(record, node)) return null;
    const { stored } = record;
    const observed = registry.observed(nodeId, stored.session_id);
    const { generation, session_id } = stored;
    if (observed?.epoch === epoch && observed.generation === generation && observed.desired === desired) {
      record.problems.delete(nodeId);
      return null;
    }
    const peer = (id: number) => {
      const known = registry.get(id);
      return { url: known === undefined ? '' : urlFor(known, node), dialable: known?.file.dialable ?? true };
    };
    try {
      const answer = await node.client.putSession(shareOf(stored, nodeId, { epoch, desired, peer }));
      registry.note(nodeId, answer);
      record.problems.delete(nodeId);
      this.#deletes.get(nodeId)?.delete(session_id);
      return null;
    } catch (error) {
      const fault = toOrchestratorError(error);
      const words = `${node.file.node_name}: ${fault.message}`;
      logger.warn({ code: fault.code, node_id: nodeId, session_id, generation, desired }, words);
      if (!PASSING.has(fault.code)) return words;
      record.problems.set(nodeId, words);
      return null;
    }
  }

  /** A node that has seen a newer coordinator takes nothing from this one. */
  #mayCommand(record: SessionRecord, { file, status }: RegisteredNode): boolean {
    if (status.state !== 'up' || !this.#options.leads()) return false;
    if (status.epoch <= this.#options.epoch) return true;
    record.problems.set(
      file.node_id,
      `${file.node_name} has seen epoch ${status.epoch}, this coordinator has ${this.#options.epoch}: another one was started later`,
    );
    return false;
  }

  #failureOf({ stored, nodeIds }: SessionRecord): Failure | null {
    const { registry } = this.#options;
    for (const nodeId of nodeIds) {
      const observed = registry.observed(nodeId, stored.session_id);
      if (observed?.generation !== stored.generation) continue;
      const name = registry.get(nodeId)!.file.node_name;
      const failed = observed.handlers.filter((handler) => handler.state === 'failed');
      const [first] = failed;
      if (first !== undefined) {
        const reason = `${first.handler_name} on ${name}: ${first.error ?? 'failed'}`;
        const handlerIds = failed.map(({ handler_id }) => handler_id);
        return { reason, nodeId, handlerIds, isLocal: first.restarts > 0 || stored.generation > 1 };
      }
      if (observed.state !== 'failed') continue;
      return { reason: `${name}: the session failed there`, nodeId, handlerIds: [], isLocal: false };
    }
    return null;
  }

  #streamEnded(record: SessionRecord): boolean {
    const { registry } = this.#options;
    const sinks = sinkIds(record.stored.plan);
    return sinks.length > 0 && sinks.every((id) => handlerStats(record, registry, id)?.ended === true);
  }

  /** Sources first; the rest once they are silent and drained; then everything is removed and the session has ended. */
  async #stop(record: SessionRecord): Promise<void> {
    const { registry, clock, bounds } = this.#options;
    const { plan, session_id } = record.stored;
    record.suspension = null;
    record.recovery = null;
    record.stoppingSinceMs ??= clock.monotonicMs();
    const overdue = clock.monotonicMs() - record.stoppingSinceMs > bounds.stopTimeoutMs;
    const runs = (nodeId: number) => {
      const observed = registry.observed(nodeId, session_id);
      return observed !== undefined && observed.state !== 'stopped';
    };
    const sources = new Set(sourceIds(plan));
    const first = new Set(plan.handlers.filter((one) => sources.has(one.handler_id)).map((one) => one.node_id));
    const rest = [...record.nodeIds].filter((nodeId) => !first.has(nodeId));
    for (const round of [[...first], rest]) {
      const left = round.filter(runs);
      if (left.length === 0 || overdue) continue;
      await Promise.all(left.map((nodeId) => this.#put(record, nodeId, 'stopped')));
      if (!round.some(runs)) continue;
      this.#hurry(record);
      return;
    }
    await this.#end(record, 'stopped', overdue ? 'stopped; what was in flight did not drain in time' : 'stopped');
  }

  async #end(record: SessionRecord, state: 'stopped' | 'failed', reason: string): Promise<void> {
    const { table, registry, clock } = this.#options;
    const final = observedNodes(record, registry);
    const at = clock.now();
    const done = await table.update(record, (stored) =>
      stored.ended !== null ? null : { ...stored, desired: 'stopped', ended: { at, state, reason } },
    );
    if (done) record.final = final;
    record.suspension = null;
    record.recovery = null;
    await this.#removeEverywhere(record.stored.session_id);
  }

  /** Nodes that should not have this session any more, and have it, are told so. */
  async #removeEverywhere(sessionId: number, where: (nodeId: number) => boolean = () => true): Promise<void> {
    const { registry, epoch, leads } = this.#options;
    if (!leads()) return;
    const nodes = registry
      .all()
      .filter(({ file, status }) => status.epoch <= epoch && where(file.node_id))
      .filter(({ file }) => registry.observed(file.node_id, sessionId) !== undefined);
    await Promise.all(nodes.map((node) => this.#remove(node, sessionId)));
  }

  async #remove({ file, client }: RegisteredNode, sessionId: number): Promise<void> {
    const { clock, bounds, epoch, logger } = this.#options;
    const deletes = this.#deletes.get(file.node_id) ?? new Map<number, number>();
    this.#deletes.set(file.node_id, deletes);
    const deletedMs = deletes.get(sessionId);
    if (deletedMs !== undefined && clock.monotonicMs() - deletedMs < bounds.deleteRepeatMs) return;
    try {
      await client.deleteSession(sessionId, epoch);
      deletes.set(sessionId, clock.monotonicMs());
    } catch (error) {
      const { code, message } = toOrchestratorError(error);
      logger.warn({ code, node_id: file.node_id, session_id: sessionId }, `${file.node_name}: ${message}`);
      // Somebody else's session of the same number stays where it is.
      if (error instanceof OrchestratorError && code === 'SESSION_EXISTS') deletes.set(sessionId, clock.monotonicMs());
    }
  }

  /** Heartbeats come faster while something is about to change. */
  #hurry(record: SessionRecord): void {
    const { registry } = this.#options;
    const { stored, recovery } = record;
    const state = observedState(record, registry);
    const settled = state === 'running' || state === 'suspended' || (state === 'ready' && stored.desired === 'ready');
    if (settled && recovery === null) return;
    for (const nodeId of record.nodeIds) registry.hurry(nodeId, HURRY_MS);
  }

  /** Every transition of the observed state becomes one event. */
  #tell(record: SessionRecord): void {
    const { registry, events, table } = this.#options;
    const { stored } = record;
    const { session_id } = stored;
    if (table.get(session_id) !== record) return;
    this.#tellRestarts(record);
    this.#options.mover.watch(record);
    const state = observedState(record, registry);
    const before = record.told;
    record.told = state;
    // A suspension and a re-placement have told themselves, with their reasons.
    if (state === before || state === 'suspended' || state === 'admitted' || state === 'moving') return;
    const why = stored.ended === null || stored.ended.reason === state ? '' : `: ${stored.ended.reason}`;
    const message = `session ${session_id}: ${stored.plan.service_name} ${state}${why}`;
    events.emit({ kind: `session.${state}`, session_id, message });
  }

  /** A host that ended and was started again by its node; what happened before this coordinator looked is not news. */
  #tellRestarts(record: SessionRecord): void {
    const { registry, events } = this.#options;
    const { session_id } = record.stored;
    for (const { node_id, node_name, observed } of observedNodes(record, registry)) {
      for (const { handler_id, handler_name, restarts, last_exit } of observed.handlers) {
        const told = record.restarts.get(handler_id);
        record.restarts.set(handler_id, restarts);
        if (told === undefined || restarts <= told) continue;
        const why = last_exit === undefined ? '' : `: ${last_exit}`;
        const message = `session ${session_id}: ${handler_name} on ${node_name} was restarted (${restarts})${why}`;
        events.emit({ kind: 'handler.restarted', session_id, node_id, handler_id, message });
      }
    }
  }
}
