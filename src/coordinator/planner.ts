/**
 * Asks the allocator that the operator has chosen about one session, and puts its answer in words. Everybody else stays as
 * they are; to move others for it is the planning loop's business. Invariant: nothing that leaves here violates a
 * constraint; a plan that the independent verifier does not accept throws ALLOCATOR_INVALID and is never stored.
 */
import { type Allocator, ORCHESTRATOR } from '../allocation/fleet/allocator.js';
import { OneSession } from '../allocation/fleet/one-session.js';
import { sessionPlan } from '../allocation/fleet/session-plan.js';
import { sessionRefusal } from '../allocation/fleet/session-refusal.js';
import { placeVictims } from '../allocation/fleet/victims.js';
import type { FleetPlanned } from '../contracts/fleet.js';
import type { PlanRequest, PlanResult, SessionPlan } from '../contracts/plan.js';
import type { Service } from '../contracts/service.js';
import { withNamedLinks } from './named-links.js';
import { variantOf } from './plan-variant.js';
import { placementOf } from './session-record.js';
import type { Pace, SessionTable } from './session-table.js';

/** Stands for a session that has no id yet: above every one that the store gives. */
export const NEW_SESSION = Number.MAX_SAFE_INTEGER;

export interface PlannerOptions {
  readonly table: Pick<SessionTable, 'fleet' | 'linkBetween'>;
  readonly allocator: Allocator;
}

export class Planner {
  readonly #options: PlannerOptions;

  constructor(options: PlannerOptions) {
    this.#options = options;
  }

  /** A place for a new session. Throws VARIANT_NOT_FOUND, ALLOCATOR_INVALID. */
  plan(request: PlanRequest): PlanResult {
    const one = this.#world(NEW_SESSION, request);
    if (request.service.template !== null) return this.#stood(one, request);
    return this.#decided(one, request);
  }

  /** The plan of a placement that was decided elsewhere; refused when it does not fit (any more). `why` says who decided it. */
  placed(request: PlanRequest, planned: FleetPlanned, why: string, pace: Pace = 'now'): PlanResult {
    return this.quickest(request, [planned], why, pace);
  }

  /** The quickest of several placements; refused with what speaks against the first when none fits. */
  quickest(request: PlanRequest, choices: readonly FleetPlanned[], why: string, pace: Pace = 'now'): PlanResult {
    const [first] = choices;
    const one = this.#world(first?.session_id ?? NEW_SESSION, request, pace);
    const faults: string[] = [];
    let best: { planned: FleetPlanned; latencyMs: number } | null = null;
    for (const planned of choices) {
      const fault = one.put(planned);
      if (fault !== null) faults.push(fault);
      else if (best === null || one.placed!.latencyMs < best.latencyMs)
        best = { planned, latencyMs: one.placed!.latencyMs };
    }
    if (best === null) return refused(request, faults.slice(0, 1));
    one.put(best.planned);
    return this.#told(one, request, [why]);
  }

  /**
   * A place for a session of which nodes are missing (lost, or drained and left already; what is pinned to such a one
   * returns there). First with every handler that is not on one of them held where it is, in the alternative that it
   * runs, so that only the victims move; if that is not possible, freely, where staying still counts.
   */
  replan(
    sessionId: number,
    request: PlanRequest,
    current: SessionPlan,
    missing: ReadonlySet<number>,
    pace: Pace = 'now',
  ): PlanResult {
    const pinned = new Set(
      request.service.variants.flatMap(({ handlers }) =>
        handlers.filter(({ at }) => at?.kind === 'source' || at?.kind === 'node').map(({ handler_id }) => handler_id),
      ),
    );
    const previous = placementOf(current).filter((one) => !missing.has(one.node_id) || pinned.has(one.handler_id));
    const free = { ...request, previous };
    const one = this.#world(sessionId, free, pace);
    if (request.service.template !== null) return this.#stood(one, free);
    const service = heldService(request, current, missing);
    if (service !== null) {
      const { variant: _, ...rest } = request;
      const held = this.#world(sessionId, { ...rest, service, previous }, pace);
      if (held.place(this.#options.allocator) && one.put(held.planned()!) === null) return this.#told(one, free);
    }
    return this.#decided(one, free);
  }

  /**
   * Sessions that have all lost nodes at once, in one decision, by session_id; those for which it finds no room are left
   * out, and so are static templates. Nothing of it is certified yet: see `placed`.
   */
  replanTogether(sessionIds: ReadonlySet<number>, missing: ReadonlySet<number>): ReadonlyMap<number, FleetPlanned> {
    const { table, allocator } = this.#options;
    if (allocator !== ORCHESTRATOR || sessionIds.size < 2) return new Map();
    const snapshot = table.fleet();
    const nodes = snapshot.nodes.map((one) => (missing.has(one.node_id) ? { ...one, up: false } : one));
    const placed = placeVictims({ ...snapshot, nodes }, sessionIds);
    return new Map(placed.map((one) => [one.session_id, one]));
  }

  #decided(one: OneSession, request: PlanRequest): PlanResult {
    const { allocator } = this.#options;
    if (!one.place(allocator)) return { admitted: false, refusal: sessionRefusal(one, request) };
    return this.#told(one, request, allocator === ORCHESTRATOR ? [] : [`placed by ${allocator.name}`]);
  }

  #world(sessionId: number, request: PlanRequest, pace: Pace = 'now'): OneSession {
    return new OneSession(this.#options.table.fleet({ session_id: sessionId, request }, pace), sessionId);
  }

  #told(one: OneSession, request: PlanRequest, why: readonly string[] = []): PlanResult {
    const { table } = this.#options;
    const plan = withNamedLinks(sessionPlan(one, request), (source, target) => table.linkBetween(source, target));
    return { admitted: true, plan: { ...plan, reasons: [...why, ...plan.reasons] } };
  }

  #stood(one: OneSession, request: PlanRequest): PlanResult {
    const faults = one.stand(standing(request, one));
    return faults.length === 0 ? this.#told(one, request) : refused(request, faults);
  }
}

const refused = ({ service }: PlanRequest, reasons: readonly string[]): PlanResult => ({
  admitted: false,
  refusal: { service_name: service.service_name, reasons: [...reasons], candidates: [] },
});

/** Where a template's file has each handler. */
function standing({ service, source_node }: PlanRequest, one: OneSession): FleetPlanned {
  const { variant_name, handlers } = service.variants[0]!;
  const placement = handlers.map(({ handler_id, at, alternatives }) => ({
    ...{ handler_id, alternative: alternatives[0]!.name },
    node_id: at?.kind === 'node' ? at.node_id : source_node,
  }));
  const { session_id } = one.task.session;
  return { session_id, variant: variant_name, accuracy: 1, latency_ms: 0, placement };
}

/** The service with nothing left open but the place (and, where the session forces no variant, the alternative) of victims. */
function heldService(
  { service, variant: forced }: PlanRequest,
  current: SessionPlan,
  missing: ReadonlySet<number>,
): Service | null {
  const variant = variantOf(service, current);
  if (variant === undefined) return null;
  const handlers = variant.handlers.map((handler) => {
    const planned = current.handlers.find((one) => one.handler_id === handler.handler_id)!;
    const stays = !missing.has(planned.node_id);
    const chosen = handler.alternatives.filter((one) => one.name === planned.alternative);
    return {
      ...handler,
      at: stays ? { kind: 'node' as const, node_id: planned.node_id } : handler.at,
      alternatives: stays || forced !== undefined ? chosen : handler.alternatives,
    };
  });
  return { ...service, variants: [{ ...variant, handlers }] };
}
