/**
 * What users may do with sessions. It decides and stores; sending anything to a node is the reconciler's. Invariant:
 * a session is admitted with a certified plan or not at all, and the plan is stored before anyone hears of it.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { PlanRequest, Refusal, SessionPlan } from '../contracts/plan.js';
import type { Service } from '../contracts/service.js';
import type { MoveRequest, SessionCreated, SessionRequest, SessionView, StoredSession } from '../contracts/session.js';
import type { Clock } from '../std/clock.js';
import type { StateStore } from '../store/store.js';
import type { EventLog } from './event-log.js';
import type { Mover } from './mover.js';
import type { NodeRegistry } from './node-registry.js';
import { SESSIONS_MAX } from './options.js';
import type { Planner } from './planner.js';
import type { PlanningLoop } from './planning-loop.js';
import type { Reconciler } from './reconciler.js';
import { type SessionRecord, sessionView } from './session-record.js';
import { completeRequest } from './session-request.js';
import type { SessionTable } from './session-table.js';

export interface SessionServiceOptions {
  readonly table: SessionTable;
  readonly registry: NodeRegistry;
  readonly reconciler: Pick<Reconciler, 'kick'>;
  readonly mover: Pick<Mover, 'move'>;
  readonly planner: Pick<Planner, 'plan'>;
  readonly loop: Pick<PlanningLoop, 'makeRoom'>;
  readonly events: EventLog;
  readonly state: Pick<StateStore, 'nextSessionId' | 'session'>;
  readonly services: readonly Service[];
  readonly types: HandlerTypeRegistry;
  readonly clock: Clock;
}

export class SessionService {
  readonly #options: SessionServiceOptions;

  constructor(options: SessionServiceOptions) {
    this.#options = options;
  }

  /** Throws what completeRequest throws, and SESSION_EXISTS, VARIANT_NOT_FOUND, SESSION_REFUSED. */
  async create(request: SessionRequest): Promise<SessionCreated> {
    const { table, events, reconciler, clock } = this.#options;
    const complete = completeRequest(request, this.#options);
    return table.planning(async () => {
      await this.#checkId(request.session_id);
      const plan = await this.#plan(complete.plan, request.dry_run);
      if (request.dry_run) return { session_id: null, plan };
      const stored: StoredSession = {
        session_id: request.session_id ?? (await this.#options.state.nextSessionId()),
        request: complete.request,
        desired: request.start ? 'running' : 'ready',
        generation: 1,
        plan,
        created_at: clock.now(),
        ended: null,
      };
      await table.add(stored, complete.plan.service);
      const { session_id } = stored;
      const places = plan.handlers.map((one) => `${one.handler_name} @${one.node_name}`).join(', ');
      events.emit({
        kind: 'session.admitted',
        session_id,
        message: `session ${session_id}: ${plan.service_name} ${plan.variant} admitted | ${places} | predicted p95 ${plan.latency_ms.toFixed(0)} ms`,
      });
      reconciler.kick(session_id);
      return { session_id, plan };
    });
  }

  /** Beside the others as they are; without room for it, others make some. */
  async #plan(request: PlanRequest, isDry: boolean): Promise<SessionPlan> {
    const { planner, loop } = this.#options;
    const alone = planner.plan(request);
    if (alone.admitted) return alone.plan;
    if (request.service.template !== null) throw refused(alone.refusal);
    const result = await loop.makeRoom(request, !isDry);
    if (result.admitted) return result.plan;
    const { reasons } = alone.refusal;
    throw refused({ ...alone.refusal, reasons: [...reasons, ...result.refusal.reasons] });
  }

  list(): SessionView[] {
    return this.#options.table.all().map((record) => this.#view(record));
  }

  async get(sessionId: number): Promise<SessionView> {
    return this.#view(await this.#options.table.find(sessionId));
  }

  /** Throws SESSION_NOT_FOUND, SESSION_RUNNING, SESSION_STOPPED. */
  async start(sessionId: number): Promise<SessionView> {
    const record = await this.#options.table.find(sessionId);
    await this.#change(record, (stored) => {
      if (stored.ended !== null || stored.desired === 'stopped') {
        throw new OrchestratorError('SESSION_STOPPED', `session ${sessionId} is ${stored.ended?.state ?? 'stopping'}`, {
          session_id: sessionId,
        });
      }
      if (stored.desired === 'running') throw running(sessionId, 'is running already');
      return { ...stored, desired: 'running' };
    });
    return this.#view(record);
  }

  /** Makes the handler on another node, and lets frames go there once it is ready. Throws what `Mover.move` throws. */
  async move(sessionId: number, { handler, node }: MoveRequest): Promise<SessionView> {
    const record = await this.#options.mover.move(sessionId, handler, node);
    this.#options.reconciler.kick(sessionId);
    return this.#view(record);
  }

  /** Stopping what has ended changes nothing. Throws SESSION_NOT_FOUND. */
  async stop(sessionId: number): Promise<SessionView> {
    const record = await this.#options.table.find(sessionId);
    await this.#change(record, (stored) =>
      stored.ended !== null || stored.desired === 'stopped' ? null : { ...stored, desired: 'stopped' },
    );
    return this.#view(record);
  }

  /** Forgets a session that does not run; what nodes still have of it is removed there. Throws SESSION_RUNNING. */
  async delete(sessionId: number): Promise<void> {
    const { table, events, reconciler } = this.#options;
    const { stored } = await table.find(sessionId);
    if (stored.ended === null && stored.desired === 'running') throw running(sessionId, 'is running: stop it first');
    await table.remove(sessionId);
    events.emit({ kind: 'session.deleted', session_id: sessionId, message: `session ${sessionId} deleted` });
    reconciler.kick(sessionId);
  }

  #view(record: SessionRecord): SessionView {
    return sessionView(record, this.#options.registry);
  }

  async #change(record: SessionRecord, change: (stored: StoredSession) => StoredSession | null): Promise<void> {
    // An ended session that is in the store only is never changed; `change` says why.
    if (this.#options.table.get(record.stored.session_id) !== record) change(record.stored);
    else if (await this.#options.table.update(record, change)) this.#options.reconciler.kick(record.stored.session_id);
  }

  async #checkId(sessionId: number | undefined): Promise<void> {
    const { table, state } = this.#options;
    const active = table.active().length;
    if (active >= SESSIONS_MAX) {
      throw new OrchestratorError(
        'SESSION_REFUSED',
        `${active} sessions are not ended, the most that one coordinator holds`,
      );
    }
    if (sessionId === undefined) return;
    if (table.get(sessionId) === undefined && (await state.session(sessionId)) === null) return;
    throw new OrchestratorError('SESSION_EXISTS', `session id ${sessionId} is in use`, { session_id: sessionId });
  }
}

function running(sessionId: number, what: string): OrchestratorError {
  return new OrchestratorError('SESSION_RUNNING', `session ${sessionId} ${what}`, { session_id: sessionId });
}

function refused(refusal: Refusal): OrchestratorError {
  const nearest =
    refusal.nearest === undefined ? '' : ` (nearest objective that fits: ${JSON.stringify(refusal.nearest)})`;
  return new OrchestratorError(
    'SESSION_REFUSED',
    `${refusal.service_name} is refused: ${refusal.reasons.join('; ')}${nearest}`,
    { refusal },
  );
}
