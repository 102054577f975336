/** Small snapshots and services for tests, every field with a roomy default. */

import type { Cost } from '../contracts/handler-type.js';
import type { PlanRequest, Snapshot, SnapshotLink, SnapshotNode } from '../contracts/plan.js';
import type { Alternative, GraphHandler, Service, Variant } from '../contracts/service.js';

export function node(node_id: number, node_name: string, given: Partial<SnapshotNode> = {}): SnapshotNode {
  const cores = given.cpu_cores ?? 8;
  const gpus = given.gpus ?? 0;
  return {
    node_id,
    node_name,
    up: true,
    drained: false,
    labels: [],
    speed: 1,
    cpu_cores: cores,
    cpu_ms_per_s_free: cores * 800,
    mem_mb_free: 8000,
    gpus,
    gpu_ms_per_s_free: gpus * 800,
    handler_types: null,
    ...given,
  };
}

/** Every pair of nodes joined, both ways. */
export function mesh(nodes: readonly SnapshotNode[], latency_ms = 2, mbit_per_s_free = 800): SnapshotLink[] {
  return nodes.flatMap((source) =>
    nodes
      .filter((target) => target !== source)
      .map((target) => ({ source_node: source.node_id, target_node: target.node_id, latency_ms, mbit_per_s_free })),
  );
}

export function snapshotOf(nodes: readonly SnapshotNode[], given: Partial<Snapshot> = {}): Snapshot {
  return { nodes, links: mesh(nodes), profiles: [], ...given };
}

export function alternative(name: string, cost: Partial<Cost> = {}, accuracy = 1): Alternative {
  return {
    name,
    params: name === 'default' ? {} : { model: name },
    accuracy,
    cost: { cpu_ms: 10, gpu_ms: 0, mem_mb: 100, out_bytes: 10_000, ...cost },
  };
}

export function handler(handler_id: number, handler_name: string, given: Partial<GraphHandler> = {}): GraphHandler {
  return {
    handler_id,
    handler_name,
    handler_type: handler_id + 2,
    handler_type_name: handler_name,
    post: false,
    share: false,
    at: null,
    require: {},
    alternatives: [alternative('default')],
    ...given,
  };
}

/** Handlers joined one after the other unless `arcs` says otherwise; ids must be in topological order. */
export function variant(
  handlers: readonly GraphHandler[],
  given: Partial<Variant> & { arcs?: [number, number][] } = {},
) {
  const { arcs, ...rest } = given;
  const pairs =
    arcs ?? handlers.slice(1).map((one, at): [number, number] => [handlers[at]!.handler_id, one.handler_id]);
  const inputs = new Map<number, number>();
  return {
    variant_name: 'default',
    accuracy: 1,
    dataset: null,
    handlers,
    links: pairs.map(([source_handler, target_handler]) => {
      const target_input = inputs.get(target_handler) ?? 0;
      inputs.set(target_handler, target_input + 1);
      return { source_handler, source_output: 0, target_handler, target_input };
    }),
    order: handlers.map((one) => one.handler_id),
    ...rest,
  } satisfies Variant;
}

export function service(variants: readonly Variant[], given: Partial<Service> = {}): Service {
  return { service_id: 1, service_name: 'faces', description: '', template: null, variants, warnings: [], ...given };
}

export function request(variants: readonly Variant[], given: Partial<PlanRequest> = {}): PlanRequest {
  return { service: service(variants), objective: { fps: 10 }, source_node: 0, ...given };
}
