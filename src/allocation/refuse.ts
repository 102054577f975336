/** A refusal: which promise cannot be kept and by how much, what rejected every candidate, and what would be admitted. */
import type { PlanRequest, Refusal } from '../contracts/plan.js';
import { ACCURACY_EPSILON, NAMED_NODES_MAX } from './bounds.js';
import { type Cluster, fits, mbitOf } from './cluster.js';
import { candidatesOf } from './describe.js';
import { bandwidthWords, faultAt } from './evaluate.js';
import type { Graph } from './graph.js';
import { nearestOf, Planner } from './nearest.js';
import { type SolveOptions, solve } from './solve.js';
import { combinationLabel, mergedCombinations, type Wanted } from './variants.js';
import { accuracyText, listed, ms } from './words.js';

export interface RefuseOptions {
  readonly request: PlanRequest;
  readonly cluster: Cluster;
  readonly wanted: readonly Wanted[];
  readonly parts: SolveOptions['parts'];
  readonly exact: boolean;
  readonly labelsMax?: number;
  readonly explain: boolean;
}

export function refuse(options: RefuseOptions): Refusal {
  const { request, parts, exact } = options;
  const planner = new Planner(options);
  const nearest = options.explain ? nearestOf(planner) : { objective: undefined, singles: [] };
  const reasons = [
    ...parts.flatMap((part) => deadEnds(part, options)),
    ...(options.explain ? promiseReasons(options, planner) : []),
  ];
  return {
    service_name: request.service.service_name,
    reasons: [
      ...(reasons.length > 0 ? reasons : ['no placement keeps all promises']),
      ...(exact ? [] : ['the search stopped at its bound: a placement may exist']),
      ...nearest.singles.map((one) => `would be admitted with ${one.words}`),
    ],
    candidates: refusedCandidates(options),
    ...(nearest.objective === undefined ? {} : { nearest: nearest.objective }),
  };
}

/** Handlers that no node can run in any alternative: then nothing else matters for this variant. */
function deadEnds({ graph, only }: SolveOptions['parts'][number], { cluster, parts }: RefuseOptions): string[] {
  return graph.handlers.flatMap((handler, at) => {
    const forced = only?.get(handler.handler_id);
    const open = graph.options[at]!.filter((one) => forced === undefined || one.alternative.name === forced);
    if (open.some((one) => one.possible.length > 0)) return [];
    const why = cluster.nodes.map((node, index) => {
      const words = [...new Set(open.map((one) => one.rejected[index]))];
      return `${node.node_name}: ${words.join(' or ')}`;
    });
    const prefix = parts.length > 1 ? `variant ${graph.variant.variant_name}: ` : '';
    const nodes = why.length === 0 ? 'there are no nodes' : listed(why, NAMED_NODES_MAX);
    return [`${prefix}${handler.handler_name}: no node can run it: ${nodes}`];
  });
}

function promiseReasons(options: RefuseOptions, planner: Planner): string[] {
  const { latency_ms_max, accuracy_min, fps } = planner.asked;
  const top = mergedCombinations(options.parts).next();
  if (top.done === true) return [];
  if (accuracy_min !== undefined && top.value.accuracy < accuracy_min - ACCURACY_EPSILON) {
    return [
      `accuracy ${accuracyText(top.value.accuracy)} at most with any variant that can run here < ${accuracyText(accuracy_min)} wanted`,
    ];
  }
  const floor = { fps, ...(accuracy_min === undefined ? {} : { accuracy_min }) };
  const fastest = planner.best(floor, 'latency');
  if (fastest === null) return [togetherReason(options)];
  if (latency_ms_max === undefined) return [];
  const label = combinationLabel(options.request.service, fastest);
  const wanted = accuracy_min === undefined ? '' : ` with accuracy ${accuracyText(accuracy_min)} or more`;
  const reasons = [
    `latency ${ms(planner.latencyMs(fastest))} at least${wanted} (variant ${label}) > ${ms(latency_ms_max)} allowed`,
  ];
  const accurate = accuracy_min === undefined ? null : planner.best({ fps, latency_ms_max });
  if (accurate !== null) {
    const reached = `accuracy ${accuracyText(accurate.accuracy)} at most within ${ms(latency_ms_max)}`;
    reasons.push(`${reached} < ${accuracyText(accuracy_min!)} wanted`);
  }
  return reasons;
}

