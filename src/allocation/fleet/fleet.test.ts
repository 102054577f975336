import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FleetPlan, FleetSnapshot } from '../../contracts/fleet.js';
import { type AllocateFleetOptions, type Allocator, allocateFleet, ORCHESTRATOR } from './allocator.js';
import { BASELINES } from './baselines.js';
import { Pricer } from './bound/pricing.js';
import { checkFleet } from './check-fleet.js';
import { bestUtility } from './exhaustive-fleet.testing.js';
import { instances, running, tiny, tinySnapshot, varied, withPaths } from './fixtures.testing.js';
import { instanceOf } from './instances.js';
import { Fleet } from './model.js';
import { Appraiser } from './state.js';
import { verifyFleet } from './verify-fleet.js';

const plan = (
  snapshot: FleetSnapshot,
  options: Partial<AllocateFleetOptions> = {},
  allocator: Allocator = ORCHESTRATOR,
): FleetPlan => {
  const made = allocateFleet(snapshot, allocator, { iterations: 200, ...options });
  expect(verifyFleet(made, snapshot)).toEqual([]);
  return made;
};

const weightOf = (snapshot: FleetSnapshot, made: FleetPlan): number => {
  const weights = new Map(snapshot.sessions.map((one) => [one.session_id, one.weight]));
  return made.sessions.reduce((sum, one) => sum + weights.get(one.session_id)!, 0);
};

describe('a plan for many sessions', () => {
  test('never violates a constraint, whoever makes it', () => {
    fc.assert(
      fc.property(varied, (snapshot) => {
        for (const allocator of [ORCHESTRATOR, ...BASELINES]) plan(snapshot, { iterations: 60 }, allocator);
      }),
      { numRuns: 25 },
    );
  });

  test('keeps to the paths that overrule the tree of hubs', () => {
    let admitted = 0;
    fc.assert(
      fc.property(instances, (instance) => {
        const snapshot = withPaths(instanceOf(instance));
        for (const allocator of [ORCHESTRATOR, BASELINES[3]!])
          admitted += plan(snapshot, { iterations: 30 }, allocator).sessions.length;
      }),
      { numRuns: 10 },
    );
    expect(admitted).toBeGreaterThan(20);
  });

  test('is the same for the same seed, snapshot and state', () => {
    fc.assert(
      fc.property(varied, fc.integer({ min: 1, max: 99 }), (snapshot, seed) => {
        const first = plan(snapshot, { seed, iterations: 60 });
        expect(plan(snapshot, { seed, iterations: 60 })).toEqual(first);
        const [lost, ...rest] = running(snapshot, first).nodes;
        const after = { ...running(snapshot, first), nodes: [{ ...lost!, up: false }, ...rest] };
        expect(plan(after, { seed, iterations: 60 })).toEqual(plan(after, { seed, iterations: 60 }));
      }),
      { numRuns: 10 },
    );
  });

  test('of far more sessions than there is room for is made all the same, and says of each why it has no place', () => {
    const snapshot = instanceOf({ nodes: 8, sessions: 4000, seed: 1 });
    const { sessions, refused } = plan(snapshot, { iterations: 50 });
    expect(sessions.length).toBeGreaterThan(10);
    expect(sessions.length + refused.length).toBe(4000);
    expect(refused.every(({ reason }) => /needed.* > |keeps|not reached/.test(reason))).toBe(true);
  });

  test('does not move anything when nothing happened', () => {
    fc.assert(
      fc.property(instances, (base) => {
        const snapshot = instanceOf({ ...base, load: 0.5 });
        const first = plan(snapshot);
        fc.pre(first.refused.length === 0);
        const again = plan(running(snapshot, first));
        expect(again.moved).toBe(0);
        expect(again.sessions).toEqual(first.sessions);
      }),
      { numRuns: 15 },
    );
  });

  test('admits no less weight when a node is added', () => {
    fc.assert(
      fc.property(varied, fc.integer({ min: 1, max: 99 }), (snapshot, seed) => {
        const old = plan(snapshot, { iterations: 60 });
        const strong = snapshot.nodes.at(-1)!;
        const added = { ...strong, node_id: 5000, node_name: 'added', drained: false };
        const grown = running({ ...snapshot, nodes: [...snapshot.nodes, added] }, old);
        expect(weightOf(grown, plan(grown, { seed, iterations: 60, replan: true }))).toBeGreaterThanOrEqual(
          weightOf(snapshot, old),
        );
      }),
      { numRuns: 20 },
    );
  });

  test('moves victims only in the repair after a node has died', () => {
    const snapshot = instanceOf({ nodes: 30, sessions: 90, seed: 2 });
    const first = plan(snapshot);
    const loads = new Map<number, Set<number>>();
    for (const { session_id, placement } of first.sessions) {
      for (const { node_id } of placement) loads.set(node_id, (loads.get(node_id) ?? new Set()).add(session_id));
    }
    const isEdge = (id: number) => snapshot.nodes.find((one) => one.node_id === id)!.labels.includes('edge');
    const [dead, victims] = [...loads].filter(([id]) => isEdge(id)).sort((a, b) => b[1].size - a[1].size)[0]!;
    const nodes = snapshot.nodes.map((one) => (one.node_id === dead ? { ...one, up: false } : one));
    const repaired = plan(running({ ...snapshot, nodes }, first), { iterations: 0 });
    const places = new Map(repaired.sessions.map((one) => [one.session_id, one.placement]));
    for (const { session_id, placement } of first.sessions) {
      if (!victims.has(session_id)) expect(places.get(session_id)).toEqual(placement);
    }
  });
});

