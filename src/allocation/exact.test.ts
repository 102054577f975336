import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PlanRequest, PlanResult, Snapshot } from '../contracts/plan.js';
import { allocate } from './allocate.js';
import { clusterOf } from './cluster.js';
import { evaluate } from './evaluate.js';
import { exhaustive } from './exhaustive.testing.js';
import { alternative, handler, node, request, variant } from './fixtures.testing.js';
import { graphsOf } from './solve.js';
import { wantedVariants } from './variants.js';
import { verifyPlan } from './verify.js';

const anyNode = (node_id: number) =>
  fc
    .record({
      speed: fc.constantFrom(0.5, 1, 2),
      cpu_cores: fc.constantFrom(1, 2, 8),
      freeShare: fc.constantFrom(0.1, 0.5, 1),
      mem_mb_free: fc.constantFrom(120, 250, 420, 2000),
      gpus: fc.constantFrom(0, 1),
      up: fc.constantFrom(true, true, true, false),
      drained: fc.constantFrom(false, false, false, true),
    })
    .map(({ freeShare, ...given }) =>
      node(node_id, `node-${node_id}`, { ...given, cpu_ms_per_s_free: given.cpu_cores * 800 * freeShare }),
    );

const anyAlternative = (name: string) =>
  fc
    .record({
      cpu_ms: fc.constantFrom(1, 5, 20, 60),
      gpu_ms: fc.constantFrom(0, 0, 0, 15),
      mem_mb: fc.constantFrom(50, 100, 200),
      out_bytes: fc.constantFrom(100, 20_000, 300_000),
      accuracy: fc.constantFrom(0.9, 0.95, 1),
    })
    .map(({ accuracy, ...cost }) => alternative(name, cost, accuracy));

const anyHandler = (id: number) =>
  fc
    .record({
      alternatives: fc
        .constantFrom(1, 1, 2, 3)
        .chain((count) => fc.tuple(...['a', 'b', 'c'].slice(0, count).map(anyAlternative))),
      at: fc.constantFrom(null, null, null, { kind: 'source' as const }, { kind: 'node' as const, node_id: 1 }),
    })
    .map((given) => handler(id, `h${id}`, given));

const SHAPES: [number, number][][] = [
  [
    [0, 1],
    [1, 2],
    [2, 3],
  ],
  [
    [0, 1],
    [1, 2],
  ],
  [
    [0, 1],
    [0, 2],
    [1, 3],
    [2, 3],
  ],
  [
    [0, 1],
    [0, 2],
    [1, 2],
    [2, 3],
  ],
  [
    [0, 2],
    [1, 2],
    [2, 3],
  ],
  [
    [0, 1],
    [0, 2],
    [0, 3],
  ],
  [
    [0, 1],
    [0, 1],
    [1, 2],
  ],
];

const instances = fc
  .constantFrom(...SHAPES)
  .chain((arcs) => {
    const count = Math.max(...arcs.flat()) + 1;
    return fc.record({
      arcs: fc.constant(arcs),
      handlers: fc.tuple(...Array.from({ length: count }, (_, id) => anyHandler(id))),
      nodes: fc.tuple(anyNode(0), anyNode(1), anyNode(2)),
      links: fc.array(
        fc.record({
          latency_ms: fc.constantFrom(0.2, 3, 15),
          mbit_per_s_free: fc.constantFrom(1, 10, 30, 500),
          kept: fc.constantFrom(true, true, true, true, false),
        }),
        { minLength: 6, maxLength: 6 },
      ),
      fps: fc.constantFrom(1, 5, 12),
      latency_ms_max: fc.constantFrom(undefined, 30, 80, 200),
      accuracy_min: fc.constantFrom(undefined, undefined, 0.85, 0.97),
      previous: fc.option(fc.array(fc.constantFrom(0, 1, 2), { minLength: 4, maxLength: 4 }), { nil: undefined }),
    });
  })
  .map((one): { asked: PlanRequest; snapshot: Snapshot } => {
    const pairs = [
      [0, 1],
      [0, 2],
      [1, 0],
      [1, 2],
      [2, 0],
      [2, 1],
    ];
    const links = one.links.flatMap(({ kept, ...link }, at) =>
      kept ? [{ source_node: pairs[at]![0]!, target_node: pairs[at]![1]!, ...link }] : [],
    );
    const { fps, latency_ms_max, accuracy_min } = one;
    const previous = one.previous
      ?.slice(0, one.handlers.length)
      .map((node_id, handler_id) => ({ handler_id, node_id, alternative: 'a' }));
    return {
      asked: request([variant(one.handlers, { arcs: one.arcs })], {
        objective: { fps, latency_ms_max, accuracy_min },
        previous,
      }),
      snapshot: { nodes: one.nodes, links, profiles: [] },
    };
  });

