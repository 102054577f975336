import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { FleetSnapshot } from '../../../contracts/fleet.js';
import { allocateFleet, ORCHESTRATOR } from '../allocator.js';
import { BASELINES } from '../baselines.js';
import { bestUtility } from '../exhaustive-fleet.testing.js';
import { tiny, tinySnapshot, varied, withPaths } from '../fixtures.testing.js';
import { instanceOf } from '../instances.js';
import { Fleet } from '../model.js';
import { columnBound } from './column-bound.js';
import { withBound } from './with-bound.js';

const planned = (snapshot: FleetSnapshot, allocator = ORCHESTRATOR) =>
  allocateFleet(snapshot, allocator, { iterations: 100 });

test('the bound is not below the best that exhaustive search finds, and meets it where nothing is short', async () => {
  let met = 0;
  await fc.assert(
    fc.asyncProperty(tiny, async (drawn) => {
      const fleet = new Fleet(tinySnapshot(drawn));
      const { utility, finished } = await columnBound({ fleet, starts: [] });
      const best = bestUtility(fleet);
      expect(finished).toBe(true);
      expect(utility).toBeGreaterThanOrEqual(best - 1e-9);
      if (utility - best < 1e-2) met += 1;
    }),
    { numRuns: 40, seed: 1 },
  );
  expect(met).toBeGreaterThan(12);
});

test('the bound is not below any plan, whoever makes it, and the same each time', async () => {
  await fc.assert(
    fc.asyncProperty(varied, fc.boolean(), async (drawn, paths) => {
      const snapshot = paths ? withPaths(drawn) : drawn;
      const plans = [ORCHESTRATOR, ...BASELINES].map((allocator) => planned(snapshot, allocator));
      const { bound } = await withBound(plans[0]!, snapshot, { roundsMax: 12 });
      for (const { utility } of plans) expect(utility).toBeLessThanOrEqual(bound!.utility + 1e-6);
      expect((await withBound(plans[0]!, snapshot, { roundsMax: 12 })).bound).toEqual(bound);
    }),
    { numRuns: 8 },
  );
});

test('a bound that runs out of time or rounds says so and still holds', async () => {
  const snapshot = instanceOf({ nodes: 12, sessions: 40, seed: 4, load: 2 });
  const plan = planned(snapshot);
  const full = (await withBound(plan, snapshot)).bound!;
  expect(full).toMatchObject({ finished: true });
  let looks = 20;
  for (const options of [{ msLeft: () => 0 }, { msLeft: () => looks-- }, { roundsMax: 1 }]) {
    const { bound } = await withBound(plan, snapshot, options);
    expect(bound).toMatchObject({ finished: false });
    expect(bound!.utility).toBeGreaterThanOrEqual(full.utility - 1e-6);
    expect(bound!.gap).toBeCloseTo((bound!.utility - plan.utility) / bound!.utility, 9);
  }
});

test('the best plan of the columns lies between the plan that they started from and the bound', async () => {
  const snapshot = instanceOf({ nodes: 10, sessions: 30, seed: 2, load: 3 });
  const fleet = new Fleet(snapshot);
  const { utility, whole } = await columnBound({ fleet, starts: [], wholeMs: 5_000 });
  expect(whole).toBeGreaterThan(0);
  expect(whole).toBeLessThanOrEqual(utility + 1e-6);
});
