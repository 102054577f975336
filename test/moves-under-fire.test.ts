/** Real processes die in the middle of a live move: under `all` every sequence reaches the sink once, whoever it was. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { awaitRunning, awaitSession } from '../src/main/session-wait.js';
import { wholeJournal } from './support/fault-system.js';
import { eventually, handlersOf, sinkSequence, startSystem, type TestSystem } from './support/system.js';

const SERVICE = {
  service_id: 1,
  service_name: 'fire',
  handlers: ['capture', 'encode', 'decode', 'render'].map((type, index) => ({
    ...{ handler_id: index + 1, handler_name: type, handler_type: type, cost: { cpu_ms: 1, mem_mb: 20 } },
    ...(type === 'decode' ? { require: { label: 'work' } } : { at: 'source' }),
    params: {
      ...(type === 'capture' ? { fps: 5, source: '.', loop: true, width: 160 } : {}),
      ...(type === 'render' ? { boxes: true, write_frames: false } : {}),
    },
  })),
  links: [1, 2, 3].map((source_handler) => ({ source_handler, target_handler: source_handler + 1 })),
};
const WORK = { node_type: 'edge', labels: ['work'] } as const;
/** Sequences at the sink after which frames are said to flow. */
const PROGRESS = 8;

let system: TestSystem;
let id: number;

beforeAll(async () => {
  system = await startSystem({
    services: [SERVICE],
    nodes: [
      { node_id: 0, node_name: 'camera', node_type: 'client' },
      { node_id: 1, node_name: 'edge-1', ...WORK },
      { node_id: 2, node_name: 'edge-2', ...WORK },
    ],
  });
  const request = { service: 'fire', delivery: 'all', source: system.pictures('fire', 6), source_node: 0 } as const;
  id = (await system.coordinator.createSession(request)).session_id!;
  await awaitRunning(system.coordinator, id);
});

afterAll(async () => {
  await system?.close();
});

const view = () => system.coordinator.session(id);

async function flows(what: string): Promise<void> {
  const from = await eventually(`a running session ${what}`, async () => {
    const session = await view().catch(() => null);
    return session?.observed === 'running' ? sinkSequence(session) : undefined;
  });
  await eventually(`frames ${what}`, async () => (sinkSequence(await view()) >= from + PROGRESS ? true : undefined));
}

/** Orders the move of `decode` to the other node; answers where it was and where it goes. */
async function move() {
  const session = await view();
  const old = handlersOf(session).find(({ handler_name }) => handler_name === 'decode')!;
  const target = 3 - old.node_id;
  // Frames may flow again before the move of the test before is over.
  let refusal = 'none';
  await eventually('a move that is taken on', () =>
    system.coordinator.moveHandler(id, { handler: 'decode', node: target }).then(
      () => true,
      (error: Error) => {
        refusal = error.message;
        return undefined;
      },
    ),
  ).catch((error: Error) => {
    throw new Error(`${error.message}; refused: ${refusal}`);
  });
  return { old, target: system.nodes[target]! };
}

test('a coordinator that is started again touches nothing that is right', { timeout: 120_000 }, async () => {
  await flows('at first');
  const identity = async () => {
    const session = await view();
    const hosts = handlersOf(session).map(({ handler_id, node_id, pid, restarts }) => [
      handler_id,
      node_id,
      pid,
      restarts,
    ]);
    return { generation: session.generation, plan: session.plan, hosts };
  };
  const before = await identity();
  const epochBefore = Math.max(...(await view()).nodes.map(({ observed }) => observed.epoch));
  const { daemon } = system.controllers.coordinators[0]!;
  daemon.kill();
  await daemon.restart();
  await eventually('every node has seen the new epoch', async () => {
    const session = await view();
    return session.nodes.every(({ observed }) => observed.epoch > epochBefore) ? true : undefined;
  });
  await flows('after the restart');
  expect(await identity()).toEqual(before);
});

test.for(['the old host', 'the coordinator', 'the new agent and its hosts', 'the old agent and its hosts'] as const)(
  'all: %s is killed while a handler moves',
  { timeout: 120_000 },
  async (victim) => {
    await flows('before the move');
    const { old, target } = await move();
    if (victim === 'the old host') process.kill(old.pid!, 'SIGKILL');
    else {
      const oldAgent = system.nodes[old.node_id]!;
      const daemon = {
        'the coordinator': system.controllers.coordinators[0]!.daemon,
        'the new agent and its hosts': target.daemon,
        'the old agent and its hosts': oldAgent.daemon,
      }[victim];
      daemon.killGroup();
      await daemon.restart();
    }
    await flows(`after ${victim} was killed`);
    wholeJournal(system, id);
  },
);

test('what the sink has written is whole when the session has ended', { timeout: 120_000 }, async () => {
  await system.coordinator.stopSession(id);
  await awaitSession(system.coordinator, id, ({ observed }) => observed === 'stopped');
  const lines = system.journal(id);
  expect(lines.map(({ sequence }) => sequence)).toEqual(lines.map((_, index) => index));
  expect(lines.filter(({ dropped }) => dropped !== undefined)).toEqual([]);
});
