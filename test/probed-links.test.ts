/** Real agents, one of them behind a long path: probes see it, and what needs a short one is placed elsewhere. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CoordinatorClient, createCoordinatorClient } from '../src/client/coordinator-client.js';
import type { NodeFile } from '../src/contracts/node.js';
import { normalizeService } from '../src/contracts/service.js';
import { createCoordinator } from '../src/coordinator/index.js';
import { Shaper } from '../src/links/shaper.js';
import { builtInTypes } from '../src/main/handler-types.js';
import { hostEntry, modelEntry } from '../src/main/package-facts.js';
import { createNodeAgent } from '../src/node/index.js';
import { systemClock } from '../src/std/clock.js';
import { silentLogger } from '../src/std/logger.js';
import { MemoryStateStore } from '../src/store/memory/memory-state-store.js';
import { eventually } from './support/system.js';

const RTT_MS = 40;
const PERIOD_MS = 1_500;
const NAMES = ['camera', 'near', 'far'];

const handler = (handler_id: number, handler_name: string, handler_type: string, at: string) => ({
  ...{ handler_id, handler_name, handler_type, at, cost: { cpu_ms: 0.5, mem_mb: 10 } },
});
const SERVICE = {
  ...{ service_id: 1, service_name: 'tight' },
  handlers: [
    handler(1, 'capture', 'capture', 'source'),
    handler(2, 'detect', 'detect_face', 'worker'),
    handler(3, 'draw', 'draw_boxes', 'source'),
    handler(4, 'render', 'render', 'source'),
  ],
  links: [
    { source_handler: 1, target_handler: 2 },
    { source_handler: 1, target_handler: 3 },
    { source_handler: 2, target_handler: 3, target_input: 1 },
    { source_handler: 3, target_handler: 4 },
  ],
};

const closers: (() => unknown)[] = [];
const path = new Shaper({ delayMs: RTT_MS / 2 });
let client: CoordinatorClient;
const types = builtInTypes();

async function startNode(node_id: number): Promise<NodeFile> {
  const dataDir = mkdtempSync(join(tmpdir(), 'probed-'));
  const common = { clock: systemClock(), logger: silentLogger, token: null };
  const agent = await createNodeAgent({
    ...{ ...common, host: '127.0.0.1', port: 0, nodeId: node_id, nodeName: NAMES[node_id]!, version: '0', labels: [] },
    ...{
      insecure: false,
      types,
      hostEntry: hostEntry(),
      modelEntry: modelEntry(),
      dataDir,
      cacheDir: dataDir,
      allow: [],
      cpuCores: 4,
    },
    ...{ threads: 1, collector: null, measureSpeed: () => 1 },
  });
  closers.push(async () => {
    await agent.close();
    rmSync(dataDir, { recursive: true, force: true });
  });
  const isFar = NAMES[node_id] === 'far';
  const reached = isFar ? await path.forward({ kind: 'http', url: agent.address.url }) : null;
  const node_port = reached?.kind === 'http' ? Number(new URL(reached.url).port) : agent.address.port;
  return {
    ...{ node_id, node_name: NAMES[node_id]!, node_type: node_id === 0 ? 'client' : 'edge', node_addr: '127.0.0.1' },
    ...{ node_port, labels: node_id === 0 ? [] : ['worker'], rtt_ms: 0.5, bandwidth_mbit: 1000 },
  };
}

beforeAll(async () => {
  const nodes = await Promise.all(NAMES.map((_, index) => startNode(index)));
  const coordinator = await createCoordinator({
    ...{ host: '127.0.0.1', port: 0, token: null, nodes, types, state: new MemoryStateStore(), telemetry: null },
    services: [normalizeService(SERVICE, types, 'tight.json')],
    ...{ clock: systemClock(), logger: silentLogger, bounds: { linkProbePeriodMs: PERIOD_MS } },
  });
  client = createCoordinatorClient({ url: coordinator.address.url, token: null });
  closers.push(
    () => path.close(),
    () => coordinator.close(),
    () => client.close(),
  );
});

afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

const link = async (source: string, target: string) =>
  (await client.links()).find((one) => one.source_name === source && one.target_name === target)!;

test('within two rounds of probes every pair is measured, the far one as far', async () => {
  await eventually('every pair probed', async () =>
    (await client.links()).every(({ rtt }) => rtt.from === 'probe') ? true : undefined,
  );
  expect((await link('camera', 'far')).rtt.value).toBeGreaterThanOrEqual(RTT_MS);
  expect((await link('near', 'far')).rtt.value).toBeGreaterThanOrEqual(RTT_MS);
  const [near, far] = [await link('camera', 'near'), await link('camera', 'far')];
  expect(near.rtt.value).toBeLessThan(far.rtt.value);
});

test('a session that must be quick avoids it and says why; one that need not may have it', async () => {
  const plan = async (latency_ms_max: number) => {
    const objective = { fps: 5, latency_ms_max };
    return (await client.createSession({ service: 'tight', source_node: 'camera', dry_run: true, objective })).plan;
  };
  const { rtt } = await link('camera', 'near');
  const quick = await plan(RTT_MS / 2 + rtt.value / 2);
  expect(quick.handlers.find((one) => one.handler_name === 'detect')!.node_name).toBe('near');
  const far = quick.handlers
    .find((one) => one.handler_name === 'detect')!
    .candidates.find((one) => one.node_name === 'far')!;
  expect(far.rejected).toMatch(/^latency/);
  expect(quick.reasons.join('\n')).toMatch(
    /ruled out by latency, camera -> far: round trip \d+\.\d ms, measured by a probe/,
  );
  expect(quick.reasons.join('\n')).toMatch(/camera -> near: round trip \d+\.\d ms, measured by a probe/);
  const slack = (await plan(10_000)).handlers.find((one) => one.handler_name === 'detect')!;
  expect(slack.candidates.find((one) => one.node_name === 'far')!.rejected).toBeUndefined();
});
