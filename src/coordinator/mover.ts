/**
 * Changes the plan of a running session while frames flow: moves one handler to a node that somebody names, or applies
 * what the planning loop has decided.
 *
 *     (running) --plan stored--> moving --runs everywhere with it--> moved
 *                                  |--it cannot be made so--> given up: the former plan is stored again
 *                                  \--stopped, or a node was lost meanwhile--> given up: another plan counts
 *
 * The reconciler makes the new hosts and lets the old ones run until the new ones do, so a move that is given up has cost
 * nothing. Invariant: every move that was begun ends in one event, `session.moved` or `session.move_failed`; the memory
 * of it is this process's only, and after a restart of the coordinator the plan is applied without that event.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { PlannedHandler, SessionPlan } from '../contracts/plan.js';
import type { Variant } from '../contracts/service.js';
import type { StoredRequest, StoredSession } from '../contracts/session.js';
import type { Clock } from '../std/clock.js';
import type { EventLog } from './event-log.js';
import type { NodeRegistry, RegisteredNode } from './node-registry.js';
import { pinWords } from './pins.js';
import { variantOf } from './plan-variant.js';
import type { Planner } from './planner.js';
import { handlerStats, isInner, observedState, type RunsBy, type SessionRecord, sinkIds } from './session-record.js';
import type { SessionTable } from './session-table.js';
import { differenceWords, sinkDifference, sinkTally } from './sink-tally.js';

export interface MoverOptions {
  readonly table: SessionTable;
  readonly planner: Pick<Planner, 'placed'>;
  readonly registry: NodeRegistry;
  readonly events: EventLog;
  readonly clock: Clock;
}

export class Mover {
  readonly #options: MoverOptions;

  constructor(options: MoverOptions) {
    this.#options = options;
  }

  /** Stores the plan of the move. Throws SESSION_NOT_FOUND, HANDLER_NOT_FOUND, NODE_NOT_FOUND, MOVE_REFUSED. */
  async move(sessionId: number, handlerRef: number | string, nodeRef: number | string): Promise<SessionRecord> {
    const { table, registry } = this.#options;
    const record = await table.find(sessionId);
    const node = registry.find(nodeRef);
    await table.planning(async () => {
      const handler = handlerOf(record, handlerRef);
      const variant = this.#checked(record, handler, node);
      const words = `${handler.handler_name} ${handler.node_name} -> ${node.file.node_name}`;
      const isBegun = await this.begin(record, this.#plan(record, variant, handler, node), words);
      if (!isBegun) throw refused(sessionId, handler.handler_name, node, 'the session was stopped meanwhile');
    });
    return record;
  }

  /**
   * Stores another plan of a running session; its end is an event. False when the session was changed meanwhile. Runs
   * while no other plan is being made.
   */
  async begin(record: SessionRecord, plan: SessionPlan, words: string, by?: RunsBy): Promise<boolean> {
    const { table, registry, clock, events } = this.#options;
    const former = record.stored.plan;
    const formerBy =
      by === undefined ? null : { service: record.service, definition: record.stored.request.definition };
    const tally = sinkTally(record, registry);
    const done = await table.update(record, (now) =>
      now.ended !== null || now.desired !== 'running' || now.plan !== former
        ? null
        : { ...now, generation: now.generation + 1, plan, request: requestBy(now, by) },
    );
    if (!done) return false;
    if (by !== undefined) record.service = by.service;
    const { session_id, generation } = record.stored;
    record.move = { generation, words, former, formerBy, sinceMs: clock.monotonicMs(), tally, madeMs: null };
    events.emit({ kind: 'session.moving', session_id, message: `session ${session_id}: ${words}, warming` });
    return true;
  }

  /** Lets a session run by another definition that changes nothing of its plan. False when it was changed meanwhile. */
  async adopt(record: SessionRecord, by: RunsBy): Promise<boolean> {
    const { plan } = record.stored;
    const done = await this.#options.table.update(record, (now) =>
      now.ended !== null || now.plan !== plan ? null : { ...now, request: requestBy(now, by) },
    );
    if (done) record.service = by.service;
    return done;
  }

  /** Tells how a move has ended, once it has. */
  watch(record: SessionRecord): void {
    const { registry, events, clock } = this.#options;
    const { move, stored } = record;
    if (move === null) return;
    const { session_id } = stored;
    if (stored.generation !== move.generation || stored.desired !== 'running') {
      record.move = null;
      const message = `session ${session_id}: ${move.words} given up: the session was ${stored.desired === 'running' ? 'placed again' : 'stopped'} meanwhile`;
      events.emit({ kind: 'session.move_failed', session_id, message });
      return;
    }
    if (observedState(record, registry) !== 'running') {
      if (isMade(record, registry)) move.madeMs ??= clock.monotonicMs();
      return;
    }
    record.move = null;
    const nowMs = clock.monotonicMs();
    const madeMs = move.madeMs ?? nowMs;
    const seen = sinkIds(stored.plan).map((id) => handlerStats(record, registry, id)?.last_sequence ?? -1);
    const taken = differenceWords(sinkDifference(move.tally, sinkTally(record, registry)));
    const message = `session ${session_id}: ${move.words} | warmed ${seconds(madeMs - move.sinceMs)}, switched ${seconds(nowMs - madeMs)} later, by sequence ${Math.max(...seen)} at the sink | ${taken}`;
    events.emit({ kind: 'session.moved', session_id, message });
  }

  /** What was to run elsewhere cannot be made there: the former plan counts again. False: no move is to blame. */
  async giveUp(record: SessionRecord, reason: string): Promise<boolean> {
    const { table, events, clock } = this.#options;
    const { move } = record;
    if (move === null || record.stored.generation !== move.generation) return false;
    const done = await table.update(record, (now) =>
      now.ended !== null || now.desired === 'stopped' || now.generation !== move.generation
        ? null
        : {
            ...now,
            generation: now.generation + 1,
            plan: move.former,
            request: requestBy(now, move.formerBy ?? undefined),
          },
    );
    if (!done) return false;
    if (move.formerBy !== null) record.service = move.formerBy.service;
    record.move = null;
    record.problems.clear();
    const { session_id, generation } = record.stored;
    record.failedMove = { generation, reason, atMs: clock.monotonicMs() };
    const message = `session ${session_id}: ${move.words} given up: ${reason}; it runs on where it was`;
    events.emit({ kind: 'session.move_failed', session_id, message });
    return true;
  }

  #checked(record: SessionRecord, planned: PlannedHandler, node: RegisteredNode): Variant {
    const { registry, table } = this.#options;
    const { stored, service } = record;
    const refuse = (why: string) => refused(stored.session_id, planned.handler_name, node, why);
    const state = observedState(record, registry);
    if (table.get(stored.session_id) !== record || state !== 'running') {
      throw refuse(`the session is ${state}, and only a running one can be changed`);
    }
    if (planned.node_id === node.file.node_id) throw refuse('it is there already');
    if (!registry.isUp(node.file.node_id)) throw refuse(`the node is ${node.status.state}`);
    if (node.drainedSince !== null) throw refuse('the node is drained');
    if (service === null) throw refuse('its service is not loaded any more');
    if (service.template !== null) throw refuse('a template runs where its file says');
    if (!isInner(stored.plan, planned.handler_id)) {
      const isSource = stored.plan.links.some((link) => link.source_handler === planned.handler_id);
      throw refuse(
        isSource
          ? `frames come into the session there; start a session with --source-node ${node.file.node_name}`
          : `frames leave the session there, and what it has written is on ${planned.node_name}`,
      );
    }
    const variant = variantOf(service, stored.plan);
    if (variant === undefined) throw refuse('the service file has changed since the session was placed');
    const pin = pinWords(variant.handlers.find((one) => one.handler_id === planned.handler_id)!.at, node);
    if (pin !== null) throw refuse(pin);
    return variant;
  }

  #plan(record: SessionRecord, variant: Variant, moved: PlannedHandler, node: RegisteredNode): SessionPlan {
    const { table, planner } = this.#options;
    const { session_id, plan } = record.stored;
    const placement = plan.handlers.map(({ handler_id, node_id, alternative }) => ({
      ...{ handler_id, alternative },
      node_id: handler_id === moved.handler_id ? node.file.node_id : node_id,
    }));
    const { accuracy, latency_ms } = plan;
    const planned = { session_id, variant: variant.variant_name, accuracy, latency_ms, placement };
    const why = `${moved.handler_name} was moved to ${node.file.node_name} by hand`;
    const result = planner.placed(table.planRequest(record)!, planned, why, 'promised');
    if (result.admitted) return result.plan;
    throw refused(session_id, moved.handler_name, node, result.refusal.reasons.join('; '));
  }
}

