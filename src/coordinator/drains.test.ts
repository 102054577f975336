import { afterEach, describe, expect, it } from 'vitest';
import type { NodeDrain } from '../contracts/drain.js';
import type { HandlerStats } from '../contracts/node.js';
import { CAMERA, EDGE_1, EDGE_2, startTestCluster, type TestCluster, until } from './cluster.testing.js';

let cluster: TestCluster;
afterEach(() => cluster.close());

async function running(count: number, options?: Parameters<typeof startTestCluster>[0]): Promise<number[]> {
  cluster = await startTestCluster(options);
  const ids: number[] = [];
  for (let made = 0; made < count; made++) {
    const { session_id } = await cluster.client.createSession({ service: 'faces' });
    await cluster.awaitState(session_id!, 'running');
    ids.push(session_id!);
  }
  return ids;
}

const drained = (nodeId: number): Promise<NodeDrain> =>
  until(`node ${nodeId} is drained`, async () => {
    const drain = (await cluster.client.nodes()).find(({ node_id }) => node_id === nodeId)!.drain;
    return drain?.state === 'drained' ? drain : JSON.stringify(drain);
  });

const placesOf = async (id: number) =>
  (await cluster.client.session(id)).plan.handlers.map((one) => `${one.handler_name} @${one.node_name}`);

const ENDS = [
  { handler_id: 1, handler_name: 'capture', reason: 'frames come into the session there' },
  { handler_id: 3, handler_name: 'draw', reason: 'its service file pins it to the source node' },
  {
    handler_id: 4,
    handler_name: 'render',
    reason: 'frames leave the session there, and what it has written is on camera',
  },
];

