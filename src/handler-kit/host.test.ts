/** Real handler hosts: forked processes joined by Unix sockets and TCP, killed while packets flow. Needs the built program. */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, symlinkSync, unlinkSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test, vi } from 'vitest';
import type { Delivery } from '../contracts/packet.js';
import { seededRandom } from '../std/prng.js';
import type { FromHost, HostConfig, HostHandler, HostLink, ToHost } from './host-protocol.js';

const ENTRY = fileURLToPath(new URL('./host-entry.testing.mjs', import.meta.url));

/** Bound of each wait: a forked Node process takes seconds to start on a machine that is busy with other tests. */
const WAIT_MS = 40_000;
vi.setConfig({ testTimeout: 120_000 });

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

type Status = Extract<FromHost, { type: 'pong' }>['handlers'][number];

/** A host as an agent would keep it, without the restarts. */
class TestHost {
  readonly messages: FromHost[] = [];
  readonly #child: ChildProcess;
  readonly exited: Promise<{ code: number | null; signal: string | null }>;

  constructor(readonly config: HostConfig) {
    this.#child = fork(ENTRY, [], { serialization: 'advanced', stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    this.exited = new Promise((resolve) => this.#child.once('exit', (code, signal) => resolve({ code, signal })));
    this.#child.on('message', (message) => this.messages.push(message as FromHost));
    this.send({ type: 'configure', config });
    closers.push(() => this.kill());
  }

