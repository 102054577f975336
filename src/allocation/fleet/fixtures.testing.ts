/** Snapshots that the fleet planner's tests draw: seeded instances with changes, and tiny ones that can be tried out. */
import fc from 'fast-check';
import type { FleetHandler, FleetPlan, FleetSession, FleetSnapshot } from '../../contracts/fleet.js';
import { checkFleet } from './check-fleet.js';
import { instanceOf } from './instances.js';

/** The snapshot with every admitted session running where the plan put it. */
export const running = (snapshot: FleetSnapshot, made: FleetPlan): FleetSnapshot => {
  const placed = new Map(made.sessions.map((one) => [one.session_id, one.placement]));
  const sessions = snapshot.sessions.map((one): FleetSession => {
    const previous = placed.get(one.session_id);
    return previous === undefined ? one : { ...one, previous };
  });
  return { ...snapshot, sessions };
};

/** Every way between two nodes spelled out, one in seven of them closed. */
export const withPaths = (snapshot: FleetSnapshot): FleetSnapshot => ({
  ...snapshot,
  paths: snapshot.nodes.flatMap(({ node_id: source_node }) =>
    snapshot.nodes
      .filter(({ node_id }) => node_id !== source_node)
      .map(({ node_id: target_node }) => {
        const draw = (source_node * 31 + target_node * 17) % 7;
        return { source_node, target_node, latency_ms: draw * 3, mbit: draw * 20 };
      }),
  ),
});

export const instances = fc.record({
  nodes: fc.integer({ min: 3, max: 24 }),
  sessions: fc.integer({ min: 1, max: 60 }),
  seed: fc.integer({ min: 1, max: 10_000 }),
  load: fc.double({ min: 0.5, max: 4, noNaN: true }),
});

/** Random weights, privacy and drained nodes on top of an instance. */
export const varied = instances.chain((base) =>
  fc
    .record({
      weights: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      stay: fc.boolean(),
      drained: fc.nat(),
    })
    .map(({ weights, stay, drained }) => {
      const snapshot = instanceOf(base);
      return {
        ...snapshot,
        nodes: snapshot.nodes.map((one, index) => ({
          ...one,
          drained: index === drained % (snapshot.nodes.length * 2),
        })),
        sessions: snapshot.sessions.map((one, index) => {
          const site = snapshot.nodes.find((node) => node.node_id === one.source_node)!.site!;
          return {
            ...one,
            weight: weights[index % weights.length]!,
            ...(stay && index % 3 === 0 ? { stay: site } : {}),
          };
        }),
      };
    }),
);

/** Three nodes, three sessions, a small service: every placement can be tried. */
export const tiny = fc.record({
  cores: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 3, maxLength: 3 }),
  costs: fc.array(fc.integer({ min: 5, max: 120 }), { minLength: 4, maxLength: 4 }),
  fps: fc.array(fc.integer({ min: 2, max: 12 }), { minLength: 3, maxLength: 3 }),
  latency: fc.integer({ min: 60, max: 600 }),
  fork: fc.boolean(),
  modelMb: fc.integer({ min: 0, max: 400 }),
  mem: fc.constantFrom<number>(4000, 900),
});

export const tinySnapshot = ({
  cores,
  costs,
  fps,
  latency,
  fork,
  modelMb,
  mem,
}: typeof tiny extends fc.Arbitrary<infer T> ? T : never): FleetSnapshot => {
  const handler = (handler_id: number, alternatives: [number, number][], pinned: boolean): FleetHandler => ({
    ...{ handler_id, handler_name: `h${handler_id}`, handler_type: handler_id, require: {} },
    at: pinned ? { kind: 'source' } : null,
    alternatives: alternatives.map(([cpu_ms, accuracy], index) => ({
      ...{ name: `a${index}`, params: { model: `a${index}` }, accuracy },
      cost: { cpu_ms, gpu_ms: 0, mem_mb: 100, model_mb: modelMb, out_bytes: 20_000 },
    })),
  });
  const links = [
    { source_handler: 1, target_handler: 2 },
    { source_handler: 2, target_handler: 3 },
    ...(fork ? [{ source_handler: 1, target_handler: 3 }] : []),
  ];
  const handlers = [
    handler(1, [[2, 1]], true),
    handler(
      2,
      [
        [costs[0]!, 0.8],
        [costs[0]! + costs[1]!, 0.95],
      ],
      false,
    ),
    handler(
      3,
      [
        [costs[2]!, 0.9],
        [costs[2]! + costs[3]!, 0.99],
      ],
      false,
    ),
  ];
  const access = { latency_ms: 1, up_mbit: 50, down_mbit: 50 };
  const site = { site: 's', wan: { latency_ms: 5, up_mbit: 20, down_mbit: 20 } };
  return checkFleet(
    {
      nodes: cores.map((cpu_cores, node_id) => ({
        node_id,
        node_name: `n${node_id}`,
        speed: 1,
        cpu_cores,
        mem_mb: mem,
        site: node_id < 2 ? 's' : null,
        access,
      })),
      sites: [site],
      services: [{ service_name: 'tiny', variants: [{ variant_name: 'v', handlers, links }] }],
      sessions: fps.map((one, session_id) => ({
        session_id,
        service: 'tiny',
        source_node: session_id % 3,
        objective: { fps: one, latency_ms_max: latency, accuracy_min: 0.72 },
      })),
    },
    'tiny',
  );
};