/** Every handler fits somewhere, but not all at once: says what a placement without shared bounds would overload. */
function togetherReason(options: RefuseOptions): string {
  const { cluster, request } = options;
  const free = new Map(options.parts.map(({ graph }) => [{ ...graph, enforced: false }, graph]));
  const parts = [...free.keys()].map((graph, index) => ({ graph, only: options.parts[index]!.only }));
  const { fps, accuracy_min } = request.objective;
  const { best } = solve({
    parts,
    cluster,
    objective: { fps, ...(accuracy_min === undefined ? {} : { accuracy_min }) },
  });
  if (best === null) return pathReason(options);
  const placed = { graph: free.get(best.graph)!, cluster, choice: best.choice, nodes: best.nodes };
  for (const at of best.nodes.keys()) {
    const fault = faultAt(placed, at, { fps });
    if (fault === null) continue;
    const name = placed.graph.handlers[at]!.handler_name;
    return `each handler fits somewhere, but not all together: ${name} @${cluster.nodes[best.nodes[at]!]!.node_name}: ${fault}`;
  }
  return 'each handler fits somewhere, but not all together';
}

/** The first link that no pair of possible nodes can carry. */
function pathReason({ parts, cluster }: RefuseOptions): string {
  for (const { graph } of parts) {
    for (const [target, feeds] of graph.feeds.entries()) {
      for (const source of feeds) {
        const words = linkReason(graph, source, target, cluster);
        if (words !== null) return words;
      }
    }
  }
  return 'no way through the network joins nodes that can run all handlers';
}

function linkReason(graph: Graph, source: number, target: number, cluster: Cluster): string | null {
  const from = nodesOf(graph, source);
  const to = nodesOf(graph, target);
  const pairs = from.flatMap((one) => to.map((other) => one * cluster.nodes.length + other));
  const joined = pairs.filter((pair) => cluster.hopMs[pair] !== Number.POSITIVE_INFINITY);
  const name = (index: number) => cluster.nodes[index]!.node_name;
  const link = `${graph.handlers[source]!.handler_name} -> ${graph.handlers[target]!.handler_name}`;
  const names = `from ${listed(from.map(name), NAMED_NODES_MAX)} to ${listed(to.map(name), NAMED_NODES_MAX)}`;
  if (joined.length === 0) return `${link}: no path ${names}`;
  const need = Math.min(
    ...graph.options[source]!.flatMap((option) =>
      [...option.possible].map((one) => mbitOf(graph.fps, option.bytes[one]!)),
    ),
  );
  const free = Math.max(...joined.map((pair) => cluster.mbitFree[pair]!));
  return fits(need, free) ? null : `${link}: ${bandwidthWords(need, free, names)}`;
}

function nodesOf(graph: Graph, at: number): number[] {
  return [...new Set(graph.options[at]!.flatMap((option) => [...option.possible]))].sort((a, b) => a - b);
}

/** By handler_name over all variants; the same alternative on the same node is told once. */
function refusedCandidates({ parts, cluster }: RefuseOptions): Refusal['candidates'] {
  const byName = new Map<string, Map<string, Refusal['candidates'][number]['candidates'][number]>>();
  for (const { graph } of parts) {
    graph.handlers.forEach((handler, at) => {
      const known = byName.get(handler.handler_name) ?? new Map();
      const alone = candidatesOf(
        graph,
        at,
        cluster,
        (alternative, node) => graph.options[at]![alternative]!.rejected[node] ?? null,
      );
      for (const one of alone) known.set(`${one.node_id}:${one.alternative}`, one);
      byName.set(handler.handler_name, known);
    });
  }
  return [...byName].map(([handler_name, known]) => ({ handler_name, candidates: [...known.values()] }));
}
