/**
 * One interface for every way to plan many sessions, ours and the baselines that it is compared with. A planner is
 * pure: the same fleet, seed and iterations give the same plan.
 *
 * `orchestrator` is a ladder; it stops on the first step that has nothing left to do:
 *   kept      sessions whose place still holds stay there: no event, no move
 *   repaired  victims (a node gone, drained, too full) and new sessions, heaviest first, one by one; nobody else moves
 *   finished  where so few sessions and nodes are left open that all can be tried: the best plan there is
 *   ejected   for those without room, at most EJECTED_MAX others are placed anew
 *   improved  large neighbourhood search, in which leaving one's place costs, and which moves no more handlers than a share of
 *             those that had to be placed
 */
import type { FleetPlan, FleetPlanned, FleetSnapshot } from '../../contracts/fleet.js';
import { seededRandom } from '../../std/prng.js';
import { FIT_EPSILON } from '../bounds.js';
import type { Graph } from './graphs.js';
import { Fleet, isPossible, type Task } from './model.js';
import { refusedOf } from './refusal.js';
import type { Before } from './routing.js';
import { FleetSearch } from './search.js';
import { Appraiser, type Placed, type State } from './state.js';

/** Utility of a handler that stays: three times fewer moves at the same admissions than 0; more begins to cost some. */
export const STICKINESS = 0.05;

/**
 * Handlers that may move in all for each handler of the sessions that had to be placed, those of the sessions themselves
 * included: a loss is no reason to improve what it has not touched.
 */
const MOVES_SHARE = 0.6;

/** Attempts to admit one refused session by ejection. */
const EJECTIONS_PER_SESSION = 4;

/** Refused sessions for which every node is looked at to say why; for the others the candidates of a decision. */
export const REFUSED_THOROUGH_MAX = 200;

export interface AllocateFleetOptions {
  readonly seed: number;
  /** Steps of the search; 0 = stop after the repair. */
  readonly iterations: number;
  /** Also improve when nothing has happened: a background re-plan. */
  readonly replan?: boolean;
  readonly stickiness?: number;
  /** session_ids that stay exactly where they are, even on what is too full: it is not for this plan to judge them. */
  readonly held?: ReadonlySet<number>;
  /** session_ids that, once placed, may be moved but not left without a place for others. */
  readonly lasting?: ReadonlySet<number>;
}

export interface Allocator {
  readonly name: string;
  plan(fleet: Fleet, options: AllocateFleetOptions): FleetPlan;
}

export const ORCHESTRATOR: Allocator = {
  name: 'orchestrator',
  plan(fleet, options) {
    const search = searchOf(fleet, options);
    const arrived = keepPlaced(fleet, search, options.held);
    if (arrived > 0 || options.replan === true) placeRest(search, fleet, options);
    return planOf('orchestrator', search);
  },
};

export function searchOf(fleet: Fleet, options: AllocateFleetOptions): FleetSearch {
  const { seed, stickiness = STICKINESS, held, lasting } = options;
  const before = fleet.tasks.map((task) => beforeOf(fleet, task));
  const marks = (ids: ReadonlySet<number> | undefined) =>
    Uint8Array.from(fleet.tasks, ({ session }) => (ids?.has(session.session_id) === true ? 1 : 0));
  const random = seededRandom(seed);
  return new FleetSearch({ fleet, random, before, stickiness, fixed: marks(held), lasting: marks(lasting) });
}

/** Puts back every session that is held or whose place still holds; returns how many are left without one. */
export function keepPlaced(fleet: Fleet, search: FleetSearch, held: ReadonlySet<number> = new Set()): number {
  const appraiser = new Appraiser(fleet);
  let left = 0;
  const isHeld = fleet.tasks.map(({ session }) => held.has(session.session_id));
  fleet.tasks.forEach((task, index) => {
    const placed = isHeld[index] === true ? placedAsIs(fleet, task, appraiser) : null;
    if (placed !== null) search.keep(index, placed);
    else isHeld[index] = false;
  });
  fleet.tasks.forEach((task, index) => {
    if (isHeld[index] === true) return;
    const placed = stillHolds(fleet, task, appraiser);
    if (placed !== null && search.state.overloads(placed) < 0) search.keep(index, placed);
    else left += 1;
  });
  return left;
}

