/** Sessions of one node that share a model, with the product's own hosts, handlers and weights (as `npm run build` made them). */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { NodeSession } from '../contracts/blueprint.js';
import { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { ObservedSession } from '../contracts/node.js';
import { HANDLER_MANIFESTS } from '../handlers/index.js';
import { compiledEntry } from '../std/compiled-entry.js';
import { handler, isAlive, startAgent, type TestAgent, until, untilState } from './agent.testing.js';
import { type BoxesLine, detectSession, boxesLines as lines } from './detect-session.testing.js';
import type { NodeAgentOptions } from './options.js';
import { processMemoryMb } from './proc-stats.js';

const PICTURES = join(dirname(createRequire(import.meta.url).resolve('@vladmandic/face-api/package.json')), 'demo');
const SLOW_MS = 120_000;
vi.setConfig({ testTimeout: 3 * SLOW_MS });

const realAgent = (options: Partial<NodeAgentOptions> = {}) =>
  startAgent({
    ...{ hostEntry: compiledEntry(import.meta.url, '../main/host.js'), allow: [PICTURES] },
    types: new HandlerTypeRegistry(HANDLER_MANIFESTS),
    ...options,
    bounds: { pingPeriodMs: 100, ...options.bounds },
  });

interface Wanted {
  readonly session_id: number;
  readonly share: boolean;
  readonly loop?: boolean;
  readonly fps?: number;
  readonly given?: Partial<NodeSession>;
  readonly model?: string;
}

function session({ share, model = 'blazeface', ...rest }: Wanted): NodeSession {
  const detect = handler(2, 18, { model, size: model === 'blazeface' ? 320 : null });
  return detectSession({
    ...rest,
    source: join(PICTURES, 'sample?.jpg'),
    detect: share ? { ...detect, share } : detect,
  });
}

const observed = async (agent: TestAgent, session_id: number): Promise<ObservedSession> =>
  (await agent.client.listSessions()).find((one) => one.session_id === session_id)!;
const modelOf = async (agent: TestAgent, session_id: number) =>
  (await observed(agent, session_id)).handlers[1]!.shared_models?.[0];
const untilLines = (agent: TestAgent, session_id: number, count: number) =>
  until(
    async () => (await lines(agent, session_id)).length >= count,
    `${count} lines of session ${session_id}`,
    SLOW_MS,
  );

async function stop(agent: TestAgent, session_id: number): Promise<void> {
  await agent.client.deleteSession(session_id, 1);
  await until(async () => (await observed(agent, session_id)) === undefined, `session ${session_id} gone`, SLOW_MS);
}

test('three sessions that share a model find what one finds alone, with one process and less memory', async () => {
  const agent = await realAgent();
  const memoryOf = async (ids: readonly number[]) => {
    const pids = new Set<number>();
    for (const id of ids) {
      const [, detect] = (await observed(agent, id)).handlers;
      for (const pid of [detect!.pid, ...(detect!.shared_models ?? []).map((one) => one.pid)]) pids.add(pid!);
    }
    return [...pids].map(processMemoryMb).reduce<number>((sum, mb) => sum + mb!, 0);
  };
  const model = 'ssd_mobilenetv1';
  for (const session_id of [4, 5, 6]) await agent.client.putSession(session({ session_id, share: true, model }));
  for (const session_id of [4, 5, 6]) await untilLines(agent, session_id, 6);
  const shared = await modelOf(agent, 5);
  expect(shared).toMatchObject({ model, handlers: 3, threads: 1, threads_why: 'set by [node] threads', restarts: 0 });
  expect(await modelOf(agent, 6)).toEqual(shared);
  const sharedMb = await memoryOf([4, 5, 6]);
  const found = await Promise.all([4, 5, 6].map((id) => lines(agent, id)));
  for (const session_id of [4, 5]) await stop(agent, session_id);
  expect((await modelOf(agent, 6))!.handlers).toBe(1);
  expect(isAlive(shared!.pid!)).toBe(true);
  await stop(agent, 6);
  await until(() => !isAlive(shared!.pid!), 'the end of the model process');

  for (const session_id of [7, 8, 9]) await agent.client.putSession(session({ session_id, share: false, model }));
  for (const session_id of [7, 8, 9]) await untilLines(agent, session_id, 6);
  const alone = await lines(agent, 7);
  const boxesOf = (all: readonly BoxesLine[]) => all.map(({ sequence, boxes }) => ({ sequence, boxes }));
  for (const one of found) expect(boxesOf(one)).toEqual(boxesOf(alone));
  expect(alone.flatMap((line) => line.boxes ?? []).length).toBeGreaterThan(18);
  expect(sharedMb).toBeLessThan(await memoryOf([7, 8, 9]));
  const [capture, detect] = (await observed(agent, 7)).handlers;
  expect(detect).toMatchObject({ threads: 1, threads_why: 'set by [node] threads' });
  expect(capture).not.toHaveProperty('threads');
});

test('under all, a model process that is killed mid-stream loses and repeats nothing', async () => {
  const agent = await realAgent();
  for (const session_id of [5, 6])
    await agent.client.putSession(session({ session_id, share: true, loop: true, fps: 10 }));
  for (const session_id of [5, 6]) await untilLines(agent, session_id, 8);
  for (let kill = 1; kill <= 2; kill++) {
    const { pid } = (await modelOf(agent, 5))!;
    process.kill(pid!, 'SIGKILL');
    const next = await until(async () => {
      const model = (await modelOf(agent, 5))!;
      return model.restarts === kill && model.pid !== null && model.pid !== pid && model;
    }, 'the next process');
    expect(next.handlers).toBe(2);
    for (const session_id of [5, 6]) await untilLines(agent, session_id, (await lines(agent, session_id)).length + 8);
  }
  for (const session_id of [5, 6]) {
    const all = await lines(agent, session_id);
    expect(all.map((line) => line.sequence)).toEqual(all.map((_, index) => index));
    expect(all.filter((line) => line.dropped !== undefined)).toEqual([]);
    expect((await observed(agent, session_id)).handlers.map((one) => one.restarts)).toEqual([0, 0, 0, 0]);
  }
});

test('under all, a killed host of a sharing handler takes nothing of the other session along', async () => {
  const agent = await realAgent();
  for (const session_id of [5, 6])
    await agent.client.putSession(session({ session_id, share: true, loop: true, fps: 10 }));
  for (const session_id of [5, 6]) await untilLines(agent, session_id, 10);
  const { pid } = (await modelOf(agent, 6))!;
  process.kill((await observed(agent, 5)).handlers[1]!.pid!, 'SIGKILL');
  await until(async () => (await observed(agent, 5)).handlers[1]!.restarts === 1, 'the restart', SLOW_MS);
  for (const session_id of [5, 6]) await untilLines(agent, session_id, (await lines(agent, session_id)).length + 8);
  for (const session_id of [5, 6]) {
    const all = await lines(agent, session_id);
    expect(all.map((line) => line.sequence)).toEqual(all.map((_, index) => index));
  }
  expect(await modelOf(agent, 6)).toMatchObject({ pid, handlers: 2, restarts: 0 });
});

test('under latest, each packet that a busy shared model has no time for is told of', async () => {
  const agent = await realAgent();
  const given = { delivery: 'latest', latency_ms_max: 400 } as const;
  const model = 'ssd_mobilenetv1';
  for (const session_id of [5, 6]) {
    await agent.client.putSession(session({ session_id, share: true, loop: true, fps: 60, given, model }));
  }
  for (const session_id of [5, 6]) await untilLines(agent, session_id, 20);
  for (const session_id of [5, 6]) {
    const all = await lines(agent, session_id);
    expect(all.map((line) => line.sequence)).toEqual(all.map((_, index) => index));
    const reasons = new Set(all.flatMap(({ dropped }) => dropped ?? []));
    expect([...reasons].filter((one) => !['late', 'queue', 'join'].includes(one))).toEqual([]);
    expect(reasons.size).toBeGreaterThan(0);
  }
});

test('a model that cannot be loaded fails its session by name; a type that cannot share is refused', async () => {
  const agent = await realAgent();
  await agent.client.putSession(session({ session_id: 5, share: true, model: 'no-such-model' }));
  const failed = await untilState(agent, 5, 'failed', SLOW_MS);
  expect(failed.handlers.map((one) => one.error ?? '').join()).toContain('no model no-such-model for detect_face');
  const wanted = session({ session_id: 6, share: false });
  const handlers = wanted.handlers.map((one) => (one.handler_id === 3 ? { ...one, share: true } : one));
  await expect(agent.client.putSession({ ...wanted, handlers })).rejects.toMatchObject({
    code: 'SHARE_UNSUPPORTED',
    message: expect.stringContaining('handler 3 h3: handler_type draw_boxes cannot share a model'),
  });
});
