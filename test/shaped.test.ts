/** Emulated access links of a local cluster: heartbeats and links between nodes take them, in both directions. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { awaitRunning } from '../src/main/session-wait.js';
import { eventually, handlersOf, spreadFaceService, startSystem, type TestSystem } from './support/system.js';

const EDGE = { rttMs: 30, mbit: 200 };
const CLOUD = { rttMs: 50, mbit: 100 };
/** Clocks of the nodes are estimated, ms. */
const CLOCK_ERROR_MS = 4;

let system: TestSystem;

beforeAll(async () => {
  system = await startSystem({
    services: [spreadFaceService({ service_id: 1, service_name: 'spread', fps: 5 })],
    nodes: [
      { node_id: 0, node_name: 'client', node_type: 'client' },
      { node_id: 1, node_name: 'edge', node_type: 'edge', shape: EDGE },
      { node_id: 2, node_name: 'cloud', node_type: 'cloud', shape: CLOUD },
    ],
  });
});

afterAll(async () => {
  await system?.close();
});

test('what is measured reflects the emulated links', async () => {
  const { coordinator } = system;
  const nodes = await coordinator.nodes();
  const [edge, cloud] = [1, 2].map((id) => nodes.find((node) => node.node_id === id));
  expect(edge).toMatchObject({ rtt_ms: 30, bandwidth_mbit: 200 });
  expect(edge!.rtt_measured_ms).toBeGreaterThanOrEqual(EDGE.rttMs);
  expect(cloud!.rtt_measured_ms).toBeGreaterThanOrEqual(CLOUD.rttMs);

  const source = system.pictures('shaped', 200);
  const { session_id } = await coordinator.createSession({ service: 'spread', source, source_node: 0 });
  await awaitRunning(coordinator, session_id!);
  const latencies = await eventually('packets over all three links', async () => {
    const links = handlersOf(await coordinator.session(session_id!)).flatMap((handler) => handler.links);
    const found = [2, 4, 6].map((id) => links.find((link) => link.source_handler === id && link.packets > 5));
    return found.every((link) => link !== undefined) ? found.map((link) => link!.latency_ms_p50!) : undefined;
  });
  const [toEdge, edgeToCloud, toClient] = latencies;
  expect(toEdge).toBeGreaterThan(EDGE.rttMs / 2 - CLOCK_ERROR_MS);
  expect(edgeToCloud).toBeGreaterThan((EDGE.rttMs + CLOUD.rttMs) / 2 - CLOCK_ERROR_MS);
  expect(toClient).toBeGreaterThan(CLOUD.rttMs / 2 - CLOCK_ERROR_MS);
}, 120_000);
