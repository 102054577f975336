import { afterEach, expect, test } from 'vitest';
import { allocateFleet, ORCHESTRATOR } from '../allocation/fleet/allocator.js';
import { checkFleet } from '../allocation/fleet/check-fleet.js';
import { verifyFleet } from '../allocation/fleet/verify-fleet.js';
import { startTestCluster, type TestCluster } from './cluster.testing.js';

let cluster: TestCluster;
afterEach(() => cluster.close());

test('the live fleet is a valid snapshot in which everybody runs where they run', async () => {
  cluster = await startTestCluster();
  const { client, awaitState } = cluster;
  const goal = { fps: 5 };
  const first = await client.createSession({ service: 'faces', objective: goal, source: 'one.jpg' });
  await client.createSession({ service: 'faces', objective: goal, source: 'two.jpg', variant: 'small' });
  await client.createSession({ service: 'local_render' });
  await awaitState(first.session_id!, 'running');
  const fleet = checkFleet(await client.fleet(), 'live');
  expect(JSON.stringify(fleet)).not.toContain('one.jpg');
  expect(fleet.nodes.map((one) => [one.node_name, one.up, one.speed])).toEqual([
    ['camera', true, 1],
    ['edge-1', true, 2],
    ['edge-2', true, 1],
  ]);
  // Sources differ, which costs nothing; a forced variant leaves less to choose from.
  expect(
    fleet.sessions.map((one) => [one.session_id, one.service, one.previous?.map((place) => place.node_id)]),
  ).toEqual([
    [1, 'faces', [0, expect.any(Number), 0, 0]],
    [2, 'faces of session 2', [0, expect.any(Number), 0, 0]],
    [3, 'local_render', [0, 0]],
  ]);
  const plan = allocateFleet(fleet, ORCHESTRATOR);
  expect(verifyFleet(plan, fleet)).toEqual([]);
  expect([plan.moved, plan.refused]).toEqual([0, []]);
});

test('a way that a probe has measured is a path', async () => {
  cluster = await startTestCluster();
  const { client, camera } = cluster;
  expect((await client.fleet()).paths).toBeUndefined();
  camera.paths.set(2, { rtt_ms: 30, mbit_per_s: 40 });
  await client.probeLink('camera', 'edge-2');
  const paths = (await client.fleet()).paths!;
  expect(paths.find((one) => one.source_node === 0 && one.target_node === 2)).toEqual({
    ...{ source_node: 0, target_node: 2, latency_ms: 15, mbit: 40 },
  });
});