  send(message: ToHost, socket?: Socket): void {
    if (this.#child.connected) this.#child.send(message, socket, () => {});
  }

  disconnect(): void {
    this.#child.disconnect();
  }

  async first<T extends FromHost['type']>(type: T): Promise<Extract<FromHost, { type: T }>> {
    return vi.waitFor(
      () => (this.messages.find((one) => one.type === type) as Extract<FromHost, { type: T }>) ?? never(type),
      {
        timeout: WAIT_MS,
        interval: 5,
      },
    );
  }

  async status(id = Math.random()): Promise<Status[]> {
    this.send({ type: 'ping', id });
    const isMine = (one: FromHost) => one.type === 'pong' && one.id === id;
    const pong = await vi.waitFor(() => this.messages.find(isMine) ?? never('pong'), { timeout: WAIT_MS, interval: 5 });
    return pong.type === 'pong' ? [...pong.handlers] : [];
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }
}

function never(what: string): never {
  throw new Error(`no ${what} yet`);
}

const directory = (): string => mkdtempSync(join(tmpdir(), 'host-'));

interface ChainOptions {
  readonly delivery?: Delivery;
  readonly params?: Record<number, Record<string, unknown>>;
  /** Handlers of each host: by default each has its own. */
  readonly hosts?: readonly (readonly number[])[];
}

/** count (0) -> relay (1) -> journal (2). */
function chainConfigs(options: ChainOptions = {}): { configs: HostConfig[]; journal: () => string[] } {
  const root = directory();
  const names = ['count', 'relay', 'journal'];
  const groups = options.hosts ?? [[0], [1], [2]];
  const socketOf = (id: number) => join(root, `${groups.findIndex((group) => group.includes(id))}.sock`);
  const link = (source: number, together: readonly number[]): HostLink => ({
    source_handler: source,
    source_output: 0,
    target_handler: source + 1,
    target_input: 0,
    source_node: 1,
    target_node: 1,
    ...(together.includes(source) || !together.includes(source + 1)
      ? {}
      : { dial: { kind: 'unix', path: socketOf(source) } as const }),
  });
  const configs = groups.map((group) => ({
    session_id: 1,
    node_id: 1,
    generation: 1,
    delivery: options.delivery ?? 'all',
    latency_ms_max: null,
    handlers: group.map(
      (id): HostHandler => ({
        handler_id: id,
        handler_name: names[id]!,
        handler_type: names[id]!,
        params: { packets: 300, ...options.params?.[id] },
        resume_after: -1,
        accounted: -1,
      }),
    ),
    links: [0, 1].filter((id) => group.includes(id) || group.includes(id + 1)).map((id) => link(id, group)),
    threads: 1,
    speed: 1,
    cacheDir: root,
    outputDir: join(root, 'out'),
    allow: [root],
    socketPath: socketOf(group[0]!),
    token: null,
    ...{ nodeUrl: 'http://127.0.0.1:1', commands: [], environment: {} },
  }));
  const path = join(root, 'out', 'journal.txt');
  return { configs, journal: () => (existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : []) };
}

async function start(config: HostConfig): Promise<TestHost> {
  const host = new TestHost(config);
  await host.first('ready');
  host.send({ type: 'run' });
  return host;
}

const whole = (count: number) => [...Array.from({ length: count }, (_, n) => `${n} ${n}`), 'end'];
const ended = (journal: () => string[]) =>
  vi.waitFor(() => (journal().at(-1) === 'end' ? undefined : never('end')), { timeout: WAIT_MS, interval: 10 });

test('all: hosts killed at random lose nothing and repeat nothing', async () => {
  const random = seededRandom(11);
  const packets = 3000; // More than a window and what the source emits while hosts start again, five times.
  const { configs, journal } = chainConfigs({ params: { 0: { packets, pause_ms: 1 } } });
  const hosts = await Promise.all(configs.map(start));
  let checkpoint = -1;
  for (let kill = 0; kill < 5; kill++) {
    const seen = journal().length;
    await vi.waitFor(() => (journal().length > seen + 10 ? undefined : never('progress')), {
      timeout: WAIT_MS,
      interval: 2,
    });
    const index = Math.floor(random() * hosts.length);
    const host = hosts[index]!;
    if (index === 0) checkpoint = Math.max(checkpoint, (await host.status())[0]!.settled);
    await host.kill();
    const handlers = configs[index]!.handlers.map((one) => ({ ...one, resume_after: checkpoint }));
    hosts[index] = await start({ ...configs[index]!, handlers });
  }
  await ended(journal);
  expect(journal()).toEqual(whole(packets));
});

test('handlers that share a host pass packets by reference, and report each step', async () => {
  const { configs, journal } = chainConfigs({ hosts: [[0, 1, 2]], params: { 0: { packets: 50 } } });
  const host = await start(configs[0]!);
  await ended(journal);
  expect(journal()).toEqual(whole(50));
  const reports = await vi.waitFor(() => {
    const all = host.messages.filter((one) => one.type === 'report');
    return all.flatMap((one) => one.packet_info).length >= 500 ? all : never('report');
  }, WAIT_MS);
  const rows = reports.flatMap((one) => one.packet_info).filter(({ sequence }) => sequence === 7);
  expect(rows.map(({ handler_id, event }) => `${handler_id} ${event}`)).toEqual([
    ...['0 start', '0 end', '0 sent', '1 recv', '1 start', '1 end', '1 sent', '2 recv', '2 start', '2 end'],
  ]);
  expect(rows.filter(({ event }) => event === 'recv').every(({ size }) => size === null)).toBe(true);
  expect(reports.flatMap((one) => one.profile).map((one) => one.handler_id)).toContain(1);
  const [source, relay, sink] = await host.status();
  expect(source).toMatchObject({ state: 'running', settled: 50, stats: { emitted: 50, ended: true } });
  expect(relay?.links[0]).toMatchObject({ transport: 'in_host', connected: true, packets: 50 });
  expect(sink?.stats).toMatchObject({ processed: 50, dropped: {}, last_sequence: 50 });
});

test('an error, and a rejection that nobody handles, cost their packet', async () => {
  const { configs, journal } = chainConfigs({
    params: { 0: { packets: 40 }, 1: { throw_at: 5, reject_at: 9 } },
  });
  await Promise.all(configs.map(start));
  await ended(journal);
  expect(journal()).toEqual(whole(40).map((line, n) => (n === 5 || n === 9 ? `${n} error 1` : line)));
});

test('an uncaught exception ends the host with an exit code', async () => {
  const { configs } = chainConfigs({ params: { 1: { crash_at: 3 } } });
  const [, relay] = await Promise.all(configs.map(start));
  expect(await relay!.exited).toEqual({ code: 1, signal: null });
});

test('a handler that cannot be created is named, and the host exits', async () => {
  const { configs } = chainConfigs({ params: { 1: { refuse: 'no model there' } } });
  const host = new TestHost(configs[1]!);
  expect(await host.first('failed')).toMatchObject({
    handler_id: 1,
    problem: { code: 'HANDLER_FAILED', detail: 'handler 1 relay: no model there' },
  });
  expect((await host.exited).code).toBe(1);
});

test('without its agent a host ends and removes its socket', async () => {
  const { configs } = chainConfigs();
  const host = await start(configs[1]!);
  expect(existsSync(configs[1]!.socketPath)).toBe(true);
  host.disconnect();
  expect((await host.exited).code).toBe(0);
  expect(existsSync(configs[1]!.socketPath)).toBe(false);
});

test('drain: sources fall silent, what is in flight arrives, and the host ends on stop', async () => {
  const { configs, journal } = chainConfigs({ params: { 0: { packets: 1e9 }, 1: { pause_ms: 1 } } });
  const hosts = await Promise.all(configs.map(start));
  await vi.waitFor(() => (journal().length > 20 ? undefined : never('progress')), { timeout: WAIT_MS });
  for (const host of hosts) {
    host.send({ type: 'drain', replaced: false });
    await host.first('drained');
  }
  const emitted = (await hosts[0]!.status())[0]!.stats.emitted;
  expect(journal()).toEqual(whole(emitted).slice(0, -1));
  for (const host of hosts) host.send({ type: 'stop' });
  expect(await Promise.all(hosts.map((host) => host.exited))).toEqual(hosts.map(() => ({ code: 0, signal: null })));
});

test('a relay moves to another host while packets flow: nothing lost, nothing twice', async () => {
  const packets = 1000;
  const { configs, journal } = chainConfigs({ params: { 0: { packets, pause_ms: 1 } } });
  const socketPath = join(directory(), 'new.sock');
  const moved = new TestHost({ ...configs[1]!, generation: 2, socketPath });
  await moved.first('ready');
  const [, old, sink] = await Promise.all(configs.map(start));
  await vi.waitFor(() => (journal().length > 50 ? undefined : never('progress')), { timeout: WAIT_MS, interval: 2 });
  moved.send({ type: 'run' });
  const links = configs[2]!.links.map((link) => ({ ...link, dial: { kind: 'unix', path: socketPath } as const }));
  sink!.send({ type: 'configure', config: { ...configs[2]!, generation: 2, links } });
  old!.send({ type: 'drain', replaced: true });
  await old!.first('drained');
  old!.send({ type: 'stop' });
  await ended(journal);
  expect(journal()).toEqual(whole(packets));
  expect((await moved.status())[0]!.stats.processed).toBeGreaterThan(0);
});

test('a host that is replaced where it is lets its reader go as soon as it is empty', async () => {
  const packets = 1000;
  const { configs, journal } = chainConfigs({ params: { 0: { packets, pause_ms: 1 } } });
  const [address, socketPath] = ['relay', 'new.sock'].map((name) => join(directory(), name));
  // As at an agent: one address, and whichever host is the newest behind it.
  symlinkSync(configs[1]!.socketPath, address!);
  const links = configs[2]!.links.map((link) => ({ ...link, dial: { kind: 'unix', path: address! } as const }));
  const moved = new TestHost({ ...configs[1]!, generation: 2, socketPath: socketPath! });
  await moved.first('ready');
  const [, old] = await Promise.all([configs[0]!, configs[1]!, { ...configs[2]!, links }].map(start));
  await vi.waitFor(() => (journal().length > 50 ? undefined : never('progress')), { timeout: WAIT_MS, interval: 2 });
  unlinkSync(address!);
  symlinkSync(socketPath!, address!);
  moved.send({ type: 'run' });
  old!.send({ type: 'drain', replaced: true });
  // It is not told to stop: the sink hears only from here that somebody else is there.
  await ended(journal);
  expect(journal()).toEqual(whole(packets));
});

test('links of other nodes come through the agent as sockets', async () => {
  const { configs, journal } = chainConfigs({ params: { 0: { packets: 100, bytes: 100_000 } } });
  const source = await start(configs[0]!);
  const agent = createServer();
  agent.on('upgrade', (incoming, socket, head) => {
    const headers = Object.fromEntries(Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]));
    source.send({ type: 'link', url: incoming.url ?? '', headers, head: head.toString('base64') }, socket as Socket);
  });
  await new Promise<void>((resolve) => agent.listen(0, '127.0.0.1', resolve));
  closers.push(() => agent.close());
  const url = `http://127.0.0.1:${(agent.address() as AddressInfo).port}`;
  const links = configs[1]!.links.map((link) =>
    link.target_handler === 1 ? { ...link, dial: { kind: 'http', url } as const } : link,
  );
  const relay = await start({ ...configs[1]!, links });
  await start(configs[2]!);
  await ended(journal);
  expect(journal()).toEqual(whole(100));
  expect((await relay.status())[0]!.links[0]).toMatchObject({ transport: 'tcp', connected: true, packets: 100 });
});

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: Record<string, unknown>;
}

