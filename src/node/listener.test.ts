import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { linkPath } from '../handler-kit/host-protocol.js';
import { isAlive, post, share, startAgent, type TestAgent, until, untilState } from './agent.testing.js';

const LINK = { source_handler: 3, source_output: 0, target_handler: 4, target_input: 0 };
const input = (agent: TestAgent, handler_id = 3) => `${agent.url}/v1/sessions/5/handlers/${handler_id}/inputs/0`;

async function running(options: Parameters<typeof startAgent>[0] = {}): Promise<TestAgent> {
  const agent = await startAgent(options);
  await agent.client.putSession(share());
  await untilState(agent, 5, 'running');
  return agent;
}

interface Upgraded {
  readonly status: number;
  readonly body: string;
  readonly socket: Socket | null;
}

function upgrade(agent: TestAgent, path: string, headers: Record<string, string> = {}): Promise<Upgraded> {
  return new Promise((resolve, reject) => {
    const { host, port } = agent.address;
    const all = { connection: 'upgrade', upgrade: 'orchestrator-link/1', ...headers };
    const client = request({ host, port, path, headers: all, agent: false });
    client.on('upgrade', (response, socket, head) => {
      const status = response.statusCode ?? 0;
      if (head.length > 0) resolve({ status, body: head.toString(), socket: socket as Socket });
      else socket.once('data', (data: Buffer) => resolve({ status, body: data.toString(), socket: socket as Socket }));
    });
    client.on('response', (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body, socket: null }));
    });
    client.on('error', reject);
    client.end();
  });
}

test('the connection of a link goes to the host that has the output', async () => {
  const agent = await running();
  const { status, body, socket } = await upgrade(agent, linkPath(5, LINK), { 'x-link': 'a' });
  expect(status).toBe(101);
  const session = (await agent.client.listSessions())[0]!;
  expect(JSON.parse(body)).toMatchObject({
    pid: session.handlers[2]!.pid,
    url: linkPath(5, LINK),
    headers: { 'x-link': 'a', upgrade: 'orchestrator-link/1' },
  });
  const echo = new Promise<string>((resolve) => socket!.once('data', (data) => resolve(data.toString())));
  socket!.write('packet');
  expect(await echo).toBe('packet');
  socket!.destroy();
});

test('a program that joins a handler goes to the host of that handler', async () => {
  const agent = await running();
  const { status, body, socket } = await upgrade(agent, '/v1/sessions/5/handlers/3/worker?from=here');
  expect(status).toBe(101);
  const session = (await agent.client.listSessions())[0]!;
  const url = '/v1/sessions/5/handlers/3/worker?from=here';
  expect(JSON.parse(body)).toMatchObject({ pid: session.handlers[2]!.pid, url });
  socket!.destroy();
  const unknown = await upgrade(agent, '/v1/sessions/5/handlers/9/worker');
  expect([unknown.status, JSON.parse(unknown.body).code]).toEqual([404, 'HANDLER_NOT_FOUND']);
  const spoken = await upgrade(agent, '/v1/sessions/5/handlers/3/worker', { upgrade: 'websocket' });
  expect([spoken.status, JSON.parse(spoken.body).code]).toEqual([400, 'LINK_PROTOCOL']);
});

test('a tap goes to the host of the handler', async () => {
  const agent = await running();
  const { status, socket } = await upgrade(agent, '/v1/sessions/5/handlers/3/outputs/0/tap', {
    upgrade: 'orchestrator-link/2, orchestrator-link/1',
  });
  expect(status).toBe(101);
  socket!.destroy();
});

test('a link that nobody here has is answered 404, one to a host that is not ready 503', async () => {
  const agent = await running();
  const other = await upgrade(agent, linkPath(6, LINK));
  expect([other.status, JSON.parse(other.body).code]).toEqual([404, 'SESSION_NOT_FOUND']);
  const unknown = await upgrade(agent, linkPath(5, { ...LINK, source_handler: 9 }));
  expect([unknown.status, JSON.parse(unknown.body).code]).toEqual([404, 'HANDLER_NOT_FOUND']);
  const wrong = await upgrade(agent, '/v1/links');
  expect([wrong.status, JSON.parse(wrong.body).code]).toEqual([404, 'ROUTE_NOT_FOUND']);
  const spoken = await upgrade(agent, linkPath(5, LINK), { upgrade: 'websocket' });
  expect([spoken.status, JSON.parse(spoken.body).code]).toEqual([400, 'LINK_PROTOCOL']);
  await agent.client.putSession(share({ session_id: 7 }, { 3: { never_ready: true } }));
  const early = await upgrade(agent, linkPath(7, LINK));
  expect([early.status, JSON.parse(early.body).code]).toEqual([503, 'LINK_BUSY']);
});

