/**
 * Asks the allocator and certifies its answer. Invariant: nothing that leaves here violates a constraint; a plan that
 * the independent verifier does not accept is a fault of ours and is never stored.
 */
import { allocate } from '../allocation/allocate.js';
import { variantLabel } from '../allocation/variants.js';
import { verifyPlan } from '../allocation/verify.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { FleetPlanned } from '../contracts/fleet.js';
import type { PlanRequest, PlanResult, SessionPlan, Snapshot } from '../contracts/plan.js';
import type { Service, Variant } from '../contracts/service.js';
import { withNamedLinks } from './named-links.js';
import { placementOf } from './session-record.js';

/**
 * The plan of a placement that was decided elsewhere, in all its figures, checked against what is free. Refused when it
 * does not fit (any more). `why` says who decided it.
 */
export function planPlaced(request: PlanRequest, planned: FleetPlanned, why: string, snapshot: Snapshot): PlanResult {
  const { service } = request;
  const variant = service.variants.find((one) => one.variant_name === planned.variant);
  if (variant === undefined) {
    const reasons = [`${service.service_name} has no variant ${planned.variant}`];
    return { admitted: false, refusal: { service_name: service.service_name, reasons, candidates: [] } };
  }
  const places = new Map(planned.placement.map((one) => [one.handler_id, one]));
  const handlers = variant.handlers.map((handler) => {
    const place = places.get(handler.handler_id);
    if (place === undefined) return handler;
    const alternatives = handler.alternatives.filter((one) => one.name === place.alternative);
    return { ...handler, at: { kind: 'node' as const, node_id: place.node_id }, alternatives };
  });
  const { variant: _, ...rest } = request;
  const result = planSession({ ...rest, service: { ...service, variants: [{ ...variant, handlers }] } }, snapshot);
  if (!result.admitted) return result;
  const reasons = [why, ...result.plan.reasons.filter((one) => !one.endsWith(': pinned'))];
  return { admitted: true, plan: { ...result.plan, variant: labelOf(service, variant, result.plan), reasons } };
}

/** Throws VARIANT_NOT_FOUND. */
export function planSession(request: PlanRequest, snapshot: Snapshot): PlanResult {
  const result = allocate(request, snapshot);
  if (!result.admitted) return result;
  certify(result.plan, request, snapshot);
  return { admitted: true, plan: withNamedLinks(result.plan, snapshot) };
}

function certify(plan: SessionPlan, request: PlanRequest, snapshot: Snapshot): void {
  const violations = verifyPlan(plan, request, snapshot);
  if (violations.length === 0) return;
  throw new OrchestratorError(
    'INTERNAL',
    `the allocator's plan for ${plan.service_name} does not hold: ${violations.slice(0, 3).join('; ')}`,
    { violations: violations.slice(0, 20) },
  );
}

/**
 * A plan without the missing nodes (lost, or drained and left already; what is pinned to such a one returns there). First with every handler that is not on one of them held where it is, in the
 * alternative that it runs, so that only the victims move; if that is not possible, freely, where staying still counts.
 */
export function replanSession(
  request: PlanRequest,
  current: SessionPlan,
  missing: ReadonlySet<number>,
  snapshot: Snapshot,
): PlanResult {
  const pinned = new Set(
    request.service.variants.flatMap(({ handlers }) =>
      handlers.filter(({ at }) => at?.kind === 'source' || at?.kind === 'node').map(({ handler_id }) => handler_id),
    ),
  );
  const previous = placementOf(current).filter((one) => !missing.has(one.node_id) || pinned.has(one.handler_id));
  const held = heldService(request, current, missing);
  if (held !== null) {
    const { variant: _, ...rest } = request;
    const result = planSession({ ...rest, service: held.service, previous }, snapshot);
    if (result.admitted) {
      return { admitted: true, plan: { ...result.plan, variant: labelOf(request.service, held.variant, result.plan) } };
    }
  }
  return planSession({ ...request, previous }, snapshot);
}

function labelOf(service: Service, variant: Variant, plan: SessionPlan): string {
  const names = new Map(plan.handlers.map((handler) => [handler.handler_id, handler.alternative]));
  return variantLabel(service, variant, (handler) => names.get(handler.handler_id)!);
}

/** The service with nothing left open but the place (and, where the session forces no variant, the alternative) of victims. */
function heldService(
  { service, variant: forced }: PlanRequest,
  current: SessionPlan,
  missing: ReadonlySet<number>,
): { service: Service; variant: Variant } | null {
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
  return { service: { ...service, variants: [{ ...variant, handlers }] }, variant };
}

/** The variant of the service that a plan runs; undefined when the service has changed meanwhile. */
export function variantOf(service: Service, plan: SessionPlan): Variant | undefined {
  return service.variants.find((one) => labelOf(service, one, plan) === plan.variant && fits(one, plan));
}

function fits(variant: Variant, plan: SessionPlan): boolean {
  return (
    variant.handlers.length === plan.handlers.length &&
    variant.handlers.every((handler) => {
      const planned = plan.handlers.find((one) => one.handler_id === handler.handler_id);
      return handler.alternatives.some((one) => one.name === planned?.alternative);
    })
  );
}
