/**
 * A solution as the plan that users, the coordinator and the database see. Every candidate that was not taken says why:
 * by itself, or with the rest of the plan as it is.
 */
import type { Candidate, PlannedHandler, PlannedLink, PlanRequest, SessionPlan } from '../contracts/plan.js';
import { ACCURACY_EPSILON } from './bounds.js';
import type { Cluster } from './cluster.js';
import { mbitOf } from './cluster.js';
import { evaluate, faultAt, linkMs, optionAt, type Placed } from './evaluate.js';
import { type Graph, ownMb } from './graph.js';
import { planReasons, whyNot } from './reasons.js';
import type { Solution, Solved } from './solve.js';
import { combinationLabel, type Wanted } from './variants.js';
import { accuracyText } from './words.js';

export interface DescribeOptions {
  readonly request: PlanRequest;
  readonly cluster: Cluster;
  readonly wanted: readonly Wanted[];
  readonly solved: Solved;
  readonly best: Solution;
  /** False: no candidates and no sentence per handler. */
  readonly explain: boolean;
}

export function describePlan(options: DescribeOptions): SessionPlan {
  const { request, cluster, solved, best } = options;
  const { graph } = best;
  const placed: Placed = { graph, cluster, choice: best.choice, nodes: best.nodes };
  const runnerUp = solved.second === null ? undefined : describeRunnerUp(solved.second, options);
  return {
    service_name: request.service.service_name,
    variant: combinationLabel(request.service, best),
    accuracy: best.accuracy,
    latency_ms: evaluate(placed).latencyMs,
    fps: request.objective.fps,
    source_node: request.source_node,
    handlers: inFileOrder(graph).map((at) => describeHandler(placed, at, options)),
    links: describeLinks(placed),
    reasons: planReasons(options, placed),
    ...(runnerUp === undefined ? {} : { runner_up: runnerUp }),
    exact: solved.exact,
  };
}

function inFileOrder(graph: Graph): number[] {
  return graph.variant.handlers.map((handler) => graph.handlers.indexOf(handler));
}

function describeHandler(placed: Placed, at: number, options: DescribeOptions): PlannedHandler {
  const handler = placed.graph.handlers[at]!;
  const option = optionAt(placed, at);
  const index = placed.nodes[at]!;
  const node = placed.cluster.nodes[index]!;
  const modelMb = option.alternative.cost.model_mb ?? 0;
  return {
    handler_id: handler.handler_id,
    handler_name: handler.handler_name,
    handler_type: handler.handler_type,
    node_id: node.node_id,
    node_name: node.node_name,
    alternative: option.alternative.name,
    params: option.alternative.params,
    post: handler.post,
    ...(handler.share ? { share: true } : {}),
    compute_ms: option.computeMs[index]!,
    queue_ms: option.queueMs[index]!,
    cpu_ms_per_s: option.cpu[index]!,
    gpu_ms_per_s: option.gpu[index]!,
    mem_mb: ownMb(handler, option.alternative),
    ...(modelMb > 0 ? { model_mb: modelMb } : {}),
    profile: option.measured[index] === 1 ? 'measured' : 'declared',
    candidates: options.explain
      ? candidatesOf(placed.graph, at, placed.cluster, (alternative, other) =>
          swapFault({ placed, at, alternative, node: other, options }),
        )
      : [],
  };
}

/** Every alternative on every node; `why` answers what rejects it, or null. */
export function candidatesOf(
  graph: Graph,
  at: number,
  cluster: Cluster,
  why: (alternative: number, node: number) => string | null,
): Candidate[] {
  return graph.options[at]!.flatMap((option, alternative) =>
    cluster.nodes.map((node, index): Candidate => {
      const rejected = why(alternative, index);
      return {
        node_id: node.node_id,
        node_name: node.node_name,
        alternative: option.alternative.name,
        compute_ms: option.computeMs[index]!,
        profile: option.measured[index] === 1 ? 'measured' : 'declared',
        ...(rejected === null ? {} : { rejected }),
      };
    }),
  );
}

interface Swap {
  readonly placed: Placed;
  readonly at: number;
  readonly alternative: number;
  readonly node: number;
  readonly options: DescribeOptions;
}

/** What speaks against one handler elsewhere or otherwise while the rest stays as planned. */
function swapFault({ placed, at, alternative, node, options }: Swap): string | null {
  if (placed.choice[at] === alternative && placed.nodes[at] === node) return null;
  const alone = placed.graph.options[at]![alternative]!.rejected[node];
  if (alone !== null && alone !== undefined) return alone;
  const { objective } = options.request;
  const handler = placed.graph.handlers[at]!;
  const name = handler.alternatives[alternative]!.name;
  const only = options.wanted.find((one) => one.variant === placed.graph.variant)?.only?.get(handler.handler_id);
  if (only !== undefined && only !== name) return `variant ${options.request.variant} was asked for`;
  const choice = placed.choice.with(at, alternative);
  const accuracy = choice.reduce(
    (product, index, one) => product * placed.graph.handlers[one]!.alternatives[index]!.accuracy,
    placed.graph.variant.accuracy,
  );
  if (objective.accuracy_min !== undefined && accuracy < objective.accuracy_min - ACCURACY_EPSILON) {
    return `accuracy ${accuracyText(accuracy)} < ${accuracyText(objective.accuracy_min)} with the rest as planned`;
  }
  return faultAt({ ...placed, choice, nodes: placed.nodes.with(at, node) }, at, objective);
}

function describeLinks(placed: Placed): PlannedLink[] {
  const { graph, cluster, nodes } = placed;
  const at = new Map(graph.handlers.map((handler, index) => [handler.handler_id, index]));
  return graph.variant.links.map((link) => {
    const source = at.get(link.source_handler)!;
    const target = at.get(link.target_handler)!;
    const bytes = optionAt(placed, source).bytes[nodes[source]!]!;
    return {
      source_handler: link.source_handler,
      source_output: link.source_output,
      target_handler: link.target_handler,
      target_input: link.target_input,
      source_node: cluster.nodes[nodes[source]!]!.node_id,
      target_node: cluster.nodes[nodes[target]!]!.node_id,
      bytes,
      mbit_per_s: mbitOf(graph.fps, bytes),
      latency_ms: linkMs(placed, source, target),
      ...(link.delivery === undefined ? {} : { delivery: link.delivery }),
    };
  });
}

function describeRunnerUp(second: Solution, options: DescribeOptions): NonNullable<SessionPlan['runner_up']> {
  const { request, cluster } = options;
  const placed: Placed = { graph: second.graph, cluster, choice: second.choice, nodes: second.nodes };
  const placement = inFileOrder(second.graph).map(
    (at) => `${second.graph.handlers[at]!.handler_name} @${cluster.nodes[second.nodes[at]!]!.node_name}`,
  );
  return {
    variant: combinationLabel(request.service, second),
    accuracy: second.accuracy,
    latency_ms: evaluate(placed).latencyMs,
    placement: placement.join(', '),
    why_not: whyNot(second, options),
  };
}
