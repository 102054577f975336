import { afterEach, describe, expect, it } from 'vitest';
import { OrchestratorError } from '../contracts/errors.js';
import { startTestCluster, type TestCluster, type TestClusterOptions, until } from './cluster.testing.js';

let cluster: TestCluster;
afterEach(() => cluster.close());

async function start(options?: TestClusterOptions): Promise<TestCluster> {
  cluster = await startTestCluster(options);
  return cluster;
}

const desiredOf = (node: { puts: { desired: string; generation: number }[] }) =>
  node.puts.map((put) => `${put.generation} ${put.desired}`);

describe('a session', () => {
  it('prepares everywhere before anything runs, and is then left alone', async () => {
    const { client, camera, edge1, edge2, awaitState, heartbeats } = await start();
    const { session_id, plan } = await client.createSession({ service: 'faces' });
    expect(plan.handlers.map((one) => `${one.handler_name} @${one.node_name}`)).toEqual([
      'capture @camera',
      'detect @edge-1',
      'draw @camera',
      'render @camera',
    ]);
    const view = await awaitState(session_id!, 'running');
    expect(view).toMatchObject({ desired: 'running', generation: 1, delivery: 'latest', ended: false });
    expect(view.nodes.map((node) => node.node_name)).toEqual(['camera', 'edge-1']);
    await heartbeats(5);
    expect(desiredOf(camera)).toEqual(['1 ready', '1 running']);
    expect(desiredOf(edge1)).toEqual(['1 ready', '1 running']);
    expect([edge2.puts, edge2.deletes]).toEqual([[], []]);
  });

  it('tells each node its handlers and where to dial the links that come from others', async () => {
    const { client, camera, edge1, awaitState } = await start();
    const { session_id } = await client.createSession({
      ...{ service: 'faces', delivery: 'all', source: 'pics/*.jpg', params: { detect: { thresh: 0.7 } } },
      objective: { fps: 5, latency_ms_max: 900 },
    });
    await awaitState(session_id!, 'running');
    const share = edge1.puts[0]!;
    expect(share).toMatchObject({ node_id: 1, delivery: 'all', latency_ms_max: 900, epoch: 1 });
    expect(share.handlers).toEqual([
      {
        handler_id: 2,
        handler_name: 'detect',
        handler_type: 7,
        params: { model: 'large', targets: ['all'], thresh: 0.7 },
      },
    ]);
    const url = (port: number) => `http://127.0.0.1:${port}`;
    expect(share.links.map((link) => [link.source_handler, link.target_handler, link.source_url])).toEqual([
      [1, 2, url(camera.file.node_port)],
      [2, 3, undefined],
    ]);
    const cameraLinks = camera.puts[0]!.links.map((link) => [
      link.source_handler,
      link.target_handler,
      link.source_url,
    ]);
    expect(cameraLinks).toContainEqual([2, 3, url(edge1.file.node_port)]);
    expect(cameraLinks).toContainEqual([3, 4, undefined]);
    expect(camera.puts[0]!.handlers[0]).toMatchObject({ handler_name: 'capture', params: { source: 'pics/*.jpg' } });
  });

  it('waits for the slowest node before frames flow', async () => {
    const { client, camera, edge1, awaitState, heartbeats } = await start();
    edge1.holds = true;
    const { session_id } = await client.createSession({ service: 'faces' });
    await awaitState(session_id!, 'preparing');
    await heartbeats(3);
    expect(desiredOf(camera)).toEqual(['1 ready']);
    edge1.holds = false;
    await awaitState(session_id!, 'running');
  });

  it('is only prepared when it is not to start, and starts later', async () => {
    const { client, camera, awaitState, heartbeats } = await start();
    const { session_id } = await client.createSession({ service: 'faces', start: false });
    await awaitState(session_id!, 'ready');
    await heartbeats(3);
    expect(desiredOf(camera)).toEqual(['1 ready']);
    await client.startSession(session_id!);
    await awaitState(session_id!, 'running');
    await expect(client.startSession(session_id!)).rejects.toMatchObject({ code: 'SESSION_RUNNING' });
  });

  it('stops from the source down, is removed everywhere, and cannot run again', async () => {
    const { client, camera, edge1, awaitState } = await start();
    const { session_id } = await client.createSession({ service: 'faces' });
    await awaitState(session_id!, 'running');
    await expect(client.deleteSession(session_id!)).rejects.toMatchObject({ code: 'SESSION_RUNNING' });
    camera.drains = true;
    expect((await client.stopSession(session_id!)).observed).toBe('stopping');
    await until('the camera drains', async () => camera.puts.at(-1)?.desired === 'stopped');
    expect(edge1.puts.at(-1)?.desired).toBe('running');
    camera.drains = false;
    const view = await awaitState(session_id!, 'stopped');
    expect(view).toMatchObject({ desired: 'stopped', ended: false });
    expect(edge1.puts.at(-1)?.desired).toBe('stopped');
    await until('nothing is left', async () => cluster.nodes.every((node) => node.sessions.size === 0));
    await expect(client.startSession(session_id!)).rejects.toMatchObject({ code: 'SESSION_STOPPED' });
    expect((await client.stopSession(session_id!)).observed).toBe('stopped');
    await client.deleteSession(session_id!);
    await expect(client.session(session_id!)).rejects.toMatchObject({ code: 'SESSION_NOT_FOUND' });
  });

  it('does not wait for ever for a node that does not drain', async () => {
    const { client, camera, awaitState } = await start();
    const { session_id } = await client.createSession({ service: 'faces' });
    await awaitState(session_id!, 'running');
    camera.drains = true;
    await client.stopSession(session_id!);
    await awaitState(session_id!, 'stopped');
    await until('it is removed', async () => camera.sessions.size === 0);
    expect((await cluster.state.session(session_id!))?.ended?.reason).toContain('did not drain');
  });

  it('ends with its stream, and its last figures stay', async () => {
    const { client, camera, awaitState } = await start();
    const { session_id } = await client.createSession({ service: 'faces' });
    await awaitState(session_id!, 'running');
    camera.tell(session_id!, 4, { ended: true, processed: 42, last_sequence: 41 });
    const view = await awaitState(session_id!, 'stopped');
    expect(view.ended).toBe(true);
    const sink = view.nodes[0]!.observed.handlers.find((one) => one.handler_name === 'render');
    expect(sink?.stats?.processed).toBe(42);
    await until('nothing is left', async () => cluster.nodes.every((node) => node.sessions.size === 0));
    expect(await cluster.state.session(session_id!)).toMatchObject({
      desired: 'stopped',
      ended: { state: 'stopped', reason: 'end of stream' },
    });
  });

  it('fails with the words of the handler, and no half of it is left', async () => {
    const { client, edge1, awaitState } = await start();
    edge1.failed.set(2, 'model large is not there');
    const { session_id } = await client.createSession({ service: 'faces' });
    const view = await awaitState(session_id!, 'failed');
    expect(view.problem).toBe('detect on edge-1: model large is not there');
    await until('nothing is left', async () => cluster.nodes.every((node) => node.sessions.size === 0));
    expect((await cluster.awaitEvent('session.failed')).message).toContain('model large is not there');
  });

  it('fails when a node refuses its share for good, but not when it may take it later', async () => {
    const { client, edge1, awaitState } = await start();
    edge1.refuses = new OrchestratorError('SESSION_REFUSED', 'the node is closing');
    const first = await client.createSession({ service: 'faces' });
    await until('it has been tried twice', async () => edge1.puts.length >= 2);
    expect((await client.session(first.session_id!)).problem).toBe('edge-1: the node is closing');
    edge1.refuses = null;
    const view = await awaitState(first.session_id!, 'running');
    expect(view.problem).toBeUndefined();
    edge1.refuses = new OrchestratorError('SOURCE_FORBIDDEN', '/etc is not allowed');
    const second = await client.createSession({ service: 'faces' });
    expect((await awaitState(second.session_id!, 'failed')).problem).toBe('edge-1: /etc is not allowed');
  });

  it('tells when a host was restarted', async () => {
    const { client, edge1, awaitState } = await start();
    const { session_id } = await client.createSession({ service: 'faces' });
    await awaitState(session_id!, 'running');
    edge1.lastExit = 'the handler host was killed';
    edge1.restarts = 1;
    const event = await cluster.awaitEvent('handler.restarted');
    expect(event).toMatchObject({ node_id: 1, handler_id: 2 });
    expect(event.message).toBe('session 1: detect on edge-1 was restarted (1): the handler host was killed');
  });

  it('runs a static template where it stands', async () => {
    const { client, camera, awaitState } = await start();
    const { session_id } = await client.createSession({ service: 2 });
    await awaitState(session_id!, 'running');
    expect(camera.puts[0]!.handlers.map((one) => one.handler_name)).toEqual(['capture', 'render']);
  });
});