function requestBy({ request }: StoredSession, by: RunsBy | undefined): StoredRequest {
  if (by === undefined) return request;
  const { definition: _, ...rest } = request;
  return by.definition === undefined ? rest : { ...rest, definition: by.definition };
}

function handlerOf({ stored }: SessionRecord, ref: number | string): PlannedHandler {
  const found = stored.plan.handlers.find((one) => one.handler_id === ref || one.handler_name === ref);
  if (found !== undefined) return found;
  const known = stored.plan.handlers.map((one) => `${one.handler_id} ${one.handler_name}`).join(', ');
  throw new OrchestratorError(
    'HANDLER_NOT_FOUND',
    `session ${stored.session_id} has no handler ${JSON.stringify(ref)}; it has ${known}`,
    { session_id: stored.session_id },
  );
}

function refused(session_id: number, handler: string, { file }: RegisteredNode, why: string): OrchestratorError {
  const message = `session ${session_id}: ${handler} is not moved to ${file.node_name}: ${why}`;
  return new OrchestratorError('MOVE_REFUSED', message, { session_id, node_id: file.node_id });
}

/** Every host of the new plan is made; frames have not been switched everywhere. */
function isMade({ nodeIds, stored }: SessionRecord, registry: NodeRegistry): boolean {
  return [...nodeIds].every((nodeId) => {
    const observed = registry.observed(nodeId, stored.session_id);
    return observed?.generation === stored.generation && observed.state !== 'preparing';
  });
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
