import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { FleetPlan, FleetPlanned, FleetSnapshot } from '../../contracts/fleet.js';
import { allocateFleet, ORCHESTRATOR } from './allocator.js';
import { checkFleet } from './check-fleet.js';
import { instances, running } from './fixtures.testing.js';
import { instanceOf } from './instances.js';
import { verifyFleet } from './verify-fleet.js';
import { placeVictims } from './victims.js';

const ids = (sessions: readonly FleetPlanned[]) => new Set(sessions.map(({ session_id }) => session_id));

/** The node that most sessions have handlers on besides their cameras is down. */
function afterLoss(snapshot: FleetSnapshot, plan: FleetPlan) {
  const lost = snapshot.nodes.toSorted((a, b) => on(plan, b.node_id).length - on(plan, a.node_id).length)[0]!.node_id;
  const nodes = snapshot.nodes.map((one) => (one.node_id === lost ? { ...one, up: false } : one));
  return { lost, after: { ...running(snapshot, plan), nodes } };
}

const on = (plan: FleetPlan, node_id: number): FleetPlanned[] =>
  plan.sessions.filter(({ placement }) => placement.some((one) => one.node_id === node_id));

test('victims of a loss are placed beside the others as they are, certified, and off the lost node', () => {
  let placed = 0;
  fc.assert(
    fc.property(instances, (instance) => {
      const snapshot = instanceOf(instance);
      const plan = allocateFleet(snapshot, ORCHESTRATOR, { iterations: 60 });
      const { lost, after } = afterLoss(snapshot, plan);
      const victims = ids(on(plan, lost));
      const again = placeVictims(after, victims);
      placed += again.length;
      expect(placeVictims(after, victims)).toEqual(again);
      for (const id of ids(again)) expect(victims).toContain(id);
      const others = plan.sessions.filter(({ session_id }) => !victims.has(session_id));
      const told = ids([...others, ...again]);
      const refused = snapshot.sessions
        .filter(({ session_id }) => !told.has(session_id))
        .map(({ session_id }) => ({ session_id, reason: '' }));
      const whole = { ...plan, sessions: [...others, ...again], refused };
      expect(verifyFleet(whole, after, ids(others))).toEqual([]);
      expect(on(whole, lost).filter(({ session_id }) => victims.has(session_id))).toEqual([]);
    }),
    { numRuns: 25 },
  );
  expect(placed).toBeGreaterThan(0);
});

/** Three sessions of 12 fps on node 2, which is lost; node 1 has room for one large (600 of 800 ms/s) and one small, or three small. */
function three(weights: readonly number[]): FleetSnapshot {
  const access = { latency_ms: 1, up_mbit: 100, down_mbit: 100 };
  const node = (node_id: number, cpu_cores: number) => ({ node_id, node_name: `n${node_id}`, cpu_cores, access });
  const cost = (cpu_ms: number) => ({ cpu_ms, mem_mb: 10, out_bytes: 1000 });
  const handlers = [
    {
      ...{ handler_id: 1, handler_name: 'capture', handler_type: 2, at: { kind: 'source' } },
      alternatives: [{ name: 'default', cost: cost(1) }],
    },
    {
      ...{ handler_id: 2, handler_name: 'detect', handler_type: 7, require: { label: 'edge' } },
      alternatives: [
        { name: 'large', params: { model: 'large' }, accuracy: 0.95, cost: cost(50) },
        { name: 'small', params: { model: 'small' }, accuracy: 0.8, cost: cost(10) },
      ],
    },
  ];
  const links = [{ source_handler: 1, target_handler: 2 }];
  const previous = [
    { handler_id: 1, node_id: 0, alternative: 'default' },
    { handler_id: 2, node_id: 2, alternative: 'large' },
  ];
  const edge = (node_id: number, cpu_cores: number, up: boolean) => ({
    ...{ ...node(node_id, cpu_cores), labels: ['edge'], up },
    ...{ speed: 1, mem_mb: 4000, site: null },
  });
  return checkFleet(
    {
      nodes: [{ ...node(0, 4), speed: 1, mem_mb: 4000, site: null }, edge(1, 1, true), edge(2, 3, false)],
      sites: [],
      services: [{ service_name: 'faces', variants: [{ variant_name: 'v', handlers, links }] }],
      sessions: weights.map((weight, session_id) => ({
        ...{ session_id, service: 'faces', source_node: 0, weight, previous },
        objective: { fps: 12, latency_ms_max: 2000, accuracy_min: 0.7 },
      })),
    },
    'three',
  );
}

test('all of them fall to what leaves room for the others before one is left out; where two fit, the heaviest is served best', () => {
  const detect = (sessions: readonly FleetPlanned[]) => sessions.map(({ placement }) => placement[1]!.alternative);
  const all = three([1, 1, 1]);
  expect(detect(placeVictims(all, new Set([0, 1, 2])))).toEqual(['small', 'small', 'small']);
  const two = three([1, 5]);
  expect(detect(placeVictims(two, new Set([0, 1])))).toEqual(['small', 'large']);
});
