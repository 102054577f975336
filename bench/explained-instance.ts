/** A session of seven handlers with nine variants on nodes that are joined in pairs: what one explained decision is timed on. */
import type { FleetNode, FleetSnapshot } from '#src/contracts/fleet.js';
import type { PlanRequest } from '#src/contracts/plan.js';
import type { Alternative, GraphHandler } from '#src/contracts/service.js';
import { seededRandom } from '#src/std/prng.js';

/** Session 0 is the one to place, with its source on node `source_node`. */
export function explainedSnapshot(count: number, source_node: number): FleetSnapshot {
  const random = seededRandom(count);
  const nodes = Array.from({ length: count }, (_, node_id): FleetNode => {
    const cpu_cores = 2 + Math.floor(random() * 14);
    return {
      ...{ node_id, node_name: `node-${node_id}`, up: true, drained: false, labels: [], site: null, gpus: 0 },
      ...{ speed: 0.4 + random(), cpu_cores, mem_mb: 2000 + random() * 8000, handler_types: null },
      access: { latency_ms: 1, up_mbit: 100, down_mbit: 100 },
    };
  });
  const paths = nodes.flatMap(({ node_id: from }) =>
    nodes
      .filter(({ node_id }) => node_id !== from)
      .map(({ node_id: to }) => ({
        ...{ source_node: from, target_node: to, latency_ms: 1 + random() * 10, mbit: 100 },
      })),
  );
  const { service, objective } = explainedRequest(source_node);
  const { service_name, variants } = service;
  const fleetVariants = variants.map(({ variant_name, accuracy, handlers, links }) => ({
    ...{ variant_name, accuracy, links: [...links] },
    handlers: handlers.map((one) => ({ ...one, alternatives: [...one.alternatives] })),
  }));
  const session = { session_id: 0, service: service_name, objective, source_node, weight: 1 };
  return {
    nodes,
    sites: [],
    paths,
    services: [{ service_name, variants: fleetVariants }],
    profiles: [],
    sessions: [session],
  };
}

function alternative(name: string, cpu_ms: number, out_bytes: number, accuracy = 1): Alternative {
  return { name, params: { model: name }, accuracy, cost: { cpu_ms, gpu_ms: 0, mem_mb: 100, out_bytes } };
}

export function explainedRequest(source_node: number): PlanRequest {
  const chain: [string, Alternative[], boolean][] = [
    ['capture', [alternative('default', 1, 900_000)], true],
    ['encode', [alternative('default', 4, 60_000)], true],
    ['decode', [alternative('default', 4, 900_000)], false],
    [
      'detect',
      [
        alternative('tiny', 10, 90_000, 0.9),
        alternative('blaze', 20, 90_000, 0.95),
        alternative('ssd', 80, 90_000, 0.99),
      ],
      false,
    ],
    ['align', [alternative('default', 3, 90_000)], false],
    [
      'recognize',
      [alternative('s', 8, 2000, 0.95), alternative('m', 20, 2000, 0.97), alternative('l', 40, 2000, 0.99)],
      false,
    ],
    ['render', [alternative('default', 2, 0)], true],
  ];
  const handlers = chain.map(
    ([handler_name, alternatives, pinned], index): GraphHandler => ({
      ...{ handler_id: index + 1, handler_name, handler_type: index + 1, handler_type_name: handler_name, post: false },
      share: false,
      at: pinned ? { kind: 'source' } : null,
      require: {},
      alternatives,
    }),
  );
  const links = handlers.slice(1).map((handler) => ({
    ...{
      source_handler: handler.handler_id - 1,
      source_output: 0,
      target_handler: handler.handler_id,
      target_input: 0,
    },
  }));
  const order = handlers.map((handler) => handler.handler_id);
  const variant = { variant_name: 'default', accuracy: 1, dataset: null, handlers, links, order };
  const service = {
    service_id: 1,
    service_name: 'face',
    description: '',
    template: null,
    variants: [variant],
    warnings: [],
  };
  return { service, objective: { fps: 8, latency_ms_max: 400, accuracy_min: 0.85 }, source_node };
}
