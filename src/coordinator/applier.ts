/**
 * Rolls a changed definition of a service through its running sessions, one after the other: what a session runs of it is
 * made anew beside the old, and replaces it while frames flow, as in a live move. New sessions follow the new definition
 * at once.
 *
 *     looked at --every session could take it, or says why not--> rolling --session by session--> applied
 *                                                                    \--a session cannot be made so--> given up there
 *
 * A running session takes other parameters, models, costs and accuracies. It does not take other handlers or links: what
 * is between two handlers belongs to their link, and would be lost with it. Invariant: a session and the definition that
 * it runs by are stored together, so that a coordinator that starts later plans by the same one.
 */
import type { ApplyRequest, ApplyResult } from '../contracts/apply.js';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import type { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { PlannedHandler, SessionPlan } from '../contracts/plan.js';
import { normalizeService, type Service, type Variant } from '../contracts/service.js';
import { deferred } from '../std/deferred.js';
import type { EventLog } from './event-log.js';
import type { Mover } from './mover.js';
import type { NodeRegistry } from './node-registry.js';
import { variantOf } from './plan-variant.js';
import type { Planner } from './planner.js';
import type { Reconciler } from './reconciler.js';
import { observedState, type SessionRecord } from './session-record.js';
import { sessionService } from './session-request.js';
import type { SessionTable } from './session-table.js';

export interface ApplierOptions {
  /** The loaded ones; everybody who plans reads this list, and apply puts the new definition into it. */
  readonly services: Service[];
  readonly types: HandlerTypeRegistry;
  readonly table: SessionTable;
  readonly planner: Pick<Planner, 'placed'>;
  readonly registry: NodeRegistry;
  readonly mover: Mover;
  readonly reconciler: Pick<Reconciler, 'kick'>;
  readonly events: EventLog;
}

/** What becomes of one session. */
type Change =
  | { readonly outcome: 'refused'; readonly words: string }
  | { readonly outcome: 'unchanged'; readonly words: string; readonly service: Service }
  | { readonly outcome: 'changes'; readonly words: string; readonly service: Service; readonly plan: SessionPlan };

export class Applier {
  readonly #options: ApplierOptions;
  #rolling: Promise<void> | null = null;
  readonly #closing = deferred<string>();
  #closed = false;

  constructor(options: ApplierOptions) {
    this.#options = options;
  }

  /** Answers what will change and begins; `service.applied` or `service.apply_failed` tells how it ends. Throws APPLY_REFUSED. */
  async apply({ definition, dry_run }: ApplyRequest): Promise<ApplyResult> {
    const { services, types, table } = this.#options;
    const next = normalizeService(definition, types, 'definition');
    const { service_name } = next;
    const index = services.findIndex((one) => one.service_name === service_name);
    const refused = this.#refusal(next, services[index]);
    if (refused !== null) throw new OrchestratorError('APPLY_REFUSED', `${service_name}: ${refused}`, { service_name });
    const records = table.active().filter(({ stored }) => stored.plan.service_name === service_name);
    const changes = records.map((record) => ({ record, change: this.#look(record, next) }));
    if (!dry_run) {
      services[index] = next;
      const rolling = this.#roll(
        next,
        definition,
        changes.filter(({ change }) => change.outcome !== 'refused'),
      );
      this.#rolling = rolling.finally(() => {
        this.#rolling = null;
      });
    }
    const sessions = changes.map(({ record, change: { outcome, words } }) => ({
      ...{ session_id: record.stored.session_id, outcome, words },
    }));
    return { service_name, sessions };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#closing.resolve('the coordinator ends');
    await this.#rolling;
  }

  #refusal({ service_id, template }: Service, former: Service | undefined): string | null {
    if (former === undefined)
      return 'no service of that name is loaded; put its file among the service files and restart';
    if (former.service_id !== service_id) return `its service_id is ${former.service_id}, not ${service_id}`;
    if (template !== null || former.template !== null) return 'a template runs as it stands';
    return this.#rolling === null ? null : 'another definition is being applied';
  }

  #look(record: SessionRecord, next: Service): Change {
    try {
      return this.#change(record, next);
    } catch (error) {
      return { outcome: 'refused', words: toOrchestratorError(error).message };
    }
  }

  #change(record: SessionRecord, next: Service): Change {
    const { table, planner, registry, types } = this.#options;
    const { stored, service: former } = record;
    const refuse = (words: string): Change => ({ outcome: 'refused', words });
    const state = observedState(record, registry);
    if (state !== 'running') return refuse(`the session is ${state}, and only a running one can be changed`);
    const before = former === null ? undefined : variantOf(former, stored.plan);
    const service = sessionService(next, stored.request, types);
    const variant = service.variants.find((one) => one.variant_name === before?.variant_name);
    if (before === undefined || variant === undefined) return refuse(`it runs a variant that is not there any more`);
    const shape = shapeDifference(before, variant);
    if (shape !== null) return refuse(`${shape}; stop it and start another one`);
    const placement = stored.plan.handlers.map((planned) => ({
      ...{ handler_id: planned.handler_id, node_id: planned.node_id },
      alternative: alternativeOf(variant, planned),
    }));
    const changed = stored.plan.handlers.filter((planned) => hasChanged(variant, planned));
    if (changed.length === 0) return { outcome: 'unchanged', words: 'every handler as it is', service };
    const { session_id, plan } = stored;
    const { accuracy, latency_ms } = plan;
    const planned = { session_id, variant: variant.variant_name, accuracy, latency_ms, placement };
    const request = { ...table.planRequest(record)!, service };
    const result = planner.placed(request, planned, 'the definition of the service has changed');
    if (!result.admitted) return refuse(result.refusal.reasons.join('; '));
    const words = changed.map(({ handler_name, node_name }) => `${handler_name} on ${node_name}`).join(', ');
    return { outcome: 'changes', words, service, plan: result.plan };
  }

  async #roll(next: Service, definition: object, todo: readonly { record: SessionRecord }[]): Promise<void> {
    const { events } = this.#options;
    let changed = 0;
    for (const { record } of todo) {
      if (this.#closed) return;
      const failure = await this.#renew(record, next, definition).catch((error) => toOrchestratorError(error).message);
      if (failure === true) changed += 1;
      if (typeof failure !== 'string') continue;
      const { session_id } = record.stored;
      const message = `${next.service_name}: given up at session ${session_id}: ${failure}; ${changed} changed before it, those after it run on as they are`;
      events.emit({ kind: 'service.apply_failed', session_id, message });
      return;
    }
    const message = `${next.service_name} applied | ${changed} of ${todo.length} sessions had something to change`;
    events.emit({ kind: 'service.applied', message });
  }

  /** True: changed; false: nothing to change; text: why it could not be. What was true when it was looked at is looked at again. */
  async #renew(record: SessionRecord, next: Service, definition: object): Promise<boolean | string> {
    const { table, mover, reconciler } = this.#options;
    const ended = this.#moveOf(record.stored.session_id);
    try {
      const change = await table.planning(async (): Promise<boolean | string> => {
        const found = this.#look(record, next);
        if (found.outcome === 'refused') return found.words;
        const by = { service: found.service, definition };
        if (found.outcome === 'unchanged') return (await mover.adopt(record, by)) ? false : 'it was changed meanwhile';
        const isBegun = await mover.begin(record, found.plan, `${found.words} anew`, by);
        return isBegun || 'it was changed meanwhile';
      });
      if (change !== true) return change;
      reconciler.kick(record.stored.session_id);
      return await Promise.race([ended.promise, this.#closing.promise]);
    } finally {
      ended.stop();
    }
  }

  /** How the next move of the session ends: true, or why it was given up. */
  #moveOf(sessionId: number): { promise: Promise<true | string>; stop(): void } {
    let stop = () => {};
    const promise = new Promise<true | string>((resolve) => {
      stop = this.#options.events.follow(({ kind, session_id, message }) => {
        if (session_id !== sessionId) return;
        if (kind === 'session.moved') resolve(true);
        if (kind === 'session.move_failed') resolve(message);
      });
    });
    return { promise, stop: () => stop() };
  }
}