/** Cost of an admitted plan, computed from its placement. */
function costOf(result: PlanResult, asked: PlanRequest, snapshot: Snapshot): number {
  if (!result.admitted) throw new Error(`refused: ${result.refusal.reasons.join('; ')}`);
  const { plan } = result;
  const cluster = clusterOf(snapshot);
  const { graph } = graphsOf(wantedVariants(asked), asked, cluster)[0]!;
  const planned = graph.handlers.map((one) => plan.handlers.find((each) => each.handler_id === one.handler_id)!);
  const choice = planned.map((one, at) =>
    graph.handlers[at]!.alternatives.findIndex((each) => each.name === one.alternative),
  );
  const nodes = planned.map((one) => cluster.indexOf.get(one.node_id)!);
  return evaluate({ graph, cluster, choice, nodes }).costMs;
}

describe('exactness', () => {
  it('finds what exhaustive search finds, and passes the verifier', () => {
    const seen = { admitted: 0, refused: 0, proposed: 0 };
    fc.assert(
      fc.property(instances, ({ asked, snapshot }) => {
        const result = allocate(asked, snapshot);
        const best = exhaustive(asked, snapshot);
        expect(result.admitted).toBe(best !== null);
        if (result.admitted && best !== null) {
          seen.admitted++;
          expect(verifyPlan(result.plan, asked, snapshot)).toEqual([]);
          expect(result.plan.accuracy).toBeCloseTo(best.accuracy, 9);
          expect(costOf(result, asked, snapshot)).toBeCloseTo(best.costMs, 6);
          expect(result.plan.exact).toBe(true);
        } else if (!result.admitted) {
          seen.refused++;
          expect(result.refusal.reasons.length).toBeGreaterThan(0);
          const objective = result.refusal.nearest;
          if (objective === undefined) return;
          seen.proposed++;
          expect(allocate({ ...asked, objective }, snapshot).admitted).toBe(true);
        }
      }),
      { numRuns: 250, seed: 7 },
    );
    // The instances are of both kinds, or the comparison would say little.
    expect(Math.min(seen.admitted, seen.refused, seen.proposed)).toBeGreaterThan(10);
  }, 120_000);

  it('does not move a session when nothing changed', () => {
    fc.assert(
      fc.property(instances, ({ asked, snapshot }) => {
        const fresh = allocate({ ...asked, previous: undefined }, snapshot);
        if (!fresh.admitted) return;
        const previous = fresh.plan.handlers.map(({ handler_id, node_id, alternative }) => ({
          handler_id,
          node_id,
          alternative,
        }));
        const again = allocate({ ...asked, previous }, snapshot);
        expect(again.admitted && again.plan.handlers.map(({ node_id, alternative }) => [node_id, alternative])).toEqual(
          previous.map(({ node_id, alternative }) => [node_id, alternative]),
        );
      }),
      { numRuns: 100, seed: 11 },
    );
  });

  it('gives one plan for one input, in whatever order the snapshot lists its nodes and links', () => {
    fc.assert(
      fc.property(instances, ({ asked, snapshot }) => {
        const turned = { ...snapshot, nodes: snapshot.nodes.toReversed(), links: snapshot.links.toReversed() };
        expect(allocate(asked, turned)).toEqual(allocate(asked, snapshot));
      }),
      { numRuns: 100, seed: 13 },
    );
  });
});
