import { afterEach, describe, expect, it } from 'vitest';
import { testRegistry } from '../contracts/registry.testing.js';
import { normalizeService } from '../contracts/service.js';
import { CAMERA, EDGE_1, EDGE_2, startTestCluster, type TestCluster, until } from './cluster.testing.js';

let cluster: TestCluster;
afterEach(() => cluster.close());

async function running(): Promise<TestCluster & { id: number }> {
  cluster = await startTestCluster();
  const { session_id } = await cluster.client.createSession({ service: 'faces' });
  await cluster.awaitState(session_id!, 'running');
  return Object.assign(cluster, { id: session_id! });
}

const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error) => [error.code, error.message],
  );

describe('a handler is moved', () => {
  it('warms the new one while the old one runs, and removes the old one when the new one runs everywhere', async () => {
    const { id, client, camera, edge1, edge2, awaitEvent } = await running();
    camera.tell(id, 4, { last_sequence: 41, processed: 42 });
    await cluster.heartbeats(2);
    edge2.holds = true;
    expect((await client.moveHandler(id, { handler: 'detect', node: 'edge-2' })).generation).toBe(2);
    await until('edge-2 makes it', async () => edge2.puts.length > 0);
    await cluster.heartbeats(5);
    expect(edge1.deletes).toEqual([]);
    expect(edge1.sessions.get(id)).toMatchObject({ generation: 1, desired: 'running' });
    expect(camera.sessions.get(id)).toMatchObject({ generation: 2, desired: 'ready' });
    expect((await awaitEvent('session.moving')).message).toBe(`session ${id}: detect edge-1 -> edge-2, warming`);
    edge2.holds = false;
    expect((await awaitEvent('session.moved')).message).toMatch(
      new RegExp(
        `^session ${id}: detect edge-1 -> edge-2 \\| warmed \\d\\.\\d s, switched \\d\\.\\d s later, by sequence 41 at the sink \\| 0 lost, 0 duplicated$`,
      ),
    );
    await until('the old one is removed', async () => edge1.sessions.size === 0);
    const view = await cluster.awaitState(id, 'running');
    expect(view.plan.handlers.map((one) => one.node_name)).toEqual(['camera', 'edge-2', 'camera', 'camera']);
    expect(view.plan.reasons).toContain('detect was moved to edge-2 by hand');
  });

  it('runs on where it was when it cannot be made on the new node', async () => {
    const { id, client, edge1, edge2, awaitEvent } = await running();
    edge2.failed.set(2, 'no such model');
    await client.moveHandler(id, { handler: 2, node: 2 });
    expect((await awaitEvent('session.move_failed')).message).toBe(
      `session ${id}: detect edge-1 -> edge-2 given up: detect on edge-2: no such model; it runs on where it was`,
    );
    const view = await cluster.awaitState(id, 'running');
    expect([view.generation, view.plan.handlers[1]!.node_name]).toEqual([3, 'edge-1']);
    await until('edge-2 is cleared', async () => edge2.sessions.size === 0);
    expect(edge1.deletes).toEqual([]);
    expect(edge1.puts.every((put) => put.desired !== 'stopped')).toBe(true);
  });

  it('runs on where it was when the new node dies while it warms', async () => {
    const { id, client, edge1, edge2, awaitEvent } = await running();
    edge2.holds = true;
    await client.moveHandler(id, { handler: 'detect', node: 'edge-2' });
    await until('edge-2 makes it', async () => edge2.puts.length > 0);
    await edge2.kill();
    expect((await awaitEvent('session.move_failed')).message).toContain('placed again meanwhile');
    const view = await cluster.awaitState(id, 'running');
    expect([view.generation, view.plan.handlers[1]!.node_name]).toEqual([3, 'edge-1']);
    expect(edge1.deletes).toEqual([]);
  });

  it('takes a second move when the first is over, not before', async () => {
    const { id, client, edge2 } = await running();
    edge2.holds = true;
    await client.moveHandler(id, { handler: 'detect', node: 'edge-2' });
    expect(await refusal(client.moveHandler(id, { handler: 'detect', node: 'edge-1' }))).toEqual([
      'MOVE_REFUSED',
      expect.stringContaining('the session is moving, and only a running one can be changed'),
    ]);
    edge2.holds = false;
    await cluster.awaitEvent('session.moved');
    await client.moveHandler(id, { handler: 'detect', node: 'edge-1' });
    const back = await until('it is back', async () => {
      const view = await client.session(id);
      return view.generation === 3 && view.observed === 'running' ? view : view.observed;
    });
    expect(back.plan.handlers[1]!.node_name).toBe('edge-1');
  });

  it('is finished by a coordinator that starts in the middle of it', async () => {
    const { id, client, edge1, edge2, camera } = await running();
    edge2.holds = true;
    await client.moveHandler(id, { handler: 'detect', node: 'edge-2' });
    await until('edge-2 makes it', async () => edge2.puts.length > 0);
    await cluster.restart();
    await cluster.heartbeats(5);
    expect(edge1.sessions.get(id)).toMatchObject({ generation: 1, desired: 'running' });
    edge2.holds = false;
    const view = await cluster.awaitState(id, 'running');
    expect([view.generation, view.plan.handlers[1]!.node_name]).toEqual([2, 'edge-2']);
    await until('the old one is removed', async () => edge1.sessions.size === 0);
    expect(camera.deletes).toEqual([]);
  });

  it('is undone by a coordinator that starts in the middle of it when it cannot be finished', async () => {
    const { id, client, edge1, edge2 } = await running();
    edge2.holds = true;
    await client.moveHandler(id, { handler: 'detect', node: 'edge-2' });
    await until('edge-2 makes it', async () => edge2.puts.length > 0);
    await cluster.restart();
    edge2.failed.set(2, 'no such model');
    const view = await until('it runs where it was', async () => {
      const seen = await cluster.client.session(id);
      return seen.generation === 3 && seen.observed === 'running' ? seen : `${seen.generation} ${seen.observed}`;
    });
    expect(view.plan.handlers[1]!.node_name).toBe('edge-1');
    expect(edge1.deletes).toEqual([]);
    expect((await cluster.awaitEvent('session.replaced')).message).toBe(
      `session ${id}: detect on edge-2: no such model | detect -> edge-1`,
    );
  });

  it('is given up when the session stops', async () => {
    const { id, client, edge2, awaitEvent } = await running();
    edge2.holds = true;
    await client.moveHandler(id, { handler: 'detect', node: 'edge-2' });
    await client.stopSession(id);
    expect((await awaitEvent('session.move_failed')).message).toContain('the session was stopped meanwhile');
    await cluster.awaitState(id, 'stopped');
    for (const node of cluster.nodes) await until('nothing is left', async () => node.sessions.size === 0);
  });
});