/** Writes the request for a link itself, so that it can say more before it is answered. */
function dial(agent: TestAgent, path: string, more = ''): { socket: Socket; answer: Promise<string> } {
  const { host, port } = agent.address;
  const socket = connect({ host, port });
  socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: orchestrator-link/1\r\n\r\n${more}`);
  return { socket, answer: new Promise((resolve) => socket.once('data', (data) => resolve(data.toString()))) };
}

test('a peer that is refused and keeps its side open does not keep the agent from closing', async () => {
  const agent = await running();
  const { host, port } = agent.address;
  const socket = connect({ host, port, allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  socket.write(
    `GET ${linkPath(6, LINK)} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: orchestrator-link/1\r\n\r\n`,
  );
  const answer = await new Promise<string>((resolve) => socket.once('data', (data) => resolve(data.toString())));
  expect(answer).toMatch(/^HTTP\/1\.1 404 /);
  await agent.close();
});

test('a link to a host that is being made is handed over when it serves, with all that was said meanwhile', async () => {
  const agent = await startAgent({ bounds: { linkHoldMs: 60_000 } });
  await agent.client.putSession(share({}, { 3: { ready_ms: 500 } }));
  const left = dial(agent, `${linkPath(5, LINK)}?left`);
  const { socket, answer } = dial(agent, linkPath(5, LINK), 'one');
  setTimeout(() => socket.write('two'), 50);
  setTimeout(() => left.socket.destroy(), 50);
  expect((await agent.client.listSessions())[0]!.state).toBe('preparing');
  expect(await answer).toMatch(/^HTTP\/1.1 101 /);
  socket.destroy();
  const page = await fetch(`${agent.url}/v1/sessions/5/handlers/3/pages/told`);
  const links = ((await page.json()) as { type: string; head: string }[]).filter(({ type }) => type === 'link');
  expect(links.map(({ head }) => Buffer.from(head, 'base64').toString())).toEqual(['onetwo']);
});

test('links and requests need the token', async () => {
  const agent = await running({ token: 'secret' });
  expect((await upgrade(agent, linkPath(5, LINK))).status).toBe(401);
  expect((await upgrade(agent, linkPath(5, LINK), { authorization: 'Bearer wrong' })).status).toBe(403);
  const { status, body, socket } = await upgrade(agent, linkPath(5, LINK), { authorization: 'Bearer secret' });
  expect(status).toBe(101);
  expect(body).not.toContain('secret');
  socket!.destroy();
  expect((await fetch(`${agent.url}/v1/node`)).status).toBe(401);
  expect((await fetch(`${agent.url}/v1/sessions`, { headers: { authorization: 'Bearer wrong' } })).status).toBe(403);
  expect((await fetch(`${agent.url}/v1/health`)).status).toBe(200);
  expect(await post(`${agent.url}/`, { action: 'start', session_id: 1 })).toMatchObject({
    status: 401,
    body: { result: 'Failed', code: 'TOKEN_MISSING' },
  });
});

test('off loopback a token is needed, and a refused start leaves nothing', async () => {
  await expect(startAgent({ host: '0.0.0.0' })).rejects.toMatchObject({ code: 'TOKEN_REQUIRED' });
});

test('a posted packet is passed to its host and the answer back', async () => {
  const agent = await running();
  const body = Buffer.alloc(3_000_000, 7);
  const answer = await fetch(input(agent), { method: 'POST', body, headers: { 'content-type': 'image/jpeg' } });
  expect(answer.status).toBe(202);
  expect(await answer.json()).toEqual({
    bytes: 3_000_000,
    type: 'image/jpeg',
    path: '/v1/sessions/5/handlers/3/inputs/0',
  });
});

test('many small packets at once are all answered', async () => {
  const agent = await running();
  const send = async (length: number) => {
    const answer = await fetch(input(agent), { method: 'POST', body: 'x'.repeat(length) });
    return [answer.status, ((await answer.json()) as { bytes: number }).bytes];
  };
  for (let round = 0; round < 25; round++) {
    const lengths = Array.from({ length: 8 }, (_, index) => 1 + round * 97 + index);
    expect(await Promise.all(lengths.map(send))).toEqual(lengths.map((length) => [202, length]));
  }
});

test('a posted packet over the bound is refused, with or without its length said', async () => {
  const agent = await running();
  const big = Buffer.alloc(33 * 1024 * 1024);
  const said = await fetch(input(agent), { method: 'POST', body: big }).catch((error) => error);
  // the server may close before the client has sent everything
  if (said instanceof Response) {
    expect(said.status).toBe(413);
    expect(await said.json()).toMatchObject({ code: 'REQUEST_TOO_LARGE' });
  }
  const { host, port } = agent.address;
  const status = await new Promise((resolve) => {
    const client = request({ host, port, method: 'POST', path: new URL(input(agent)).pathname });
    client.on('response', (response) => resolve(response.statusCode));
    client.on('error', () => {});
    for (let sent = 0; sent < big.length; sent += 1024 * 1024) client.write(big.subarray(sent, sent + 1024 * 1024));
  });
  expect(status).toBe(413);
});

test('packets for what is not here are answered 404', async () => {
  const agent = await running();
  const get = async (url: string) => ((await (await fetch(url)).json()) as { code: string }).code;
  const answer = await fetch(input(agent, 9), { method: 'POST', body: 'x' });
  expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([404, 'HANDLER_NOT_FOUND']);
  expect(await get(`${agent.url}/v1/sessions/6/handlers/3/pages/live`)).toBe('SESSION_NOT_FOUND');
  expect(await get(`${agent.url}/v1/nothing`)).toBe('ROUTE_NOT_FOUND');
});

test('an endless page streams, and ends at the host when the reader goes', async () => {
  const agent = await running();
  const pages = `${agent.url}/v1/sessions/5/handlers/3/pages`;
  const reading = new AbortController();
  const answer = await fetch(`${pages}/live`, { signal: reading.signal });
  expect(answer.headers.get('content-type')).toContain('multipart/x-mixed-replace');
  const reader = answer.body!.getReader();
  for (let chunks = 0; chunks < 3; chunks++) expect((await reader.read()).done).toBe(false);
  reading.abort();
  await until(async () => (await (await fetch(`${pages}/told`)).text()).includes('live closed'), 'page closed');
});

test('a client that breaks off a post ends it at the host', async () => {
  const agent = await running();
  const { host, port } = agent.address;
  const headers = { 'content-length': '1000000' };
  const client = request({ host, port, method: 'POST', path: new URL(input(agent)).pathname, headers });
  client.on('error', () => {});
  client.write(Buffer.alloc(1000));
  const told = async () => (await fetch(`${agent.url}/v1/sessions/5/handlers/3/pages/told`)).text();
  await until(async () => (await told()).includes('post begun'), 'post begun');
  client.destroy();
  await until(async () => (await told()).includes('post aborted'), 'post aborted');
});

test('a malformed session is refused with the field', async () => {
  const agent = await startAgent();
  const put = async (body: unknown) => {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${agent.url}/v1/sessions/5`, { method: 'PUT', body: JSON.stringify(body), headers });
    return (await answer.json()) as { code: string; detail: string };
  };
  expect(await put({ ...share(), desired: 'fast' })).toMatchObject({ code: 'REQUEST_INVALID' });
  expect((await put({ ...share(), session_id: 6 })).detail).toContain('session_id 6');
  const answer = await fetch(`${agent.url}/v1/sessions/5`, { method: 'DELETE' });
  expect(answer.status).toBe(400);
});

