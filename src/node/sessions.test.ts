import { expect, test } from 'vitest';
import type { NodeSession } from '../contracts/blueprint.js';
import { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { ObservedSession } from '../contracts/node.js';
import { HANDLER_MANIFESTS } from '../handlers/index.js';
import { handler, isAlive, share, startAgent, type TestAgent, until, untilState } from './agent.testing.js';

const pids = (session: ObservedSession) => session.handlers.map((one) => one.pid);
const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error) => error.code,
  );

const link = (source_handler: number, target_handler: number) => ({
  ...{ source_handler, source_output: 0, target_handler, target_input: 0, source_node: 1, target_node: 1 },
});

interface Told {
  readonly type: string;
  readonly config?: { handlers: { handler_id: number; resume_after: number }[]; links: Record<string, unknown>[] };
}

/** What the host was told, but for the time. */
async function told(agent: TestAgent, handler_id: number): Promise<Told[]> {
  const answer = await fetch(`${agent.url}/v1/sessions/5/handlers/${handler_id}/pages/told`);
  const body = await answer.text();
  expect(answer.status, body).toBe(200);
  return (JSON.parse(body) as Told[]).filter((one) => one.type !== 'clock');
}

test('a session is prepared, runs, and is gone after delete', async () => {
  const agent = await startAgent();
  const first = await agent.client.putSession(share({ desired: 'ready' }));
  expect(first.state).toBe('preparing');
  const ready = await untilState(agent, 5, 'ready');
  const [capture, resize, detect, render] = pids(ready);
  expect(resize).toBe(detect);
  expect(render).toBe(detect);
  expect(capture).not.toBe(detect);
  await agent.client.putSession(share({ desired: 'running' }));
  const running = await untilState(agent, 5, 'running');
  expect(pids(running)).toEqual(pids(ready));
  await until(async () => (await agent.client.listSessions())[0]?.handlers[0]?.stats, 'stats of a pong');
  const heartbeat = await agent.client.heartbeat();
  expect(heartbeat).toMatchObject({ epoch: 1, facts: { node_id: 1, cpu_cores: 2, speed: 1 } });
  expect(heartbeat.sessions).toHaveLength(1);
  expect(await agent.client.deleteSession(5, 1)).toBe(true);
  await until(async () => (await agent.client.listSessions()).length === 0, 'session removed');
  expect(pids(running).some((pid) => isAlive(pid!))).toBe(false);
  expect(await agent.client.deleteSession(5, 1)).toBe(false);
});

test('hosts on this node dial the socket of the host that feeds them; other nodes are dialled by HTTP', async () => {
  const agent = await startAgent();
  const links = share().links.map((link) =>
    link.source_handler === 1 ? { ...link, source_node: 2, source_url: 'http://10.0.0.2:9000' } : link,
  );
  const handlers = [handler(2, 4), handler(3, 7), handler(4, 3), handler(6, 2), handler(7, 7)];
  const more = {
    source_handler: 6,
    source_output: 0,
    target_handler: 7,
    target_input: 0,
    source_node: 1,
    target_node: 1,
  };
  await agent.client.putSession(share({ handlers, links: [...links, more] }));
  await untilState(agent, 5, 'running');
  const [configured] = await told(agent, 3);
  expect(configured?.config?.links).toMatchObject([
    { source_handler: 1, dial: { kind: 'http', url: 'http://10.0.0.2:9000' } },
    { source_handler: 2 },
    { source_handler: 3 },
  ]);
  expect(configured?.config?.links[1]).not.toHaveProperty('dial');
  const [other] = await told(agent, 7);
  expect(other?.config?.links).toMatchObject([{ source_handler: 6, dial: { kind: 'unix' } }]);
  const [source] = await told(agent, 6);
  expect(source?.config?.links[0]).not.toHaveProperty('dial');
});

test('a changed plan leaves unchanged hosts running and only gives them new links', async () => {
  const agent = await startAgent();
  await agent.client.putSession(share());
  const before = await untilState(agent, 5, 'running');
  // detect 3 with its neighbours moves to node 2: its host ends, capture goes on
  const moved = share({ generation: 2, handlers: [handler(1, 2)] });
  const links = moved.links.slice(0, 1).map((link) => ({ ...link, target_node: 2 }));
  await agent.client.putSession({ ...moved, links });
  const after = await until(async () => {
    const session = (await agent.client.listSessions())[0]!;
    return session.generation === 2 && session.state === 'running' ? session : undefined;
  }, 'generation 2 running');
  expect(pids(after)).toEqual([before.handlers[0]!.pid]);
  expect(isAlive(before.handlers[2]!.pid!)).toBe(false);
  const configured = (await told(agent, 1)).filter((one) => one.type === 'configure');
  expect(configured).toHaveLength(2);
  expect(configured[1]?.config?.links).toMatchObject([{ target_handler: 2, target_node: 2 }]);
});

