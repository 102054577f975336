/** One session to place and a fleet around it, every field with a roomy default. */
import type { FleetNode, FleetPath, FleetSession, FleetSnapshot } from '../../contracts/fleet.js';
import type { Cost } from '../../contracts/handler-type.js';
import type { PlanRequest, PlanResult } from '../../contracts/plan.js';
import type { Alternative, GraphHandler, Service, Variant } from '../../contracts/service.js';
import { ORCHESTRATOR } from './allocator.js';
import { OneSession } from './one-session.js';
import { sessionPlan } from './session-plan.js';
import { sessionRefusal } from './session-refusal.js';

/** Of the session that is placed. */
export const ASKED = 1000;

export function node(node_id: number, node_name: string, given: Partial<FleetNode> = {}): FleetNode {
  return {
    ...{ node_id, node_name, up: true, drained: false, labels: [], site: null, speed: 1, cpu_cores: 8, mem_mb: 8000 },
    ...{ gpus: 0, handler_types: null, access: { latency_ms: 1, up_mbit: 1000, down_mbit: 1000 } },
    ...given,
  };
}

export function alternative(name: string, cost: Partial<Cost> = {}, accuracy = 1): Alternative {
  const params = name === 'default' ? {} : { model: name };
  return { name, params, accuracy, cost: { cpu_ms: 10, gpu_ms: 0, mem_mb: 100, out_bytes: 10_000, ...cost } };
}

export function handler(handler_id: number, handler_name: string, given: Partial<GraphHandler> = {}): GraphHandler {
  return {
    ...{ handler_id, handler_name, handler_type: handler_id + 2, handler_type_name: handler_name },
    ...{ post: false, share: false, at: null, require: {}, alternatives: [alternative('default')] },
    ...given,
  };
}

/** Handlers joined one after the other unless `arcs` says otherwise; ids must be in topological order. */
export function variant(
  handlers: readonly GraphHandler[],
  given: Partial<Variant> & { arcs?: [number, number][] } = {},
): Variant {
  const { arcs, ...rest } = given;
  const ids = handlers.map((one) => one.handler_id);
  const pairs = arcs ?? ids.slice(1).map((id, at): [number, number] => [ids[at]!, id]);
  const inputs = new Map<number, number>();
  const links = pairs.map(([source_handler, target_handler]) => {
    const target_input = inputs.get(target_handler) ?? 0;
    inputs.set(target_handler, target_input + 1);
    return { source_handler, source_output: 0, target_handler, target_input };
  });
  return { variant_name: 'default', accuracy: 1, dataset: null, handlers, links, order: ids, ...rest };
}

export function request(variants: readonly Variant[], given: Partial<PlanRequest> = {}): PlanRequest {
  const service: Service = {
    ...{ service_id: 1, service_name: 'faces', description: '', template: null, variants, warnings: [] },
  };
  return { service, objective: { fps: 10 }, source_node: 0, ...given };
}

/** The session among `sessions`, which run already. */
export function world(
  { service, objective, source_node, previous, stay }: PlanRequest,
  nodes: readonly FleetNode[],
  given: { paths?: FleetPath[]; profiles?: FleetSnapshot['profiles']; sessions?: FleetSession[] } = {},
): OneSession {
  const { paths, profiles = [], sessions = [] } = given;
  const asked: FleetSession = {
    ...{ session_id: ASKED, service: service.service_name, objective, source_node, weight: 1 },
    ...(previous === undefined ? {} : { previous: [...previous] }),
    ...(stay === undefined ? {} : { stay }),
  };
  const services = [service as unknown as FleetSnapshot['services'][number]];
  const snapshot = { nodes: [...nodes], sites: [], services, profiles, sessions: [...sessions, asked] };
  return new OneSession(paths === undefined ? snapshot : { ...snapshot, paths }, ASKED);
}

export function answer(
  asked: PlanRequest,
  ...rest: Parameters<typeof world> extends [unknown, ...infer R] ? R : never
) {
  const one = world(asked, ...rest);
  const result: PlanResult = one.place(ORCHESTRATOR)
    ? { admitted: true, plan: sessionPlan(one, asked) }
    : { admitted: false, refusal: sessionRefusal(one, asked) };
  return result;
}
