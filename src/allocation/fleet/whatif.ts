/**
 * Questions to a fleet that change nothing: what would become of its sessions without some nodes and with more sessions,
 * and how many more of one kind it would hold. Answers are plans like any other, verified before they are told; they are
 * what the planner reaches within its steps, so a capacity is "at least".
 */
import { OrchestratorError } from '../../contracts/errors.js';
import type { FleetPlan, FleetSession, FleetSnapshot } from '../../contracts/fleet.js';
import type { Objective } from '../../contracts/plan.js';
import { allocateFleet, ORCHESTRATOR } from './allocator.js';
import { verifyFleet } from './verify-fleet.js';

/** Sessions that a capacity is looked for up to. */
export const CAPACITY_MAX = 4096;

/** Steps of the search per plan: a capacity takes some twenty plans. */
const ITERATIONS = 200;

export interface Added {
  /** service_name of the snapshot. */
  readonly service: string;
  readonly objective: Objective;
  readonly source_node: number;
}

export interface WhatIf {
  /** node_ids that are gone. */
  readonly lose: readonly number[];
  readonly add: number;
  readonly added: Added | null;
}

export interface WhatIfAnswer {
  readonly plan: FleetPlan;
  /** Of the added ones. */
  readonly added: { readonly admitted: number; readonly asked: number };
  /** Of those that run now. */
  readonly running: { readonly kept: number; readonly now: number };
  /** Sessions that run on less accurately than now. */
  readonly degraded: readonly { readonly session_id: number; readonly from: number; readonly to: number }[];
}

export function whatIf(snapshot: FleetSnapshot, { lose, add, added }: WhatIf): WhatIfAnswer {
  const gone = new Set(lose);
  const nodes = snapshot.nodes.map((one) => (gone.has(one.node_id) ? { ...one, up: false } : one));
  const more = added === null ? [] : newSessions(snapshot, added, add);
  const asked = { ...snapshot, nodes, sessions: [...snapshot.sessions, ...more] };
  const plan = certified(asked);
  const newIds = new Set(more.map((one) => one.session_id));
  const running = snapshot.sessions.filter((one) => one.previous !== undefined);
  const placed = new Map(plan.sessions.map((one) => [one.session_id, one]));
  const degraded = running.flatMap((session) => {
    const now = placed.get(session.session_id);
    const from = accuracyNow(snapshot, session);
    const isLess = now !== undefined && from !== null && now.accuracy < from - 1e-9;
    return isLess ? [{ session_id: session.session_id, from, to: now.accuracy }] : [];
  });
  return {
    plan,
    added: { admitted: plan.sessions.filter((one) => newIds.has(one.session_id)).length, asked: more.length },
    running: { kept: running.filter((one) => placed.has(one.session_id)).length, now: running.length },
    degraded,
  };
}

export interface Capacity {
  readonly service: string;
  readonly objective: Objective;
  /** Sessions of the service that run now. */
  readonly running: number;
  /** More of them that fit at the best accuracy of the first, nobody else losing a place; and with smaller variants. */
  readonly more: number;
  readonly moreSmaller: number;
  /** What refuses the next one. */
  readonly bottleneck: string | null;
}

export function capacityOf(snapshot: FleetSnapshot, added: Added): Capacity {
  const { service, objective } = added;
  // Those that would lose their place with nobody added do not count against what is added.
  const { kept } = whatIf(snapshot, { lose: [], add: 0, added: null }).running;
  const fits = (asked: Added, count: number) => {
    const answer = whatIf(snapshot, { lose: [], add: count, added: asked });
    return answer.added.admitted === count && answer.running.kept >= kept;
  };
  const smaller = most((count) => fits(added, count));
  const next = smaller >= CAPACITY_MAX ? null : whatIf(snapshot, { lose: [], add: smaller + 1, added }).plan;
  const accuracy = smaller === 0 ? null : bestAccuracy(snapshot, added);
  const exact = accuracy === null ? added : { ...added, objective: { ...objective, accuracy_min: accuracy } };
  return {
    ...{ service, objective, moreSmaller: smaller, bottleneck: next?.refused[0]?.reason ?? null },
    running: snapshot.sessions.filter((one) => one.service === service && one.previous !== undefined).length,
    more: smaller === 0 ? 0 : most((count) => count <= smaller && fits(exact, count)),
  };
}

/** Of one more session that has what is free to itself. */
function bestAccuracy(snapshot: FleetSnapshot, added: Added): number {
  const { plan } = whatIf(snapshot, { lose: [], add: 1, added });
  return Math.floor((plan.sessions.at(-1)?.accuracy ?? 0) * 1e6) / 1e6;
}

/** The greatest count that holds, when every smaller one does: doubling, then halving. */
function most(holds: (count: number) => boolean): number {
  let low = 0;
  let high = 1;
  while (high <= CAPACITY_MAX && holds(high)) {
    low = high;
    high *= 2;
  }
  high = Math.min(high, CAPACITY_MAX + 1);
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return low;
}

function newSessions({ sessions }: FleetSnapshot, { service, objective, source_node }: Added, count: number) {
  const first = 1 + sessions.reduce((most, one) => Math.max(most, one.session_id), 0);
  return Array.from(
    { length: count },
    (_, index): FleetSession => ({ ...{ session_id: first + index, service, objective, source_node }, weight: 1 }),
  );
}

function accuracyNow(
  { services }: FleetSnapshot,
  { service, previous, previous_variant }: FleetSession,
): number | null {
  const variants = services.find((one) => one.service_name === service)?.variants ?? [];
  const variant =
    variants.find((one) => one.variant_name === previous_variant) ?? (variants.length === 1 ? variants[0] : undefined);
  if (variant === undefined) return null;
  return variant.handlers.reduce((product, { handler_id, alternatives }) => {
    const name = previous?.find((one) => one.handler_id === handler_id)?.alternative;
    return product * (alternatives.find((one) => one.name === name)?.accuracy ?? 1);
  }, variant.accuracy);
}

function certified(snapshot: FleetSnapshot): FleetPlan {
  const plan = allocateFleet(snapshot, ORCHESTRATOR, { iterations: ITERATIONS });
  const violations = verifyFleet(plan, snapshot);
  if (violations.length === 0) return plan;
  throw new OrchestratorError('INTERNAL', `the plan does not hold: ${violations.slice(0, 3).join('; ')}`, {
    violations: violations.slice(0, 20),
  });
}