describe('against exhaustive search', () => {
  test.each([
    ['memory for all', 4000],
    ['memory for hardly one shared model', 900],
  ])('three nodes and three sessions, %s: always the best utility there is', (_, mem) => {
    for (const drawn of fc.sample(tiny, { seed: 1, numRuns: 300 })) {
      const snapshot = tinySnapshot({ ...drawn, mem });
      expect(plan(snapshot, { iterations: 100 }).utility).toBeCloseTo(bestUtility(new Fleet(snapshot)), 6);
    }
  });

  test('pricing at no price finds what one session alone can have at best, or more where links are left out', () => {
    fc.assert(
      fc.property(tiny, (drawn) => {
        const snapshot = tinySnapshot({ ...drawn, cores: [9, 9, 9], modelMb: 0, mem: 4000 });
        const fleet = new Fleet({ ...snapshot, sessions: snapshot.sessions.slice(0, 1) });
        const { value } = new Pricer(fleet, new Appraiser(fleet), new Float64Array(fleet.resourceCount)).best(
          fleet.tasks[0]!,
          null,
        );
        const best = bestUtility(fleet);
        if (drawn.fork) expect(Math.max(0, value)).toBeGreaterThanOrEqual(best - 1e-9);
        else expect(Math.max(0, value)).toBeCloseTo(best, 9);
      }),
      { numRuns: 40 },
    );
  });
});

describe('a bad snapshot', () => {
  const good = instanceOf({ nodes: 6, sessions: 4, seed: 1 });
  const node = good.nodes[0]!;
  const session = good.sessions[0]!;
  const cycle = {
    ...good.services[0]!.variants[0]!,
    links: [
      { source_handler: 1, target_handler: 2 },
      { source_handler: 2, target_handler: 1 },
    ],
  };

  test.each([
    ['/nodes/0/cpu_cores', { ...good, nodes: [{ ...node, cpu_cores: -2 }] }],
    ['/nodes/0/mem_mb', { ...good, nodes: [{ ...node, mem_mb: Number.POSITIVE_INFINITY }] }],
    ['/sessions/0/weight', { ...good, sessions: [{ ...session, weight: Number.NaN }] }],
    ['/sessions/0/objective/fps', { ...good, sessions: [{ ...session, objective: { fps: -1 } }] }],
    ['/nodes/0 has unknown key', { ...good, nodes: [{ ...node, cores: 3 }] }],
    ['/nodes has 20000 entries', { ...good, nodes: new Array(20_000).fill(node) }],
    ['/nodes/0/speed', { ...good, nodes: [{ ...node, speed: Number.NaN }] }],
    ['/nodes/6/node_id 0 is used twice', { ...good, nodes: [...good.nodes, node] }],
    ['/nodes/0/site nowhere', { ...good, nodes: [{ ...node, site: 'nowhere' }] }],
    ['/sessions/0/source_node 77', { ...good, sessions: [{ ...session, source_node: 77 }] }],
    ['/sessions/0/service none', { ...good, sessions: [{ ...session, service: 'none' }] }],
    ['/sessions/0/variant best', { ...good, sessions: [{ ...session, variant: 'best' }] }],
    [
      '/services/0/variants/0/links form a cycle',
      { ...good, sessions: [], services: [{ service_name: 'face', variants: [cycle] }] },
    ],
    ['/sessions has 1000000 entries', { ...good, sessions: new Array(1_000_000).fill(session) }],
  ])('is refused with the place: %s', (place, snapshot) => {
    expect(() => checkFleet(snapshot, 'snapshot.json')).toThrow(place);
  });

  test('a plan that breaks a promise is told as one', () => {
    const made = plan(good);
    const [first, ...rest] = made.sessions;
    const lost = { ...good, nodes: good.nodes.map((one) => ({ ...one, cpu_cores: 0.01 })) };
    expect(verifyFleet(made, lost).length).toBeGreaterThan(0);
    expect(verifyFleet({ ...made, sessions: rest }, good)).toEqual([
      `session ${first!.session_id} is neither placed nor refused`,
    ]);
    expect(verifyFleet({ ...made, sessions: [{ ...first!, accuracy: 0.1 }, ...rest] }, good).length).toBe(1);
  });
});