/** The rungs after the first. */
export function placeRest(search: FleetSearch, fleet: Fleet, { iterations, replan }: AllocateFleetOptions): void {
  if (replan !== true) search.limitMoves(MOVES_SHARE * handlersOf(search.refused, fleet));
  repair(search, fleet);
  if (iterations === 0 || search.finish()) return;
  for (const task of heaviestFirst(search, fleet)) {
    for (let tries = 0; tries < EJECTIONS_PER_SESSION && search.state.placed[task] === null; tries++)
      search.eject(task);
  }
  search.improve(iterations);
}

function handlersOf(tasks: readonly number[], fleet: Fleet): number {
  return tasks.reduce((sum, task) => {
    const { session, graphs } = fleet.tasks[task]!;
    return sum + (session.previous?.length ?? graphs[0]?.handlers.length ?? 0);
  }, 0);
}

export function repair(search: FleetSearch, fleet: Fleet): void {
  for (const task of heaviestFirst(search, fleet)) search.insert(task);
}

/** Weight, then those that ran before, then the order of the snapshot. */
function heaviestFirst(search: FleetSearch, { tasks }: Fleet): number[] {
  const ran = (task: number) => (tasks[task]!.session.previous === undefined ? 1 : 0);
  return [...search.refused].sort((a, b) => tasks[b]!.weight - tasks[a]!.weight || ran(a) - ran(b) || a - b);
}

/** Where the session ran, in the terms of each graph that it may run. */
export function beforeOf(fleet: Fleet, task: Task): Before | null {
  const { previous } = task.session;
  if (previous === undefined) return null;
  return new Map(task.graphs.map((graph) => [graph, placesIn(fleet, graph, previous)]));
}

/** By handler of the graph; -1 = it ran nowhere, or in an alternative that is not there. */
function placesIn(fleet: Fleet, { handlers, firstOption }: Graph, previous: FleetPlanned['placement']) {
  const options = new Int32Array(handlers.length).fill(-1);
  const nodes = new Int32Array(handlers.length).fill(-1);
  for (let at = 0; at < handlers.length; at++) {
    const { handler_id, alternatives } = handlers[at]!;
    const isThere = previous[at]?.handler_id === handler_id;
    const place = isThere ? previous[at] : previous.find((one) => one.handler_id === handler_id);
    if (place === undefined) continue;
    const index = alternatives.findIndex(({ name }) => name === place.alternative);
    if (index >= 0) options[at] = firstOption[at]! + index;
    nodes[at] = fleet.nodeIndex.get(place.node_id) ?? -1;
  }
  return { options, nodes };
}

/** What a session takes where it runs, whatever has become of its nodes; null when that cannot be told. */
export function placedAsIs(fleet: Fleet, task: Task, appraiser: Appraiser): Placed | null {
  const { previous_variant: name, previous } = task.session;
  if (previous === undefined) return null;
  for (const graph of task.graphs) {
    if (name !== undefined && graph.variant.variant_name !== name) continue;
    if (previous.length !== graph.handlers.length) continue;
    const { options, nodes } = placesIn(fleet, graph, previous);
    if (options.every((option) => option >= 0) && nodes.every((node) => node >= 0))
      return appraiser.appraise(task, graph, options, nodes, 0);
  }
  return null;
}