test('the API describes itself', async () => {
  const agent = await startAgent();
  const { paths } = (await (await fetch(`${agent.url}/openapi.json`)).json()) as { paths: Record<string, object> };
  expect(Object.keys(paths)).toEqual(
    expect.arrayContaining(['/', '/v1/node', '/v1/sessions/{session_id}', '/v1/health']),
  );
});

test('open pages do not keep the agent from closing', async () => {
  const agent = await running();
  const { pid } = (await agent.client.listSessions())[0]!.handlers[2]!;
  const live = await fetch(`${agent.url}/v1/sessions/5/handlers/3/pages/live`);
  const ended = live.text().catch(() => 'cut');
  await agent.close();
  await ended;
  expect(isAlive(pid!)).toBe(false);
});

test("what a coordinator says of the clock reaches every host, also one that starts later; the heartbeat keeps the machine's", async () => {
  const agent = await running({ clockSkewMs: 60_000 });
  const corrections = async (session_id: number, handler_id: number) => {
    const page = `${agent.url}/v1/sessions/${session_id}/handlers/${handler_id}/pages/told`;
    const told = (await (await fetch(page)).json()) as { type: string; correction?: unknown }[];
    return { first: told[0]!.type, corrections: told.flatMap((one) => one.correction ?? []) };
  };
  expect(await corrections(5, 3)).toEqual({ first: 'clock', corrections: [{ atMs: -60_000, toMs: -60_000 }] });
  const query = { epoch: 1, clock_offset_ms: 60_000, clock_error_ms: 3 };
  const heartbeat = await agent.client.heartbeat({ query });
  expect(heartbeat.clock_correction_ms).toBe(60_000);
  expect(heartbeat.timestamp * 1000 - Date.now()).toBeGreaterThan(30_000);
  const at = (ms: number) => ({ atMs: ms, toMs: ms });
  await until(async () => (await corrections(5, 3)).corrections.length === 2, 'the host is told');
  expect((await corrections(5, 3)).corrections).toEqual([at(-60_000), at(0)]);
  await agent.client.putSession(share({ session_id: 6 }));
  await untilState(agent, 6, 'running');
  expect(await corrections(6, 3)).toEqual({ first: 'clock', corrections: [at(0)] });
  // A coordinator that was replaced is not heard; a question without any of it changes nothing.
  await agent.client.heartbeat({ query: { ...query, epoch: 0, clock_offset_ms: 0 } });
  expect((await agent.client.heartbeat()).clock_correction_ms).toBe(60_000);
});
