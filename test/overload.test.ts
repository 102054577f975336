/**
 * Story 7 with real processes: other programs take the cores, a session falls to a cheaper model, and rises again after.
 * By `npm run test:overload` only: it needs the machine for itself, and would fail whatever runs beside it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { awaitRunning } from '../src/main/session-wait.js';
import { eventually, NODES, sinkSequence, startSystem, type TestSystem } from './support/system.js';

const LARGE = { name: 'large', params: { model: 'ssd_mobilenetv1' }, accuracy: 0.96, cost: { cpu_ms: 60 } };
const SMALL = { name: 'small', params: { model: 'tiny_face_detector' }, accuracy: 0.9, cost: { cpu_ms: 10 } };
const handler = (handler_id: number, handler_name: string, at: string, more: object = {}) => ({
  ...{ handler_id, handler_name, handler_type: handler_name, at },
  ...more,
});

const SERVICE = {
  ...{ service_id: 1, service_name: 'faces' },
  handlers: [
    handler(1, 'capture', 'source', { params: { fps: 4, source: '.' } }),
    handler(2, 'encode', 'source'),
    handler(3, 'decode', 'compute'),
    handler(4, 'detect', 'compute', { handler_type: 'detect_face', alternatives: [LARGE, SMALL] }),
    handler(5, 'draw', 'source', { handler_type: 'draw_boxes' }),
    handler(6, 'render', 'source', { params: { boxes: true, write_frames: false } }),
  ],
  links: [
    ...[1, 2, 3, 5].map((source_handler) => ({ source_handler, target_handler: source_handler + 1 })),
    ...[4, 1].map((source_handler) => ({
      source_handler,
      target_handler: 5,
      target_input: source_handler === 4 ? 1 : 0,
    })),
  ],
};

/** Until a session has fallen or risen: the loop wants 10 s of load, or a minute of calm. */
const CHANGE_MS_MAX = 240_000;

let system: TestSystem;
let others: ChildProcess[] = [];

const isAsked = process.env.ORCHESTRATOR_OVERLOAD !== undefined;

beforeAll(async () => {
  if (!isAsked) return;
  const nodes = NODES.filter(({ node_type }) => node_type !== 'cloud').map((node) =>
    node.node_type === 'edge' ? { ...node, labels: ['compute'] } : node,
  );
  system = await startSystem({ services: [SERVICE], nodes });
});

afterEach(() => {
  for (const one of others) one.kill('SIGKILL');
});

afterAll(async () => {
  await system?.close();
});

test.runIf(isAsked)(
  'falls to a cheaper model while others take the cores, and rises after',
  async () => {
    const { coordinator } = system;
    const source = { source: system.pictures('loop', 6), source_node: 0, params: { capture: { loop: true } } };
    const objective = { fps: 4, accuracy_min: 0.8 };
    const { session_id, plan } = await coordinator.createSession({ service: 'faces', ...source, objective });
    const id = session_id!;
    expect(plan.handlers[3]!.alternative).toBe('large');
    await awaitRunning(coordinator, id);
    const changed = (from: string, to: string) =>
      eventually(
        `detect ${from} -> ${to}`,
        async () => {
          const events = await coordinator.events({ session_id: id });
          return events.find(
            (one) => one.kind === 'session.moved' && one.message.includes(`detect (${from} -> ${to})`),
          );
        },
        CHANGE_MS_MAX,
      );
    await eventually('some seconds of frames', async () =>
      sinkSequence(await coordinator.session(id)) > 40 ? true : undefined,
    );

    others = Array.from({ length: 4 * availableParallelism() }, () => spawn(process.execPath, ['-e', 'for (;;);']));
    const fallen = await changed('large', 'small');
    expect(fallen.message).toMatch(
      /: to hold 4 fps \| detect \(large -> small\) -> edge \| accuracy 0\.960 -> 0\.900 \| warmed .* lost, 0 duplicated$/,
    );
    expect((await coordinator.nodes()).find(({ node_id }) => node_id === 1)!.slowness).toBeGreaterThan(1);

    for (const one of others) one.kill('SIGKILL');
    const risen = await changed('small', 'large');
    expect(risen.message).toMatch(
      /: improved in calm \| detect \(small -> large\) -> edge \| accuracy 0\.900 -> 0\.960/,
    );
    const kinds = (await coordinator.events({ node_id: 1 })).map(({ kind }) => kind);
    expect(kinds).toEqual(expect.arrayContaining(['node.slow', 'node.usual']));
    const reached = sinkSequence(await coordinator.session(id));
    await eventually('frames go on', async () =>
      sinkSequence(await coordinator.session(id)) > reached + 3 ? true : undefined,
    );
  },
  3 * CHANGE_MS_MAX,
);
