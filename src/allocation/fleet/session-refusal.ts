/** Why one session has no place beside the others: which promise binds and by how much, and what would be admitted. */
import type { PlanRequest, Refusal } from '../../contracts/plan.js';
import { ACCURACY_EPSILON, NAMED_NODES_MAX } from '../bounds.js';
import { accuracyText, listed, ms } from '../words.js';
import { labelOf } from './described.js';
import { roomFault } from './faults.js';
import type { Graph } from './graphs.js';
import type { OneSession } from './one-session.js';
import { proposalsFor } from './refusal.js';
import { alone, candidateOf } from './rivals.js';

/** `one` has no place. */
export function sessionRefusal(one: OneSession, request: PlanRequest): Refusal {
  const parts = one.task.graphs.map((graph): Part => ({ graph, options: alone(one, graph) }));
  const proposals = proposalsFor(one.index, one.search);
  const dead = parts.flatMap((part) => deadEnds(one, part, parts.length > 1));
  const reasons = dead.length > 0 ? dead : promiseReasons(one, request, parts);
  return {
    service_name: request.service.service_name,
    reasons: [
      ...(reasons.length > 0 ? reasons : ['no placement keeps all promises']),
      ...proposals.map(({ words }) => `would be admitted with ${words}`),
    ],
    candidates: candidatesOf(one, parts),
    ...(proposals[0] === undefined ? {} : { nearest: proposals[0].objective }),
  };
}

interface Part {
  readonly graph: Graph;
  /** Every alternative of every handler on every node that is told of, by itself. */
  readonly options: ReturnType<typeof alone>;
}

/** Handlers that no node can run in any alternative: then nothing else matters for this variant. */
function deadEnds({ fleet }: OneSession, { graph, options }: Part, isNamed: boolean): string[] {
  return graph.handlers.flatMap(({ handler_name }, at) => {
    const own = options.filter((each) => each.at === at);
    if (own.some(({ fault }) => fault === null)) return [];
    const nodes = [...new Set(own.map(({ node }) => node))];
    const why = nodes.map((node) => {
      const words = new Set(own.filter((each) => each.node === node).map(({ fault }) => fault));
      return `${fleet.nodes[node]!.node_name}: ${[...words].join(' or ')}`;
    });
    const prefix = isNamed ? `variant ${graph.variant.variant_name}: ` : '';
    const told = why.length === 0 ? 'there are no nodes' : listed(why, NAMED_NODES_MAX);
    return [`${prefix}${handler_name}: no node can run it: ${told}`];
  });
}

function promiseReasons(one: OneSession, request: PlanRequest, parts: readonly Part[]): string[] {
  const { search, task } = one;
  const asked = one.fleet.tasks[one.index]!;
  const { latency_ms_max: latency, accuracy_min: accuracy } = request.objective;
  const most = Math.max(...parts.map(mostAccurate));
  if (accuracy !== undefined && most < accuracy - ACCURACY_EPSILON)
    return [
      `accuracy ${accuracyText(most)} at most with any variant that can run here < ${accuracyText(accuracy)} wanted`,
    ];
  const unbound = { ...asked, latencyMsMax: Number.MAX_VALUE };
  const fastest = search.find(unbound, { quickest: true });
  if (fastest === null) {
    const wish = search.find(unbound, { ignoreCapacity: true });
    if (wish === null) return [`no way through the network joins nodes that can run all handlers at ${task.fps} fps`];
    const fault = roomFault(one.state, wish);
    return [`each handler fits somewhere, but not all together${fault === null ? '' : `: ${fault}`}`];
  }
  if (latency === undefined) return [];
  const floor = accuracy === undefined ? '' : ` with accuracy ${accuracyText(accuracy)} or more`;
  const least = `latency ${ms(fastest.latencyMs)} at least${floor} (variant ${labelOf(request, fastest)}) > ${ms(latency)} allowed`;
  const accurate = accuracy === undefined ? null : search.find({ ...asked, lnAccuracyMin: Number.NEGATIVE_INFINITY });
  if (accurate === null) return [least];
  const reached = `accuracy ${accuracyText(accurate.accuracy)} at most within ${ms(latency)}`;
  return [least, `${reached} < ${accuracyText(accuracy!)} wanted`];
}

/** With the best alternative of each handler that some node can run. */
function mostAccurate({ graph, options }: Part): number {
  return graph.handlers.reduce((product, { alternatives }, at) => {
    const open = options.filter((each) => each.at === at && each.fault === null);
    return product * Math.max(0, ...open.map(({ option }) => alternatives[option - graph.firstOption[at]!]!.accuracy));
  }, graph.variant.accuracy);
}

/** By handler_name over all variants; the same alternative on the same node is told once. */
function candidatesOf(one: OneSession, parts: readonly Part[]): Refusal['candidates'] {
  const byName = new Map<string, Map<string, Refusal['candidates'][number]['candidates'][number]>>();
  for (const { graph, options } of parts) {
    for (const each of options) {
      const { handler_name } = graph.handlers[each.at]!;
      const known = byName.get(handler_name) ?? new Map();
      const candidate = candidateOf(one, graph, each);
      known.set(`${candidate.node_id}:${candidate.alternative}`, candidate);
      byName.set(handler_name, known);
    }
  }
  return [...byName].map(([handler_name, known]) => ({ handler_name, candidates: [...known.values()] }));
}
