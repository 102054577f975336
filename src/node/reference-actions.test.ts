import { readdir } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { chain, isAlive, post, share, startAgent, type TestAgent, until } from './agent.testing.js';

async function ask(agent: TestAgent, action: string, more: object = {}) {
  const { status, body } = await post(`${agent.url}/`, { action, session_id: 5, ...more });
  return body.result === 'Succeeded' ? `${status}` : `${status} ${body.code}`;
}

const blueprint = chain();

/** What each action answers in each state, from the rules of the reference. */
const TABLE: [steps: string[], init: string, start: string, stop: string, remove: string][] = [
  [[], '200', '404 SESSION_NOT_FOUND', '404 SESSION_NOT_FOUND', '404 SESSION_NOT_FOUND'],
  [['init'], '409 SESSION_EXISTS', '200', '200', '200'],
  [['init', 'start'], '409 SESSION_EXISTS', '409 SESSION_RUNNING', '200', '409 SESSION_RUNNING'],
  [['init', 'start', 'stop'], '409 SESSION_EXISTS', '409 SESSION_STOPPED', '200', '200'],
  [['init', 'delete'], '200', '404 SESSION_NOT_FOUND', '404 SESSION_NOT_FOUND', '404 SESSION_NOT_FOUND'],
];

for (const [steps, init, start, stop, remove] of TABLE) {
  const state = steps.length === 0 ? 'no session' : steps.join(', ');
  for (const [action, answer] of Object.entries({ init, start, stop, delete: remove })) {
    test(`after ${state}: ${action} answers ${answer}`, async () => {
      const agent = await startAgent();
      for (const step of steps) expect(await ask(agent, step, { blueprint })).toBe('200');
      expect(await ask(agent, action, { blueprint })).toBe(answer);
    });
  }
}

test('the bodies are those of the reference', async () => {
  const agent = await startAgent();
  const init = await post(
    `${agent.url}/`,
    { action: 'init', session_id: 5, blueprint },
    { 'content-type': 'text/plain' },
  );
  expect(init).toEqual({ status: 200, body: { result: 'Succeeded' } });
  const again = await post(`${agent.url}/`, { action: 'init', session_id: 5, blueprint });
  expect(again.body).toEqual({ result: 'Failed', reason: expect.stringContaining('5'), code: 'SESSION_EXISTS' });
  expect((await post(`${agent.url}/`, { action: 'dance', session_id: 5 })).body).toMatchObject({
    result: 'Failed',
    reason: 'action is "dance"; it must be init, start, stop or delete',
  });
  expect((await post(`${agent.url}/`, { action: 'start' })).body).toMatchObject({ code: 'REQUEST_INVALID' });
});

test('init answers when every handler is ready, and frames flow only after start', async () => {
  const agent = await startAgent();
  await ask(agent, 'init', { blueprint });
  expect((await agent.client.listSessions())[0]).toMatchObject({ state: 'ready' });
  await ask(agent, 'start');
  expect((await agent.client.listSessions())[0]).toMatchObject({ state: 'running' });
});

test('a handler that is never ready fails init within the bound and leaves nothing', async () => {
  const agent = await startAgent({ bounds: { prepareTimeoutMs: 2_000 } });
  const asked = ask(agent, 'init', { blueprint: chain({ 3: { never_ready: true } }) });
  const session = await until(async () => {
    const [one] = await agent.client.listSessions();
    return one?.handlers.every((handler) => handler.pid !== null) ? one : undefined;
  }, 'hosts');
  expect(await asked).toBe('504 HANDLER_TIMEOUT');
  expect(await agent.client.listSessions()).toEqual([]);
  expect(session.handlers.some((one) => isAlive(one.pid!))).toBe(false);
  expect(await ask(agent, 'init', { blueprint })).toBe('200');
});

test('a handler that cannot be created fails init with its reason and leaves nothing', async () => {
  const agent = await startAgent();
  const { body } = await post(`${agent.url}/`, {
    ...{ action: 'init', session_id: 5 },
    blueprint: chain({ 3: { fail: 'no model yolo.onnx' } }),
  });
  expect(body).toEqual({ result: 'Failed', reason: 'no model yolo.onnx', code: 'MODEL_NOT_FOUND' });
  expect(await agent.client.listSessions()).toEqual([]);
});

test('a blueprint that cannot work is refused before anything starts', async () => {
  const agent = await startAgent();
  const open = { ...blueprint, links: blueprint.links.slice(1) };
  expect(await ask(agent, 'init', { blueprint: open })).toBe('400 PORT_UNLINKED');
  expect(await ask(agent, 'init', { blueprint: { handlers: [] } })).toBe('400 REQUEST_INVALID');
  expect(await ask(agent, 'init')).toBe('400 REQUEST_INVALID');
});

test('two inits at once: one gets the number', async () => {
  const agent = await startAgent();
  const answers = await Promise.all([ask(agent, 'init', { blueprint }), ask(agent, 'init', { blueprint })]);
  expect(answers.sort()).toEqual(['200', '409 SESSION_EXISTS']);
});

test('delete while init goes on ends it, and init says so', async () => {
  const agent = await startAgent();
  const asked = ask(agent, 'init', { blueprint: chain({ 3: { never_ready: true } }) });
  await until(async () => (await agent.client.listSessions()).length === 1, 'session');
  expect(await ask(agent, 'delete')).toBe('200');
  expect(await asked).toBe('409 SESSION_NOT_INITIALIZED');
});

test("a coordinator's sessions and those of POST / do not touch each other", async () => {
  const agent = await startAgent();
  await agent.client.putSession(share());
  expect(await ask(agent, 'init', { blueprint })).toBe('409 SESSION_EXISTS');
  expect(await ask(agent, 'stop')).toBe('409 SESSION_EXISTS');
  await ask(agent, 'init', { blueprint, session_id: 6 });
  await expect(agent.client.putSession(share({ session_id: 6 }))).rejects.toMatchObject({ code: 'SESSION_EXISTS' });
  await expect(agent.client.deleteSession(6, 1)).rejects.toMatchObject({ code: 'SESSION_EXISTS' });
  expect((await agent.client.heartbeat()).sessions.map((one) => one.session_id)).toEqual([5]);
  expect((await agent.client.listSessions()).map((one) => one.session_id).sort()).toEqual([5, 6]);
});

test('a new session under an old number does not go on in the outputs of the old one', async () => {
  const dataDir = (await import('node:fs/promises')).mkdtemp(`${(await import('node:os')).tmpdir()}/outputs-test-`);
  const agent = await startAgent({ dataDir: await dataDir });
  for (const step of ['init', 'delete', 'init']) expect(await ask(agent, step, { blueprint })).toBe('200');
  const outputs = await readdir(`${await dataDir}/outputs`);
  expect(outputs).toHaveLength(2);
  expect(outputs).toContain('5');
});
