import { expect, onTestFinished, test } from 'vitest';
import type { FromHost } from '../handler-kit/host-protocol.js';
import { silentLogger } from '../std/logger.js';
import { FAKE_HOST, isAlive, share, startAgent, until, untilState } from './agent.testing.js';
import { UNCONFINED } from './host-limits.js';
import { HostSpares } from './host-spares.js';

function sparesOf(count: number): HostSpares {
  const spares = new HostSpares({
    ...{ count, entry: FAKE_HOST, environment: {} },
    ...{ confiner: UNCONFINED, logger: silentLogger },
    refillMs: 10,
  });
  onTestFinished(() => spares.close());
  return spares;
}

const filled = (spares: HostSpares, count: number) =>
  until(() => spares.pids.length === count && spares.pids, `${count} spares`);

test('spares are started up to their number, given out once, and started anew', async () => {
  const spares = sparesOf(2);
  expect(spares.take(() => {})).toBeNull();
  const pids = await filled(spares, 2);
  const messages: FromHost[] = [];
  const taken = spares.take((message) => messages.push(message))!.process;
  expect(taken.pid).toBe(pids[0]);
  await until(() => spares.pids.length === 2 && !spares.pids.includes(pids[0]!), 'another one');
  taken.kill();
  await taken.exited;
  expect(spares.pids).toHaveLength(2);
});

test('one that ends is started again', async () => {
  const spares = sparesOf(1);
  const [pid] = await filled(spares, 1);
  process.kill(pid!, 'SIGKILL');
  await until(() => spares.pids.length === 1 && spares.pids[0] !== pid, 'another one');
});

test('none is left when they are closed', async () => {
  const spares = sparesOf(2);
  const pids = await filled(spares, 2);
  await spares.close();
  expect(pids.some(isAlive)).toBe(false);
  expect(spares.take(() => {})).toBeNull();
});

test('a session of an agent runs in a spare as in any other host', async () => {
  const agent = await startAgent({ spareHosts: 1, bounds: { spareRefillMs: 10 } });
  await agent.client.putSession(share());
  const first = await untilState(agent, 5, 'running');
  const pids = new Set(first.handlers.map((one) => one.pid));
  process.kill(first.handlers[2]!.pid!, 'SIGKILL');
  const again = await until(async () => {
    const [session] = await agent.client.listSessions();
    return session!.state === 'running' && session!.handlers[2]!.restarts === 1 ? session : undefined;
  }, 'the restart');
  expect(pids.has(again!.handlers[2]!.pid)).toBe(false);
  await agent.close();
  expect(again!.handlers.some((one) => isAlive(one.pid!))).toBe(false);
});
