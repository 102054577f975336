/** `kill -9` of any handler host mid-session under `delivery: all`: the output has every sequence exactly once. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { awaitRunning, awaitSession } from '../src/main/session-wait.js';
import {
  eventually,
  handlersOf,
  isAlive,
  sinkSequence,
  spreadFaceService,
  startSystem,
  type TestSystem,
} from './support/system.js';

let system: TestSystem;

beforeAll(async () => {
  system = await startSystem({ services: [spreadFaceService({ service_id: 1, service_name: 'spread', fps: 8 })] });
});

afterAll(async () => {
  await system?.close();
});

test('every host is killed once, and the journal has every sequence exactly once, in order', async () => {
  const { coordinator } = system;
  // Round and round until every host was killed, however quick the machine is.
  const source = system.pictures('killed', 6);
  const { session_id } = await coordinator.createSession({
    service: 'spread',
    source,
    delivery: 'all',
    source_node: 0,
    params: { capture: { loop: true } },
  });
  const id = session_id!;
  const running = await awaitRunning(coordinator, id);
  const hosts = [...new Set(handlersOf(running).map((handler) => handler.handler_name))]
    .map((name) => ({ name, pid: handlersOf(running).find((handler) => handler.handler_name === name)!.pid! }))
    .filter((host, index, all) => all.findIndex((one) => one.pid === host.pid) === index);
  expect(hosts.length).toBeGreaterThanOrEqual(3);

  let reached = 3;
  for (const { name, pid } of hosts) {
    await eventually(`sequence ${reached} at the sink before killing the host of ${name}`, async () => {
      return sinkSequence(await coordinator.session(id)) >= reached ? true : undefined;
    });
    process.kill(pid, 'SIGKILL');
    await eventually(`a new host of ${name}`, async () => {
      const handler = handlersOf(await coordinator.session(id)).find((one) => one.handler_name === name);
      return handler?.pid != null && handler.pid !== pid && handler.state === 'running' ? true : undefined;
    });
    expect(isAlive(pid)).toBe(false);
    reached = sinkSequence(await coordinator.session(id)) + 3;
  }

  await eventually(`sequence ${reached} at the sink at last`, async () =>
    sinkSequence(await coordinator.session(id)) >= reached ? true : undefined,
  );
  await coordinator.stopSession(id);
  await awaitSession(coordinator, id, ({ observed }) => observed === 'stopped', { timeoutMs: 120_000 });
  const lines = system.journal(id);
  expect(lines.length).toBeGreaterThan(reached);
  expect(lines.map((line) => line.sequence)).toEqual(lines.map((_, index) => index));
  expect(lines.filter((line) => line.dropped !== undefined)).toEqual([]);
  expect(lines.every((line) => (line.boxes?.length ?? 0) > 0)).toBe(true);
}, 240_000);
