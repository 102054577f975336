import { afterEach, expect, it } from 'vitest';
import { startTestCluster, type TestCluster, until } from './cluster.testing.js';

let cluster: TestCluster | undefined;
afterEach(() => cluster?.close());

/** Nobody is asked for a heartbeat in its turn while the test runs. */
const RARELY = { heartbeatPeriodMs: 600_000, hurryPeriodMs: 600_000 };

const watched = ({ nodes }: TestCluster) =>
  until('questions for hints', async () => nodes.every(({ isWatched }) => isWatched));

it('asks a node that hints at once, and what it hears counts', async () => {
  cluster = await startTestCluster({ coordinator: { bounds: RARELY } });
  const { client, edge1, camera } = cluster;
  await watched(cluster);
  edge1.holds = true;
  const { session_id } = await client.createSession({ service: 'faces', source_node: camera.options.node_id });
  await cluster.awaitState(session_id!, 'preparing');
  edge1.holds = false;
  await watched(cluster);
  edge1.hint();
  await cluster.awaitState(session_id!, 'running');
});

it('asks a node that others suspect', async () => {
  cluster = await startTestCluster({ coordinator: { bounds: { ...RARELY, heartbeatTimeoutMs: 100 } } });
  const { camera, edge1 } = cluster;
  await watched(cluster);
  edge1.silent = true;
  camera.hint(edge1.options.node_id);
  expect((await cluster.awaitEvent('node.lost')).node_id).toBe(edge1.options.node_id);
});