/** A session of a plan as the planners hold it; null when the plan names what is not there. */
export function placedOf(fleet: Fleet, task: Task, planned: FleetPlanned, appraiser: Appraiser): Placed | null {
  const graph = task.graphs.find(({ variant }) => variant.variant_name === planned.variant);
  if (graph === undefined) return null;
  const places = new Map(planned.placement.map((one) => [one.handler_id, one]));
  const nodes = graph.handlers.map((one) => fleet.nodeIndex.get(places.get(one.handler_id)?.node_id ?? -1) ?? -1);
  const options = graph.handlers.map(({ handler_id, alternatives }, at) => {
    const index = alternatives.findIndex(({ name }) => name === places.get(handler_id)?.alternative);
    return index < 0 ? -1 : graph.firstOption[at]! + index;
  });
  if (nodes.includes(-1) || options.includes(-1)) return null;
  return appraiser.appraise(task, graph, Int32Array.from(options), Int32Array.from(nodes), 0);
}

/** Whether the nodes of a placement may run it at all, whatever their load; `despiteDrain`: but for what is to leave them. */
export function isAllowed(fleet: Fleet, task: Task, { graph, options, nodes }: Placed, despiteDrain = false): boolean {
  const { possible, atSource, nodeCount } = fleet;
  return options.every((option, at) => {
    const node = nodes[at]!;
    const isLeft = () =>
      despiteDrain &&
      isPossible(
        graph.handlers[at]!,
        { ...fleet.nodes[node]!, drained: false },
        fleet.gpuMs[option * nodeCount + node]!,
      );
    if (possible[option * nodeCount + node] === 0 && !isLeft()) return false;
    if (atSource[option] === 1 && node !== task.source) return false;
    return task.stay === null || task.stay[node] === 1;
  });
}

/** The place that a session had, if it is complete and keeps every promise by itself. */
export function stillHolds(fleet: Fleet, task: Task, appraiser: Appraiser): Placed | null {
  const placed = placedAsIs(fleet, task, appraiser);
  if (placed === null || !isAllowed(fleet, task, placed)) return null;
  const isQuick = placed.latencyMs <= task.latencyMsMax + FIT_EPSILON;
  return isQuick && Math.log(placed.accuracy) >= task.lnAccuracyMin ? placed : null;
}

const idOf = ({ state }: FleetSearch, task: number): number => state.fleet.tasks[task]!.session.session_id;

export function planOf(algorithm: string, search: FleetSearch): FleetPlan {
  const { state } = search;
  return {
    ...placementsOf(algorithm, state),
    refused: [...search.refused]
      .sort((a, b) => idOf(search, a) - idOf(search, b))
      .map((task, index) => refusedOf(task, search, index < REFUSED_THOROUGH_MAX)),
  };
}

export function placementsOf(algorithm: string, state: State): FleetPlan {
  const { fleet } = state;
  const sessions = fleet.tasks.flatMap((task, index) => {
    const placed = state.placed[index] ?? null;
    return placed === null ? [] : [plannedOf(fleet, task, placed)];
  });
  return { algorithm, sessions, refused: [], moved: state.moved, utility: state.utility };
}

/** A placement in the form of plans. */
export function plannedOf(fleet: Fleet, { session }: Task, placed: Placed): FleetPlanned {
  const { graph, nodes, options, accuracy, latencyMs: latency_ms } = placed;
  const placement = graph.handlers.map(({ handler_id, alternatives }, at) => ({
    handler_id,
    node_id: fleet.nodes[nodes[at]!]!.node_id,
    alternative: alternatives[options[at]! - graph.firstOption[at]!]!.name,
  }));
  return { session_id: session.session_id, variant: graph.variant.variant_name, accuracy, latency_ms, placement };
}

/** The one call for users: `iterations` left out means enough for a near-best plan of this size. */
export function allocateFleet(
  snapshot: FleetSnapshot,
  allocator: Allocator,
  options: Partial<AllocateFleetOptions> = {},
): FleetPlan {
  const iterations = options.iterations ?? Math.min(20_000, 500 + 15 * snapshot.sessions.length);
  return allocator.plan(new Fleet(snapshot), { seed: 1, ...options, iterations });
}