it('refuses what cannot move, by name and with the reason', async () => {
  const { id, client, edge2 } = await running();
  const moved = (handler: number | string, node: number | string) => refusal(client.moveHandler(id, { handler, node }));
  expect(await moved('detector', 'edge-2')).toEqual([
    'HANDLER_NOT_FOUND',
    `session ${id} has no handler "detector"; it has 1 capture, 2 detect, 3 draw, 4 render`,
  ]);
  expect((await moved('detect', 'edge-9'))[0]).toBe('NODE_NOT_FOUND');
  expect(await moved('detect', 'edge-1')).toEqual([
    'MOVE_REFUSED',
    `session ${id}: detect is not moved to edge-1: it is there already`,
  ]);
  expect((await moved('capture', 'edge-2'))[1]).toContain(
    'frames come into the session there; start a session with --source-node edge-2',
  );
  expect((await moved('render', 'edge-2'))[1]).toContain('what it has written is on camera');
  expect((await moved('draw', 'edge-2'))[1]).toContain('its service file pins it to the source node');
  expect((await moved('detect', 'camera'))[1]).toContain('compute');
  await edge2.kill();
  await until('edge-2 is lost', async () => (await client.nodes())[2]!.state === 'lost');
  expect((await moved('detect', 'edge-2'))[1]).toContain('the node is lost');
  expect((await client.session(id)).generation).toBe(1);
});

it('refuses a handler that its file pins to a label or to another node', async () => {
  const at = (service_id: number, where: string | number) =>
    normalizeService(
      {
        ...{ service_id, service_name: `pinned ${where}` },
        handlers: [
          { handler_id: 1, handler_name: 'capture', handler_type: 'capture', at: 'source' },
          { handler_id: 2, handler_name: 'detect', handler_type: 'detect_object', at: where },
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
      testRegistry(),
      `${where}.json`,
    );
  cluster = await startTestCluster({ nodes: [CAMERA, EDGE_1, EDGE_2], services: [at(1, 'compute'), at(2, 1)] });
  const { client } = cluster;
  for (const [service, node, why] of [
    ['pinned compute', 'camera', 'pins it to nodes with the label compute'],
    ['pinned 1', 'edge-2', 'pins it to node 1'],
  ] as const) {
    const { session_id } = await client.createSession({ service });
    await cluster.awaitState(session_id!, 'running');
    const [code, message] = await refusal(client.moveHandler(session_id!, { handler: 'detect', node }));
    expect([code, message]).toEqual(['MOVE_REFUSED', expect.stringContaining(why)]);
  }
});
