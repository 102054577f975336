/** Fake nodes, a coordinator on an in-memory store, and a client, for tests that go the whole way over HTTP. */
import { type CoordinatorClient, createCoordinatorClient } from '../client/coordinator-client.js';
import type { OrchestratorEvent } from '../contracts/event.js';
import { testRegistry } from '../contracts/registry.testing.js';
import { normalizeService, type Service } from '../contracts/service.js';
import type { SessionState, SessionView } from '../contracts/session.js';
import { systemClock } from '../std/clock.js';
import { silentLogger } from '../std/logger.js';
import { MemoryStateStore } from '../store/memory/memory-state-store.js';
import { type Coordinator, createCoordinator } from './coordinator.js';
import { FakeNode, type FakeNodeOptions } from './fake-node.testing.js';
import type { CoordinatorOptions } from './options.js';

const types = testRegistry();

/** camera: capture, draw, render; detect on a node that has the label `compute`. */
export const FACES = normalizeService(
  {
    service_id: 1,
    service_name: 'faces',
    handlers: [
      { handler_id: 1, handler_name: 'capture', handler_type: 'capture', at: 'source' },
      {
        ...{ handler_id: 2, handler_name: 'detect', handler_type: 'detect_object', require: { label: 'compute' } },
        cost: { cpu_ms: 20 },
        alternatives: [
          { name: 'large', params: { model: 'large' }, accuracy: 0.95, cost: { cpu_ms: 40 } },
          { name: 'small', params: { model: 'small' }, accuracy: 0.9, cost: { cpu_ms: 5 } },
        ],
      },
      { handler_id: 3, handler_name: 'draw', handler_type: 'draw_boxes', at: 'source' },
      { handler_id: 4, handler_name: 'render', handler_type: 'render', at: 'source' },
    ],
    links: [
      { source_handler: 1, source_output: 0, target_handler: 2, target_input: 0 },
      { source_handler: 1, source_output: 0, target_handler: 3, target_input: 0 },
      { source_handler: 2, source_output: 0, target_handler: 3, target_input: 1 },
      { source_handler: 3, source_output: 0, target_handler: 4, target_input: 0 },
    ],
  },
  types,
  'faces.json',
);

/** The reference's kind: every handler on the node that the file names. */
export const LOCAL = normalizeService(
  {
    service_id: 2,
    service_name: 'local_render',
    template: [
      {
        node_id: 0,
        blueprint: {
          handlers: [
            { handler_id: 1, handler_name: 'capture', handler_type: 'Capture', params: {} },
            { handler_id: 2, handler_name: 'render', handler_type: 'Render', params: {} },
          ],
          links: [{ source_handler: 1, source_output: 0, target_handler: 2, target_input: 0 }],
        },
      },
    ],
  },
  types,
  'local_render.json',
);

export const CAMERA: FakeNodeOptions = { node_id: 0, node_name: 'camera', node_type: 'client' };
export const EDGE_1: FakeNodeOptions = {
  ...{ node_id: 1, node_name: 'edge-1', labels: ['compute'] },
  facts: { speed: 2 },
};
export const EDGE_2: FakeNodeOptions = { node_id: 2, node_name: 'edge-2', labels: ['compute'] };

export interface TestCluster {
  readonly nodes: readonly FakeNode[];
  readonly camera: FakeNode;
  readonly edge1: FakeNode;
  readonly edge2: FakeNode;
  readonly state: MemoryStateStore;
  coordinator: Coordinator;
  client: CoordinatorClient;
  /** Bounded wait for an observed state. */
  awaitState(sessionId: number, state: SessionState): Promise<SessionView>;
  awaitEvent(kind: string): Promise<OrchestratorEvent>;
  /** Resolves when every living node has been asked so often from now on. */
  heartbeats(count: number): Promise<void>;
  /** Another coordinator on the same store, after the first one has gone. */
  restart(options?: Partial<CoordinatorOptions>): Promise<void>;
  close(): Promise<void>;
}