function ask(socketPath: string, path: string, headers: Record<string, string> = {}, body?: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? 'GET' : 'POST';
    const asked = request({ socketPath, path, method, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode!, body: text, headers: response.headers }));
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

test('a packet that is posted before the next handler is connected waits for it', async () => {
  const { configs, journal } = chainConfigs({ hosts: [[1], [2]] });
  const onward = ({ links, ...config }: HostConfig) => ({
    ...config,
    links: links.filter((link) => link.source_handler === 1),
  });
  const [relay, sink] = [onward(configs[0]!), onward(configs[1]!)];
  await start(relay);
  const jpeg = { 'content-type': 'image/jpeg' };
  const posted = ask(relay.socketPath, '/v1/sessions/1/handlers/1/inputs/0', jpeg, Buffer.from('0'));
  await start(sink);
  expect(await posted).toMatchObject({ status: 202 });
  await vi.waitFor(() => expect(journal()).toEqual(['0 0']), WAIT_MS);
});

test('packets are posted, numbered, refused by name; pages are served', async () => {
  const { configs, journal } = chainConfigs({ hosts: [[1, 2]] });
  const config = { ...configs[0]!, links: configs[0]!.links.filter((link) => link.source_handler === 1) };
  await start(config);
  const { socketPath } = config;
  const input = '/v1/sessions/1/handlers/1/inputs/0';
  const jpeg = { 'content-type': 'image/jpeg' };
  const post = (headers: Record<string, string>, text = 'x') => ask(socketPath, input, headers, Buffer.from(text));
  expect(await post(jpeg, '0')).toMatchObject({ status: 202, body: '{"sequence":0,"duplicate":false}' });
  expect(await post({ 'content-type': 'application/octet-stream', 'x-sequence': '3' }, '3')).toMatchObject({
    status: 202,
  });
  expect((await post({ ...jpeg, 'x-sequence': '3' })).body).toBe('{"sequence":3,"duplicate":true}');
  expect((await post(jpeg, '4')).body).toBe('{"sequence":4,"duplicate":false}');
  expect(await post({ 'content-type': 'text/plain' })).toMatchObject({ status: 415 });
  const boxes = JSON.stringify({ frame_width: 1, frame_height: 1, boxes: [] });
  expect(await post({ 'content-type': 'application/json' }, boxes)).toMatchObject({ status: 415 });
  expect(await post({ 'content-type': 'application/json' }, '{}')).toMatchObject({ status: 400 });
  expect(await post({ ...jpeg, 'x-sequence': '-1' })).toMatchObject({ status: 400 });
  expect(await ask(socketPath, '/v1/sessions/1/handlers/2/inputs/0', jpeg, Buffer.from('x'))).toMatchObject({
    status: 400,
  });
  expect(await ask(socketPath, '/v1/sessions/1/handlers/9/inputs/0', jpeg, Buffer.from('x'))).toMatchObject({
    status: 404,
  });
  expect(await ask(socketPath, '/v1/sessions/1/handlers/2/pages/live')).toMatchObject({
    status: 200,
    body: 'page live',
  });
  expect(await ask(socketPath, '/v1/sessions/1/handlers/1/pages/live')).toMatchObject({ status: 404 });
  await vi.waitFor(() => expect(journal()).toEqual(['0 0', '3 3', '4 4']), WAIT_MS);
});