/** capture 1 -> detect 3 -> render 4, each in its own host. */
const apart = (given: Partial<NodeSession>, params: Record<string, unknown> = {}) =>
  share({
    handlers: [handler(1, 2), handler(3, 7, params), handler(4, 8)],
    links: [link(1, 3), link(3, 4)],
    ...given,
  });

test('while frames flow, a changed plan is made by `ready` and switched by `running`', async () => {
  const agent = await startAgent();
  await agent.client.putSession(apart({}));
  const before = await untilState(agent, 5, 'running');
  const [source, old, sink] = pids(before);
  await agent.client.putSession(apart({ generation: 2, desired: 'ready' }, { a: 1 }));
  const made = await untilState(agent, 5, 'ready');
  expect(made.generation).toBe(2);
  expect(made.handlers.map((one) => one.state)).toEqual(['running', 'ready', 'running']);
  const fresh = made.handlers[1]!.pid;
  expect(fresh).not.toBe(old);
  expect(isAlive(old!)).toBe(true);
  expect((await told(agent, 4)).filter((one) => one.type === 'configure')).toHaveLength(1);
  await agent.client.putSession(apart({ generation: 2, desired: 'running' }, { a: 1 }));
  const after = await untilState(agent, 5, 'running');
  expect(pids(after)).toEqual([source, fresh, sink]);
  await until(() => !isAlive(old!), 'old host ended');
  const dials = (await told(agent, 4))
    .filter((one) => one.type === 'configure')
    .map((one) => one.config!.links[0]!.dial);
  expect(dials).toHaveLength(2);
  expect(dials[1]).not.toEqual(dials[0]);
});

test('the successor of a sink starts when the sink has ended', async () => {
  const agent = await startAgent();
  await agent.client.putSession(share());
  const before = await untilState(agent, 5, 'running');
  await agent.client.putSession(share({ generation: 2, desired: 'ready' }, { 4: { a: 1 } }));
  const after = await untilState(agent, 5, 'ready');
  expect(pids(after)[3]).not.toBe(pids(before)[3]);
  expect(isAlive(pids(before)[3]!)).toBe(false);
  expect(pids(after)[0]).toBe(pids(before)[0]);
});

test('a stopped session still tells what its handlers told last', async () => {
  const agent = await startAgent();
  await agent.client.putSession(share());
  await untilState(agent, 5, 'running');
  await agent.client.putSession(share({ desired: 'stopped' }));
  const stopped = await untilState(agent, 5, 'stopped');
  expect(stopped.handlers.map((one) => one.stats?.received)).toEqual([7, 7, 7, 7]);
  expect(pids(stopped)).toEqual([null, null, null, null]);
});

test('older epochs and generations are refused', async () => {
  const agent = await startAgent();
  const put = (epoch: number, generation: number) => code(agent.client.putSession(share({ epoch, generation })));
  expect(await put(2, 5)).toBe('no error');
  expect(await put(2, 5)).toBe('no error');
  expect(await put(2, 4)).toBe('SESSION_STALE');
  expect(await put(1, 9)).toBe('SESSION_STALE');
  expect(await code(agent.client.deleteSession(5, 1))).toBe('SESSION_STALE');
  expect(await put(3, 1)).toBe('no error');
  // the epoch holds for the whole node
  expect(await code(agent.client.putSession(share({ session_id: 6, epoch: 2 })))).toBe('SESSION_STALE');
  expect((await agent.client.heartbeat()).epoch).toBe(3);
});

test('a request overtaken by the removal of its session does not revive it', async () => {
  const agent = await startAgent();
  await agent.client.putSession(share({ generation: 3 }));
  await untilState(agent, 5, 'running');
  await agent.client.deleteSession(5, 1);
  await until(async () => (await agent.client.listSessions()).length === 0, 'session removed');
  expect(await code(agent.client.putSession(share({ generation: 3 })))).toBe('SESSION_STALE');
  expect(await code(agent.client.putSession(share({ generation: 4 })))).toBe('no error');
});

test('the number of a removed session may be used again later', async () => {
  let aheadMs = 0;
  const clock = { now: () => Date.now() / 1000, monotonicMs: () => performance.now() + aheadMs };
  const agent = await startAgent({ clock });
  await agent.client.putSession(share({ generation: 3 }));
  await agent.client.deleteSession(5, 1);
  await until(async () => (await agent.client.listSessions()).length === 0, 'session removed');
  aheadMs = 10_000;
  expect(await code(agent.client.putSession(share({ generation: 1 })))).toBe('no error');
});

test('a share that cannot run here is refused with the reason and leaves nothing', async () => {
  const agent = await startAgent();
  expect(await code(agent.client.putSession(share({ handlers: [handler(1, 99)], links: [] })))).toBe(
    'HANDLER_TYPE_UNKNOWN',
  );
  expect(await code(agent.client.putSession(share({ node_id: 9 })))).toBe('REQUEST_INVALID');
  const links = [{ ...share().links[1]!, source_node: 2 }];
  expect(await code(agent.client.putSession(share({ handlers: [handler(3, 7)], links })))).toBe('REQUEST_INVALID');
  expect(await agent.client.listSessions()).toEqual([]);
});

