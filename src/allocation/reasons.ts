/** Why a plan is as it is, in sentences a user reads: variant, latency, each handler's node, warnings. */
import type { PlanRequest } from '../contracts/plan.js';
import { ACCURACY_EPSILON, LABELS_MAX, MOVE_MS } from './bounds.js';
import type { Cluster } from './cluster.js';
import type { DescribeOptions } from './describe.js';
import { bandwidthWords, evaluate, faultAt, linkMs, mbitBetween, optionAt, type Placed } from './evaluate.js';
import { capacityRejection } from './rejection.js';
import type { Solution } from './solve.js';
import { combinationCount, combinationLabel } from './variants.js';
import { accuracyText, ms, plural } from './words.js';

/** Differences below this are not worth a sentence, ms. */
const SAME_MS = 0.05;

export function planReasons(options: DescribeOptions, placed: Placed): string[] {
  const isStatic = !placed.graph.enforced;
  return [
    isStatic ? 'static template: every handler on the node that the service names' : variantReason(options),
    latencyReason(options, placed),
    ...(isStatic ? overcommitted(placed) : []),
    ...(isStatic || !options.explain ? [] : handlerReasons(options, placed)),
    ...(options.solved.exact ? [] : [`search stopped at ${LABELS_MAX} labels: a better plan may exist`]),
  ];
}

function variantReason({ request, wanted, solved, best, explain }: DescribeOptions): string {
  const name = `variant ${combinationLabel(request.service, best)}`;
  const total = combinationCount(wanted);
  if (total === 1) return request.variant === undefined ? `${name}: the only one` : `${name}: asked for`;
  const { latency_ms_max, accuracy_min } = request.objective;
  const met = [
    ...(latency_ms_max === undefined ? [] : [`latency ${Number(latency_ms_max.toFixed(1))} ms`]),
    ...(accuracy_min === undefined ? [] : [`accuracy ${accuracyText(accuracy_min)}`]),
  ];
  const which = met.length === 0 ? 'can be placed' : `meet ${met.join(' and ')}`;
  const accuracy = accuracyText(best.accuracy);
  if (!explain) return `${name}: highest accuracy ${accuracy}`;
  if (solved.possible === 1)
    return `${name}: the only one of ${total} variants that ${which.replace(/^meet/, 'meets')}, accuracy ${accuracy}`;
  return `${name}: highest accuracy ${accuracy} among ${solved.possible} of ${total} variants that ${which}`;
}

function latencyReason({ request }: DescribeOptions, placed: Placed): string {
  const { finishMs, latencyMs } = evaluate(placed);
  const { feeds } = placed.graph;
  const parts = { compute: 0, queueing: 0, links: 0 };
  const arrival = (source: number, target: number) => finishMs[source]! + linkMs(placed, source, target);
  let at: number | undefined = finishMs.indexOf(latencyMs);
  while (at !== undefined) {
    const here: number = at;
    parts.compute += optionAt(placed, here).computeMs[placed.nodes[here]!]!;
    parts.queueing += optionAt(placed, here).queueMs[placed.nodes[here]!]!;
    at = feeds[here]!.reduce<number | undefined>(
      (latest, one) => (latest === undefined || arrival(one, here) > arrival(latest, here) ? one : latest),
      undefined,
    );
    if (at !== undefined) parts.links += linkMs(placed, at, here);
  }
  const bound = request.objective.latency_ms_max;
  const held = bound === undefined ? '' : ` of ${ms(bound)} allowed`;
  return `predicted p95 ${ms(latencyMs)}${held}: compute ${ms(parts.compute)}, queueing ${ms(parts.queueing)}, links ${ms(parts.links)}`;
}

function handlerReasons(options: DescribeOptions, placed: Placed): string[] {
  return placed.graph.variant.handlers.map((handler) => {
    const at = placed.graph.handlers.indexOf(handler);
    const node = placed.cluster.nodes[placed.nodes[at]!]!;
    return `${handler.handler_name} @${node.node_name}: ${handlerReason(options, placed, at)}`;
  });
}