describe('a restart of the coordinator', () => {
  it('takes the running session over without a word more than its epoch', async () => {
    const { client, camera, edge1, awaitState } = await start();
    const { session_id } = await client.createSession({ service: 'faces' });
    await awaitState(session_id!, 'running');
    const before = structuredClone(edge1.puts.at(-1)!);
    await cluster.restart();
    await until('the new epoch is known', async () => edge1.epoch === 2 && camera.epoch === 2);
    await awaitState(session_id!, 'running');
    await cluster.heartbeats(3);
    expect(edge1.puts.at(-1)).toEqual({ ...before, epoch: 2 });
    expect(edge1.puts.length).toBe(3);
    expect([...edge1.deletes, ...camera.deletes]).toEqual([]);
  });

  it('goes on with a stop that was under way, and removes what nobody knows', async () => {
    const { client, camera, edge1, awaitState } = await start();
    const first = await client.createSession({ service: 'faces' });
    const second = await client.createSession({ service: 'faces' });
    await awaitState(first.session_id!, 'running');
    await awaitState(second.session_id!, 'running');
    camera.drains = true;
    await client.stopSession(first.session_id!);
    await cluster.client.close();
    await cluster.coordinator.close();
    camera.drains = false;
    await cluster.state.deleteSession(second.session_id!);
    await cluster.restart();
    await awaitState(first.session_id!, 'stopped');
    await until('nothing is left', async () => camera.sessions.size === 0 && edge1.sessions.size === 0);
  });

  it('places again what was lost while it was away', async () => {
    const { client, edge1, awaitState } = await start();
    const { session_id } = await client.createSession({ service: 'faces' });
    await awaitState(session_id!, 'running');
    await cluster.coordinator.close();
    await edge1.kill();
    await cluster.restart();
    const view = await until('generation 2', async () => {
      const seen = await cluster.client.session(session_id!);
      return seen.generation === 2 && seen.observed === 'running' ? seen : seen.observed;
    });
    expect(view.plan.handlers[1]?.node_name).toBe('edge-2');
  });

  it('gets past the epoch that nodes have seen under a store that was lost', async () => {
    const { edge1 } = await start();
    edge1.epoch = 40;
    await cluster.restart();
    expect(cluster.coordinator.epoch).toBe(41);
  });

  it('touches nothing on a node that has seen a newer coordinator', async () => {
    const { client, edge1 } = await start();
    edge1.epoch = 40;
    await cluster.heartbeats(2);
    const { session_id } = await client.createSession({ service: 'faces' });
    const view = await until('the problem', async () => {
      const seen = await client.session(session_id!);
      return seen.problem === undefined ? false : seen;
    });
    expect(view.problem).toContain('edge-1 has seen epoch 40, this coordinator has 1');
    expect(edge1.puts).toEqual([]);
  });
});