export interface TestClusterOptions {
  readonly nodes?: readonly FakeNodeOptions[];
  readonly services?: readonly Service[];
  readonly coordinator?: Partial<CoordinatorOptions>;
  readonly down?: readonly number[];
}

export async function startTestCluster(given: TestClusterOptions = {}): Promise<TestCluster> {
  const nodes = (given.nodes ?? [CAMERA, EDGE_1, EDGE_2]).map((options) => new FakeNode(options));
  for (const node of nodes) await node.start();
  const files = nodes.map((node) => node.file);
  for (const node of nodes) if (given.down?.includes(node.options.node_id)) await node.kill();
  const state = new MemoryStateStore();
  const { services = [FACES, LOCAL] } = given;

  const start = (more: Partial<CoordinatorOptions> = {}) =>
    createCoordinator({
      ...{ host: '127.0.0.1', port: 0, token: null, nodes: files, services, types, state, telemetry: null },
      ...{ clock: systemClock(), logger: silentLogger },
      ...given.coordinator,
      ...more,
      bounds: {
        // Short periods; a time-out that a busy test machine does not reach by itself.
        ...{
          heartbeatPeriodMs: 20,
          hurryPeriodMs: 10,
          greetingMs: 0,
          hungTimeoutMs: 0,
          heartbeatTimeoutMs: 5_000,
          unknownGraceMs: 50,
          linkProbePeriodMs: 0,
          planPeriodMs: 20,
        },
        ...{ suspendedRetryMs: 100, stopTimeoutMs: 300 },
        ...given.coordinator?.bounds,
        ...more.bounds,
      },
    });
  const connect = (url: string) => createCoordinatorClient({ url, token: given.coordinator?.token ?? null });

  const coordinator = await start();
  const cluster: TestCluster = {
    ...{ nodes, state, coordinator, client: connect(coordinator.address.url) },
    ...{ camera: nodes[0]!, edge1: nodes[1]!, edge2: nodes[2]! },
    awaitState: (sessionId, wanted) =>
      until(`session ${sessionId} ${wanted}`, async () => {
        const view = await cluster.client.session(sessionId);
        return view.observed === wanted ? view : `${view.observed} ${view.problem ?? ''}`;
      }),
    awaitEvent: (kind) =>
      until(kind, async () => {
        const events = await cluster.client.events();
        return events.findLast((event) => event.kind === kind) ?? events.map((event) => event.message).join('\n');
      }),
    async heartbeats(count) {
      const living = nodes.filter((node) => node.isListening && !node.silent);
      const before = living.map((node) => node.heartbeats);
      await until('heartbeats', async () => living.every((node, at) => node.heartbeats >= before[at]! + count));
    },
    async restart(more) {
      await cluster.client.close();
      await cluster.coordinator.close();
      cluster.coordinator = await start(more);
      cluster.client = connect(cluster.coordinator.address.url);
    },
    async close() {
      await cluster.client.close();
      await cluster.coordinator.close();
      for (const node of nodes) await node.kill();
    },
  };
  // The quickest of several round trips counts: with one, a busy machine makes a node look far away.
  if (given.coordinator?.bounds?.heartbeatPeriodMs === undefined) await cluster.heartbeats(5);
  return cluster;
}

const WAIT_MS_MAX = 20_000;
const POLL_MS = 5;

/** Polls until `look` gives something that is neither false nor text (text: what it saw instead, for the message). */
export async function until<T>(what: string, look: () => Promise<T | string | false>): Promise<T> {
  const deadline = performance.now() + WAIT_MS_MAX;
  for (;;) {
    const seen = await look();
    if (seen !== false && typeof seen !== 'string') return seen;
    if (performance.now() > deadline) throw new Error(`waited ${WAIT_MS_MAX} ms for ${what}; last: ${seen}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