/** Null when both have the same handlers, of the same types, joined by the same links. */
function shapeDifference(before: Variant, after: Variant): string | null {
  const names = ({ handlers }: Variant) => new Map(handlers.map((one) => [one.handler_id, one]));
  const [old, now] = [names(before), names(after)];
  const gone = [...old.values()].filter((one) => now.get(one.handler_id)?.handler_type !== one.handler_type);
  const come = [...now.values()].filter((one) => old.get(one.handler_id)?.handler_type !== one.handler_type);
  if (gone.length + come.length > 0) {
    const words = (sign: string, some: readonly { handler_name: string }[]) =>
      some.map((one) => `${sign}${one.handler_name}`);
    return `other handlers (${[...words('-', gone), ...words('+', come)].join(' ')})`;
  }
  const links = ({ links: all }: Variant) => all.map((link) => JSON.stringify(Object.entries(link).sort())).sort();
  return JSON.stringify(links(before)) === JSON.stringify(links(after)) ? null : 'other links';
}

/** The same alternative by name, else the first one. */
function alternativeOf(variant: Variant, { handler_id, alternative }: PlannedHandler): string {
  const { alternatives } = variant.handlers.find((one) => one.handler_id === handler_id)!;
  return (alternatives.find(({ name }) => name === alternative) ?? alternatives[0]!).name;
}

function hasChanged(variant: Variant, planned: PlannedHandler): boolean {
  const handler = variant.handlers.find((one) => one.handler_id === planned.handler_id)!;
  const name = alternativeOf(variant, planned);
  const { params } = handler.alternatives.find((one) => one.name === name)!;
  const text = (value: Record<string, unknown>) => JSON.stringify(Object.entries(value).sort());
  return (
    name !== planned.alternative ||
    text(params) !== text(planned.params) ||
    handler.handler_name !== planned.handler_name
  );
}