describe('a node is drained', () => {
  it('by live moves, counts what the sinks took meanwhile, and is used again after', async () => {
    const [first, second] = await running(2);
    expect(await placesOf(first!)).toContain('detect @edge-1');
    const sink = (id: number, stats: Partial<HandlerStats>) => cluster.camera.tell(id, 4, stats);
    sink(first!, { last_sequence: 9, processed: 10 });
    sink(second!, { last_sequence: 9, processed: 10 });
    await cluster.heartbeats(2);
    cluster.edge2.holds = true;
    const begun = await cluster.client.drainNode('edge-1');
    expect(begun.drain).toMatchObject({ state: 'draining', left: 2, stays: [], moved_handlers: 0 });
    await until('edge-2 makes both', async () => new Set(cluster.edge2.puts.map((put) => put.session_id)).size === 2);
    expect(cluster.edge1.deletes).toEqual([]);
    expect((await cluster.client.nodes())[1]!.drain).toMatchObject({ state: 'draining', left: 2 });
    sink(first!, { last_sequence: 19, processed: 18, drops_seen: { 'queue 2': 1, skipped: 1 } });
    sink(second!, { last_sequence: 19, processed: 21 });
    cluster.edge2.holds = false;
    expect(await drained(1)).toMatchObject({
      ...{ left: 0, stays: [], moved_handlers: 2, moved_sessions: 2, lost: 1, duplicated: 1, uncounted: [] },
    });
    expect((await cluster.awaitEvent('node.drained')).message).toBe(
      'edge-1 drained | moved 2 handlers of 2 sessions: 1 lost, 1 duplicated',
    );
    for (const id of [first!, second!]) expect(await placesOf(id)).toContain('detect @edge-2');
    const moved = (await cluster.client.events({ session_id: first! })).find(({ kind }) => kind === 'session.moved');
    expect(moved!.message).toMatch(/leaves a drained node \| detect -> edge-2 \| warmed .* \| 1 lost, 0 duplicated$/);

    const { plan } = await cluster.client.createSession({ service: 'faces', dry_run: true });
    expect(plan.handlers[1]!.node_name).toBe('edge-2');
    expect(plan.handlers[1]!.candidates.find((one) => one.node_name === 'edge-1')!.rejected).toBe('drained');
    const move = cluster.client.moveHandler(first!, { handler: 'detect', node: 'edge-1' });
    await expect(move).rejects.toMatchObject({ code: 'MOVE_REFUSED', message: expect.stringContaining('is drained') });
    expect((await cluster.client.undrainNode(1)).drain).toBeNull();
    const again = await cluster.client.createSession({ service: 'faces', dry_run: true });
    expect(again.plan.handlers[1]!.node_name).toBe('edge-1');
  });

  it('leaves what cannot move, by name, and takes no new session there', async () => {
    const [id] = await running(1);
    await cluster.client.drainNode('camera');
    const { moved_handlers, stays } = await drained(0);
    expect(moved_handlers).toBe(0);
    expect(stays).toEqual(ENDS.map((one) => ({ session_id: id, ...one })));
    await cluster.heartbeats(5);
    expect(await cluster.client.session(id!)).toMatchObject({ generation: 1, observed: 'running' });
    const fresh = cluster.client.createSession({ service: 'faces' });
    await expect(fresh).rejects.toMatchObject({ code: 'SESSION_REFUSED', message: expect.stringContaining('drained') });
  });

  it('still moves the rest of a session whose camera is on a drained node', async () => {
    const [id] = await running(1);
    await cluster.client.drainNode('camera');
    await drained(0);
    await cluster.client.drainNode('edge-1');
    await drained(1);
    expect(await placesOf(id!)).toEqual(['capture @camera', 'detect @edge-2', 'draw @camera', 'render @camera']);
    await cluster.edge2.kill();
    await cluster.awaitEvent('session.suspended');
    await cluster.client.undrainNode('edge-1');
    await cluster.awaitState(id!, 'running');
    expect(await placesOf(id!)).toContain('detect @edge-1');
  });

  it('says what binds where there is no room', async () => {
    const [id] = await running(1, { nodes: [CAMERA, EDGE_1, { ...EDGE_2, facts: { mem_mb: 1, mem_free_mb: 1 } }] });
    await cluster.client.drainNode('edge-1');
    const { stays } = await drained(1);
    expect(stays).toEqual([
      {
        ...{ session_id: id, handler_id: 2, handler_name: 'detect' },
        reason: 'memory of edge-2: 64 MiB needed > 1 MiB in all',
      },
    ]);
    expect(await cluster.client.session(id!)).toMatchObject({ generation: 1, observed: 'running' });
  });

  it('stays drained over a restart of the coordinator, which goes on', async () => {
    const [id] = await running(1);
    cluster.edge2.holds = true;
    await cluster.client.drainNode('edge-1');
    await until('edge-2 makes it', async () => cluster.edge2.puts.length > 0);
    await cluster.restart();
    expect((await cluster.client.nodes())[1]!.drain).toMatchObject({ state: 'draining' });
    cluster.edge2.holds = false;
    await drained(1);
    expect(await placesOf(id!)).toContain('detect @edge-2');
    expect(await cluster.state.drained()).toMatchObject([{ node_id: 1 }]);
  });

  it('does not try a move again at once that could not be made', async () => {
    const [id] = await running(1);
    cluster.edge2.failed.set(2, 'no such model');
    await cluster.client.drainNode('edge-1');
    await cluster.awaitEvent('session.move_failed');
    const { stays } = await drained(1);
    expect(stays[0]!.reason).toBe('its move failed: detect on edge-2: no such model');
    await cluster.heartbeats(10);
    expect((await cluster.client.session(id!)).generation).toBe(3);
  });
});

it('knows the nodes by id and name only', async () => {
  await running(0);
  await expect(cluster.client.drainNode('edge-9')).rejects.toMatchObject({ code: 'NODE_NOT_FOUND' });
  await expect(cluster.client.undrainNode(7)).rejects.toMatchObject({ code: 'NODE_NOT_FOUND' });
});