function handlerReason({ request }: DescribeOptions, placed: Placed, at: number): string {
  const handler = placed.graph.handlers[at]!;
  const { possible } = optionAt(placed, at);
  if (possible.length === 1) return handler.at === null ? 'the only node that can run it' : 'pinned';
  const here = evaluate(placed);
  let best: { node: number; costMs: number; latencyMs: number } | null = null;
  for (const node of possible) {
    if (node === placed.nodes[at]) continue;
    const moved = { ...placed, nodes: placed.nodes.with(at, node) };
    if (faultAt(moved, at, request.objective) !== null) continue;
    const { costMs, latencyMs } = evaluate(moved);
    if (best === null || costMs < best.costMs) best = { node, costMs, latencyMs };
  }
  if (best === null) return 'no other node fits with the rest as planned';
  const other = placed.cluster.nodes[best.node]!.node_name;
  const savedMs = best.latencyMs - here.latencyMs;
  const stays = keeps(placed, at, request);
  if (savedMs >= SAME_MS) return `${stays ? 'stays, ' : ''}saves ${ms(savedMs)} against ${other}`;
  if (!stays)
    return savedMs <= -SAME_MS ? `moves less or loads less than ${other}` : `as fast as ${other}, not more loaded`;
  return savedMs <= -SAME_MS
    ? `stays, ${other} would save ${ms(-savedMs)}, less than the ${ms(MOVE_MS)} that a move is charged`
    : `stays, ${other} would not be faster`;
}

function keeps({ graph, choice, nodes, cluster }: Placed, at: number, request: PlanRequest): boolean {
  const handler = graph.handlers[at]!;
  const before = request.previous?.find((one) => one.handler_id === handler.handler_id);
  return (
    before?.node_id === cluster.nodes[nodes[at]!]!.node_id &&
    before.alternative === handler.alternatives[choice[at]!]!.name
  );
}

/** Where a static template asks for more than there is: said, not refused. */
function overcommitted(placed: Placed): string[] {
  const { graph, cluster, nodes } = placed;
  const used = [...new Set(nodes)].sort((a, b) => a - b);
  const warnings = used.flatMap((index) => {
    const node = cluster.nodes[index]!;
    const need = { computeMs: 0, cpu: 0, gpu: 0, memMb: 0 };
    nodes.forEach((one, at) => {
      if (one !== index) return;
      const option = optionAt(placed, at);
      need.computeMs = Math.max(need.computeMs, option.computeMs[index]!);
      need.cpu += option.cpu[index]!;
      need.gpu += option.gpu[index]!;
      need.memMb += option.memMb[index]!;
    });
    const words = capacityRejection(node, need, graph.fps);
    return words === null ? [] : [`warning: ${node.node_name}: ${words}`];
  });
  return [...warnings, ...overcommittedLinks(placed, cluster)];
}

function overcommittedLinks(placed: Placed, cluster: Cluster): string[] {
  const warnings = new Set<string>();
  placed.graph.feeds.forEach((feeds, target) => {
    for (const source of feeds) {
      const from = placed.nodes[source]!;
      const to = placed.nodes[target]!;
      const need = mbitBetween(placed, from, to);
      const free = cluster.mbitFree[from * cluster.nodes.length + to]!;
      const names = `from ${cluster.nodes[from]!.node_name} to ${cluster.nodes[to]!.node_name}`;
      if (need > free) warnings.add(`warning: ${bandwidthWords(need, free, names)}`);
    }
  });
  return [...warnings];
}

/** Why the runner-up lost. */
export function whyNot(second: Solution, { best, cluster, request }: DescribeOptions): string {
  if (second.accuracy < best.accuracy - ACCURACY_EPSILON) {
    return `accuracy ${accuracyText(second.accuracy)} < ${accuracyText(best.accuracy)}`;
  }
  const [ours, theirs] = [best, second].map((one) => {
    const placed = { graph: one.graph, cluster, choice: one.choice, nodes: one.nodes };
    return { ...evaluate(placed), moves: one.nodes.filter((_, at) => !keeps(placed, at, request)).length };
  });
  const slowerMs = theirs!.latencyMs - ours!.latencyMs;
  const moves = request.previous === undefined ? 0 : theirs!.moves - ours!.moves;
  const parts = [
    ...(slowerMs >= SAME_MS ? [`${ms(slowerMs)} slower`] : []),
    ...(slowerMs <= -SAME_MS ? [`${ms(-slowerMs)} faster`] : []),
    ...(moves > 0 ? [`moves ${plural(moves, 'handler')} more (${ms(MOVE_MS)} charged for each)`] : []),
  ];
  if (slowerMs >= SAME_MS || moves > 0) return parts.join(', but ');
  const load = theirs!.costMs - ours!.costMs > 1e-3 ? 'its nodes are more loaded' : 'equal in all, lower node ids win';
  return [...parts, load].join(', but ');
}
