import fc from 'fast-check';
import { expect, test } from 'vitest';
import { allocateFleet, ORCHESTRATOR } from './allocator.js';
import { explainFleet } from './explain.js';
import { varied, withPaths } from './fixtures.testing.js';
import { instanceOf } from './instances.js';
import { verifyFleet } from './verify-fleet.js';

test('a chain’s predicted latency is the sum of its handlers and links, and every runner-up says why it lost', () => {
  fc.assert(
    fc.property(varied, fc.boolean(), (drawn, paths) => {
      const snapshot = paths ? withPaths(drawn) : drawn;
      const plan = explainFleet(allocateFleet(snapshot, ORCHESTRATOR, { iterations: 40 }), snapshot);
      expect(verifyFleet(plan, snapshot)).toEqual([]);
      expect(plan.explained).toHaveLength(plan.sessions.length);
      plan.explained!.forEach(({ handlers, links, runner_up }, index) => {
        const planned = plan.sessions[index]!;
        const stages = handlers.reduce((sum, one) => sum + one.compute_ms + one.queue_ms, 0);
        const ways = links.reduce((sum, one) => sum + one.latency_ms, 0);
        expect(stages + ways).toBeCloseTo(planned.latency_ms, 6);
        for (const one of handlers) {
          const place = planned.placement.find(({ handler_id }) => handler_id === one.handler_id);
          expect(place).toMatchObject({ node_id: one.node_id, alternative: one.alternative });
          if (one.runner_up === undefined) continue;
          expect(one.runner_up.why_not).not.toBe('');
          expect([one.runner_up.node_id, one.runner_up.alternative]).not.toEqual([one.node_id, one.alternative]);
        }
        expect(runner_up?.why_not).not.toBe('');
      });
    }),
    { numRuns: 15 },
  );
});

test('what a refused session is told to ask for is admitted, with everybody else where they were', () => {
  let told = 0;
  for (const seed of [1, 2, 3]) {
    const snapshot = instanceOf({ nodes: 10, sessions: 40, seed, load: 4 });
    const plan = explainFleet(allocateFleet(snapshot, ORCHESTRATOR, { iterations: 200 }), snapshot);
    const byId = new Map(plan.sessions.map((one) => [one.session_id, one]));
    for (const { session_id, nearest, proposals } of plan.refused) {
      if (nearest === undefined) continue;
      told += 1;
      expect(proposals!.length).toBeGreaterThan(0);
      const sessions = snapshot.sessions.flatMap((one) => {
        const planned = byId.get(one.session_id);
        if (planned !== undefined) return [{ ...one, previous: planned.placement, previous_variant: planned.variant }];
        return one.session_id === session_id ? [{ ...one, objective: nearest }] : [];
      });
      const again = allocateFleet({ ...snapshot, sessions }, ORCHESTRATOR, { iterations: 0 });
      expect(again.refused).toEqual([]);
      expect(again.moved).toBe(0);
    }
  }
  expect(told).toBeGreaterThan(5);
});