test('a killed host is started again from its checkpoint, and the others do not notice', async () => {
  const agent = await startAgent();
  await agent.client.putSession(share({}, { 1: { settled: 41 } }));
  const before = await untilState(agent, 5, 'running');
  await until(async () => (await agent.client.listSessions())[0]?.handlers[0]?.stats, 'first pong');
  process.kill(before.handlers[0]!.pid!, 'SIGKILL');
  await until(async () => (await agent.client.listSessions())[0]!.handlers[0]!.restarts === 1, 'restart counted');
  const after = await untilState(agent, 5, 'running');
  expect(after.handlers[0]!.pid).not.toBe(before.handlers[0]!.pid);
  expect(after.handlers[2]!.pid).toBe(before.handlers[2]!.pid);
  expect(after.handlers[2]!.restarts).toBe(0);
  const [configured] = await told(agent, 1);
  expect(configured?.config?.handlers[0]?.resume_after).toBe(41);
  expect((await told(agent, 1)).some((one) => one.type === 'run')).toBe(true);
});

test('a host that keeps ending is given up, with the last reason', async () => {
  const agent = await startAgent({ bounds: { failuresMax: 2 } });
  await agent.client.putSession(share({}, { 3: { crash_at_start: true } }));
  const failed = await untilState(agent, 5, 'failed');
  expect(failed.handlers[2]).toMatchObject({ state: 'failed', pid: null, restarts: 2 });
  expect(failed.handlers[2]!.error).toContain('exit code 3: cannot go on');
  await agent.client.putSession(share({ generation: 2 }));
  await untilState(agent, 5, 'running');
});

test('a running handler that keeps crashing fails its session', async () => {
  const agent = await startAgent({ bounds: { failuresMax: 2 } });
  await agent.client.putSession(share({}, { 3: { crash_on_run: true } }));
  const failed = await untilState(agent, 5, 'failed');
  expect(failed.handlers.map((one) => one.state)).toEqual(['running', 'failed', 'failed', 'failed']);
});

test('a handler that cannot be created fails at once with its own reason', async () => {
  const agent = await startAgent();
  await agent.client.putSession(share({}, { 3: { fail: 'no model yolo.onnx' } }));
  const failed = await untilState(agent, 5, 'failed');
  expect(failed.handlers[2]).toMatchObject({ state: 'failed', restarts: 0, error: 'no model yolo.onnx' });
});

test('a host that does not answer pings is killed and started again', async () => {
  const agent = await startAgent({ bounds: { pingsMissedMax: 4 } });
  await agent.client.putSession(share({}, { 3: { deaf: true } }));
  const session = await until(async () => {
    const one = (await agent.client.listSessions())[0]!;
    return one.handlers[2]!.restarts > 0 ? one : undefined;
  }, 'restart');
  expect(session.handlers[0]!.restarts).toBe(0);
});

test('a host over its memory limit is killed, and the reason is said', async () => {
  const messages: string[] = [];
  const note = (_: object, message: string) => void messages.push(message);
  const logger = { debug() {}, info() {}, warn: note, error: note };
  const agent = await startAgent({ hostMemMbMax: 200, logger, bounds: { pingsMissedMax: 200 } });
  await agent.client.putSession(share({}, { 3: { grow_mb: 250 } }));
  const killed = /over the limit of 200 MiB, killed/;
  await until(() => messages.some((one) => killed.test(one)), 'kill');
  await until(async () => killed.test((await agent.client.listSessions())[0]!.handlers[2]!.last_exit ?? ''), 'reason');
});

test('stop during preparation is not waited for until the time-out', async () => {
  const agent = await startAgent();
  await agent.client.putSession(share({}, { 3: { never_ready: true } }));
  await until(async () => (await agent.client.listSessions())[0]!.handlers[2]!.pid ?? undefined, 'host');
  await agent.client.putSession(share({ generation: 2, desired: 'stopped' }));
  await untilState(agent, 5, 'stopped');
});

test('closing the agent leaves no process, even of hosts that ignore stop', async () => {
  const agent = await startAgent();
  await agent.client.putSession(share({}, { 3: { ignore_stop: true } }));
  const running = await untilState(agent, 5, 'running');
  expect(pids(running).every((pid) => isAlive(pid!))).toBe(true);
  await agent.close();
  expect(pids(running).some((pid) => isAlive(pid!))).toBe(false);
});

test('the inferences of a session share the cores, whichever host is made first', async () => {
  const types = new HandlerTypeRegistry(HANDLER_MANIFESTS);
  const agent = await startAgent({ types, threads: null, cpuCores: 8 });
  await agent.client.putSession(
    share({
      handlers: [handler(1, 2), handler(2, 18), handler(3, 19)],
      links: [link(1, 2), link(2, 3)],
    }),
  );
  const { handlers } = await untilState(agent, 5, 'running');
  expect(handlers.map(({ threads, threads_why }) => [threads, threads_why])).toEqual([
    [undefined, undefined],
    ...[18, 19].map(() => [4, '8 cores for 2 inferences at a time']),
  ]);
});
