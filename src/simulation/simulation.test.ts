import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ORCHESTRATOR } from '../allocation/fleet/allocator.js';
import { BASELINES } from '../allocation/fleet/baselines.js';
import { checkFleet } from '../allocation/fleet/check-fleet.js';
import { populated } from './fleets.js';
import type { Scenario, WorldEvent } from './scenario.js';
import { SCENARIOS } from './scenarios/index.js';
import { simulate } from './simulation.js';

const NETWORK_AWARE = BASELINES.find((one) => one.name === 'network_aware')!;

/** A small fleet in which `events` happen; frames end before the run does. */
const scenarioOf = (events: readonly WorldEvent[], load = 0.8, framesUntilS = 50): Scenario => ({
  ...{ name: 'test', about: '', size: { nodes: 12, sessions: 15 } },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, load);
    return { fleet, visitors, events, durationS: framesUntilS + 40, windows: [{ fromS: 0, untilS: framesUntilS }] };
  },
});

const run = (scenario: Scenario, seed = 1, allocator = ORCHESTRATOR) =>
  simulate({ scenario, size: scenario.size, seed, allocator });

const siteOf = (seed: number) => populated({ nodes: 12, sessions: 15 }, seed, 1).fleet.sites[0]!.site;

describe('frames', () => {
  test('each ends once: offered are those that ended, whatever happens to nodes, links and cameras', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.nat({ max: 11 }),
        fc.nat({ max: 5 }),
        (seed, node_id, camera) => {
          const { frames } = run(
            scenarioOf(
              [
                { atS: 25, kind: 'node_dies', node_id },
                { atS: 27, kind: 'link', where: { site: siteOf(seed) }, share: 0, extraMs: 0 },
                { atS: 30, kind: 'content', handler_type: 12, factor: 5 },
                { atS: 31, kind: 'camera_moves', session_id: 3, node_id: camera },
                { atS: 33, kind: 'slow', node_id: (node_id + 1) % 12, factor: 4 },
                { atS: 36, kind: 'link', where: { site: siteOf(seed) }, share: 1, extraMs: 0 },
                { atS: 38, kind: 'node_returns', node_id },
              ],
              1.5,
            ),
            seed,
          );
          expect(frames.in_flight).toBe(0);
          expect(frames.offered).toBeGreaterThan(1000);
          expect(frames.promised).toBeLessThanOrEqual(frames.offered);
        },
      ),
      { numRuns: 4, seed: 11 },
    );
  });

  test('those of a session that has the fleet to itself take what was predicted', () => {
    const alone: Scenario = { ...scenarioOf([], 0.3), size: { nodes: 12, sessions: 1 } };
    const { latency, attainment } = run(alone);
    expect(latency!.ratio_p50).toBeGreaterThan(0.8);
    expect(latency!.ratio_p50).toBeLessThan(1.3);
    expect(attainment).toBeGreaterThan(0.99);
  });
});

test('same seed, same report; another seed, another', () => {
  const events: WorldEvent[] = [{ atS: 25, kind: 'node_dies', node_id: 7 }];
  const first = run(scenarioOf(events));
  expect(run(scenarioOf(events))).toEqual(first);
  expect(run(scenarioOf(events), 2)).not.toEqual(first);
});

test('every algorithm gets the same cameras', () => {
  const ours = run(scenarioOf([]));
  const theirs = run(scenarioOf([]), 1, NETWORK_AWARE);
  expect(theirs.frames.offered).toBe(ours.frames.offered);
});

test('victims of a dead node come back once their handlers have started elsewhere', () => {
  const { fleet } = populated({ nodes: 12, sessions: 15 }, 1, 0.5);
  const cloud = fleet.nodes.find(({ labels }) => labels.includes('cloud'))!;
  const report = run(scenarioOf([{ atS: 30, kind: 'node_dies', node_id: cloud.node_id }], 0.5));
  const { recovery } = report;
  expect(recovery!.victims).toBeGreaterThan(0);
  expect(recovery!.recovered).toBe(recovery!.victims);
  // Half a second to be noticed, two seconds for a model.
  expect(recovery!.p50_s).toBeGreaterThan(0.5);
  expect(recovery!.p50_s).toBeLessThan(4);
  expect(report.frames.ends.node_lost).toBeGreaterThan(0);
});

test('a cut link ends frames, and none after it is back', () => {
  const cut: WorldEvent[] = [{ atS: 25, kind: 'link', where: { node: 0 }, share: 0, extraMs: 0 }];
  const { frames } = run(scenarioOf(cut));
  expect(frames.ends.link_cut).toBeGreaterThan(0);
});

test('the fleets of all scenarios are snapshots that `plan` takes, and their events name what is there', () => {
  for (const { name, script, size } of SCENARIOS) {
    const { fleet, visitors, events, windows, durationS } = script(size, 3);
    const sessions = visitors.map(({ session }) => session);
    checkFleet({ ...fleet, sessions }, name);
    const nodes = new Set(fleet.nodes.map(({ node_id }) => node_id));
    for (const event of events) {
      expect(event.atS, name).toBeLessThanOrEqual(durationS);
      if ('node_id' in event) expect(nodes, name).toContain(event.node_id);
      if (event.kind === 'link' && 'site' in event.where)
        expect(
          fleet.sites.map(({ site }) => site),
          name,
        ).toContain(event.where.site);
    }
    expect(windows.length, name).toBeGreaterThan(0);
    for (const { fromS, untilS } of windows) expect(fromS, name).toBeLessThan(untilS);
  }
});
