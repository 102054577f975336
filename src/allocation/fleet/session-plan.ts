/**
 * One placed session as the plan that users, the coordinator and the database see: figures of every handler and link, and
 * what speaks against every candidate that was not taken. Times are those expected at the load of the moment, the
 * session's own included; `promised_ms` is what mean work takes when every node and link is as full as may be promised.
 */
import type { PlannedHandler, PlannedLink, PlanRequest, SessionPlan } from '../../contracts/plan.js';
import type { Variant } from '../../contracts/service.js';
import { type Described, labelOf, nameAt } from './described.js';
import { Load } from './expected.js';
import type { OneSession } from './one-session.js';
import { candidateOf, type Rival, rivalsOf } from './rivals.js';
import { reasonsOf } from './session-reasons.js';
import { betterOf, runnerUpOf } from './session-runner-up.js';

/** `one` has a place; it is left as it was found. */
export function sessionPlan(one: OneSession, request: PlanRequest): SessionPlan {
  const placed = one.placed!;
  const { service, objective, source_node } = request;
  one.search.remove(one.index);
  const load = loadOf(one);
  load.add(placed, one.task.fps);
  const expected = load.expected(placed, one.task.fps);
  load.remove(placed, one.task.fps);
  const isTemplate = service.template !== null;
  const rivals = isTemplate ? [] : rivalsOf(one, placed);
  const better = isTemplate ? null : betterOf(one, placed);
  const variant = service.variants.find((each) => each.variant_name === placed.graph.variant.variant_name)!;
  const described = { one, request, placed, load, expected, rivals, better };
  const runnerUp = isTemplate ? undefined : runnerUpOf(described);
  const plan: SessionPlan = {
    service_name: service.service_name,
    variant: labelOf(request, placed),
    accuracy: placed.accuracy,
    latency_ms: expected.p95Ms,
    ...(Number.isFinite(placed.latencyMs) ? { promised_ms: placed.latencyMs } : {}),
    fps: objective.fps,
    source_node,
    handlers: variant.handlers.map((handler) => handlerOf(described, handler)),
    links: linksOf(described, variant),
    reasons: reasonsOf(described),
    ...(runnerUp === undefined ? {} : { runner_up: runnerUp }),
  };
  one.search.keep(one.index, placed);
  return plan;
}

/** Of everybody who is placed. */
function loadOf({ fleet, state }: OneSession): Load {
  const load = new Load(fleet);
  state.placed.forEach((placed, index) => {
    if (placed !== null) load.add(placed, fleet.tasks[index]!.fps);
  });
  return load;
}

function handlerOf(
  { one, placed, expected, rivals }: Described,
  { handler_id, handler_name, handler_type, post, share, alternatives }: Variant['handlers'][number],
): PlannedHandler {
  const { fleet, task } = one;
  const at = placed.graph.handlers.findIndex((each) => each.handler_id === handler_id);
  const option = placed.options[at]!;
  const node = placed.nodes[at]!;
  const cell = option * fleet.nodeCount + node;
  const alternative = nameAt(placed, at);
  const isOwn = (rival: Rival) => rival.option === option && rival.node === node;
  return {
    ...{ handler_id, handler_name, handler_type },
    node_id: fleet.nodes[node]!.node_id,
    node_name: fleet.nodes[node]!.node_name,
    alternative,
    params: alternatives.find(({ name }) => name === alternative)!.params,
    post,
    ...(share ? { share: true } : {}),
    compute_ms: expected.stages[at]!.workMs,
    queue_ms: expected.stages[at]!.waitMs,
    cpu_ms_per_s: task.fps * fleet.cpuMs[cell]!,
    gpu_ms_per_s: task.fps * fleet.gpuMs[cell]!,
    mem_mb: fleet.memMb[option]!,
    ...(fleet.modelMb[option]! > 0 ? { model_mb: fleet.modelMb[option]! } : {}),
    profile: fleet.measured[cell] === 1 ? 'measured' : 'declared',
    candidates: rivals
      .filter((rival) => rival.at === at)
      .map((rival) => candidateOf(one, placed.graph, isOwn(rival) ? { ...rival, fault: null } : rival)),
  };
}

function linksOf({ one, placed, expected }: Described, variant: Variant): PlannedLink[] {
  const { fleet, task } = one;
  const at = new Map(placed.graph.handlers.map(({ handler_id }, index) => [handler_id, index]));
  return variant.links.map(({ source_handler, source_output, target_handler, target_input, delivery }) => {
    const source = at.get(source_handler)!;
    const target = at.get(target_handler)!;
    const [from, to] = [placed.nodes[source]!, placed.nodes[target]!];
    const bytes = fleet.bytes[placed.options[source]! * fleet.nodeCount + from]!;
    return {
      ...{ source_handler, source_output, target_handler, target_input },
      source_node: fleet.nodes[from]!.node_id,
      target_node: fleet.nodes[to]!.node_id,
      bytes,
      mbit_per_s: (task.fps * bytes * 8) / 1e6,
      latency_ms: expected.links[target]![placed.graph.feeds[target]!.indexOf(source)]!,
      ...(delivery === undefined ? {} : { delivery }),
    };
  });
}
