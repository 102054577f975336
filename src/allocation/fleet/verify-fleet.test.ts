import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Segment } from '../../contracts/fleet.js';
import { allocateFleet, ORCHESTRATOR } from './allocator.js';
import { instances, running, withPaths } from './fixtures.testing.js';
import { instanceOf } from './instances.js';
import { verifyFleet } from './verify-fleet.js';

/** `cpu 3` of `cpu 3: 812 > 640`, with the load to four digits: sums are made in another order. */
const full = (violations: readonly string[]): string[] =>
  violations.flatMap((words) => {
    const found = /^((?:cpu|gpu|mem|up|down|path|wan up|wan down) [^:]+): (\S+) > /.exec(words);
    return found === null ? [] : [`${found[1]} ${Number(found[2]).toPrecision(4)}`];
  });

test('one session beside others that are held is told of just those full resources that it takes of', () => {
  let seen = 0;
  fc.assert(
    fc.property(instances, fc.boolean(), (instance, hasPaths) => {
      // Few enough for all violations to be told.
      const drawn = instanceOf({ ...instance, sessions: Math.min(10, instance.sessions) });
      const snapshot = hasPaths ? withPaths(drawn) : drawn;
      const plan = allocateFleet(snapshot, ORCHESTRATOR, { iterations: 20 });
      const thin = ({ latency_ms, up_mbit, down_mbit }: Segment) => ({
        ...{ latency_ms, up_mbit: up_mbit / 8, down_mbit: down_mbit / 8 },
      });
      const now = running(snapshot, plan);
      const tight = {
        ...now,
        sessions: now.sessions.map((one) => ({ ...one, objective: { fps: one.objective.fps } })),
        nodes: now.nodes.map((one, index) =>
          index % 3 === 0
            ? { ...one, cpu_cores: one.cpu_cores / 8, mem_mb: one.mem_mb / 8, access: thin(one.access) }
            : one,
        ),
        sites: now.sites.map((one) => ({ ...one, wan: thin(one.wan) })),
      };
      const whole = new Set(full(verifyFleet(plan, tight)));
      const ids = plan.sessions.map(({ session_id }) => session_id);
      const parts = ids.map((id) => full(verifyFleet(plan, tight, new Set(ids.filter((one) => one !== id)))));
      seen += whole.size;
      // What is full, somebody takes of; and nobody is told of anything else.
      expect(new Set(parts.flat())).toEqual(whole);
    }),
    { numRuns: 20 },
  );
  expect(seen).toBeGreaterThan(0);
});

test('who is held must be where they were', () => {
  const snapshot = instanceOf({ nodes: 10, sessions: 8, seed: 1 });
  const plan = allocateFleet(snapshot, ORCHESTRATOR, { iterations: 20 });
  const [first] = plan.sessions;
  const now = running(snapshot, plan);
  const elsewhere = now.sessions.map((one) =>
    one.session_id === first!.session_id
      ? { ...one, previous: one.previous!.map((place) => ({ ...place, node_id: 1e6 })) }
      : one,
  );
  const held = new Set(plan.sessions.map(({ session_id }) => session_id));
  expect(verifyFleet(plan, now, held)).toEqual([]);
  const faults = verifyFleet(plan, { ...now, sessions: elsewhere }, held);
  expect(faults).toHaveLength(first!.placement.length);
  for (const fault of faults) expect(fault).toMatch(/^session \d+: .* is held and not where it was$/);
});
