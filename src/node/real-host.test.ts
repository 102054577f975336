/** The agent with the product's own handler host and handlers, as `npm run build` made them. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { NodeSession } from '../contracts/blueprint.js';
import { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { ObservedSession } from '../contracts/node.js';
import { HANDLER_MANIFESTS } from '../handlers/index.js';
import { TEST_TLS } from '../links/tls.testing.js';
import { compiledEntry } from '../std/compiled-entry.js';
import { handler, startAgent, type TestAgent, until, untilState } from './agent.testing.js';
import type { NodeAgentOptions } from './options.js';

const PICTURES = join(dirname(createRequire(import.meta.url).resolve('@vladmandic/face-api/package.json')), 'demo');
const HOST_ENTRY = compiledEntry(import.meta.url, '../main/host.js');
const FRAMES = 30;
/** Models aside, each host starts a runtime and codecs: seconds where everything else is tested at the same time. */
const SLOW_MS = 60_000;
vi.setConfig({ testTimeout: 3 * SLOW_MS });

const realAgent = (nodeId: number, options: Partial<NodeAgentOptions> = {}) =>
  startAgent({
    ...{ nodeId, hostEntry: HOST_ENTRY, types: new HandlerTypeRegistry(HANDLER_MANIFESTS), allow: [PICTURES] },
    ...{ token: 'secret', bounds: { pingPeriodMs: 100 } },
    ...options,
  });

interface Places {
  /** The node of capture 1, encode 2, decode 3 and render 4. */
  readonly places: readonly number[];
  readonly delivery: 'latest' | 'all';
  readonly generation?: number;
  /** Node 1 takes no connections: it dials where its links go. */
  readonly pushes?: boolean;
}

/** The share of each agent; the agent at index i is node i + 1. */
function shares(
  agents: readonly TestAgent[],
  { places, delivery, generation = 1, pushes = false }: Places,
): NodeSession[] {
  const handlers = [
    handler(1, 2, { source: join(PICTURES, 'sample1.jpg'), width: 320, height: 240, fps: 60, loop: true }),
    handler(2, 5),
    handler(3, 6),
    handler(4, 3, { write_frames: false }),
  ];
  const urlOf = (node: number) => agents[node - 1]!.url;
  const linksOf = (node: number) =>
    [1, 2, 3].map((id) => {
      const [source_node, target_node] = [places[id - 1]!, places[id]!];
      const ends = { source_handler: id, source_output: 0, target_handler: id + 1, target_input: 0 };
      const usual = { ...ends, source_node, target_node };
      if (!pushes || source_node !== 1) return { ...usual, source_url: urlOf(source_node) };
      return source_node === node ? { ...usual, target_url: urlOf(target_node) } : { ...usual, awaited: true };
    });
  return agents.map((_, index) => ({
    ...{ session_id: 5, epoch: 1, generation, desired: 'ready', node_id: index + 1, delivery },
    handlers: handlers.filter((_handler, position) => places[position] === index + 1),
    links: linksOf(index + 1).filter((one) => one.source_node === index + 1 || one.target_node === index + 1),
  }));
}

/** As the coordinator does it: ready everywhere, then running everywhere. */
async function apply(agents: readonly TestAgent[], places: Places): Promise<void> {
  const wanted = shares(agents, places);
  await Promise.all(agents.map((agent, index) => agent.client.putSession(wanted[index]!)));
  const isReady = async (agent: TestAgent) => ['ready', 'running'].includes((await observed(agent)).state);
  for (const agent of agents) await until(() => isReady(agent), 'ready', SLOW_MS);
  await Promise.all(agents.map((agent, index) => agent.client.putSession({ ...wanted[index]!, desired: 'running' })));
}

const run = (agents: readonly TestAgent[], delivery: 'latest' | 'all', pushes = false) =>
  apply(agents, { places: [1, 1, 2, 2], delivery, pushes });

const observed = async (agent: TestAgent): Promise<ObservedSession> => (await agent.client.listSessions())[0]!;
const received = async (agent: TestAgent, index: number) =>
  (await observed(agent)).handlers[index]?.stats?.received ?? 0;

/** Sequences in the sink's record; none while its host is starting. */
async function recorded(agent: TestAgent): Promise<number[]> {
  const url = `${agent.url}/v1/sessions/5/handlers/4/pages/boxes.jsonl`;
  const answer = await fetch(url, { headers: { authorization: 'Bearer secret' } });
  const lines = (await answer.text()).split('\n').filter((line) => answer.ok && line !== '');
  return lines.map((line) => (JSON.parse(line) as { sequence: number }).sequence);
}

test('frames flow from node to node over a link that the agent hands to the host', async () => {
  const agents = [await realAgent(1), await realAgent(2)];
  await run(agents, 'latest');
  await until(async () => (await received(agents[1]!, 1)) >= FRAMES, 'frames at the sink', SLOW_MS);
  const { handlers } = await observed(agents[1]!);
  expect(handlers[0]!.links[0]).toMatchObject({ source_handler: 2, connected: true, transport: 'tcp' });
  const url = `${agents[1]!.url}/v1/sessions/5/handlers/4/pages/frame.jpg`;
  const frame = await fetch(url, { headers: { authorization: 'Bearer secret' } });
  expect(frame.headers.get('content-type')).toBe('image/jpeg');
  expect((await frame.arrayBuffer()).byteLength).toBeGreaterThan(1000);
  expect((await fetch(url)).status).toBe(401);
});

test('frames flow over TLS, whichever side dials', async () => {
  const tls = { tls: TEST_TLS, tlsCa: TEST_TLS.cert };
  const agents = [await realAgent(1, tls), await realAgent(2, tls)];
  expect(agents[0]!.url).toMatch(/^https:/);
  await run(agents, 'all');
  await until(async () => (await received(agents[1]!, 1)) >= FRAMES, 'frames at the sink', SLOW_MS);
  await apply(agents, { places: [1, 1, 2, 2], delivery: 'all', generation: 2, pushes: true });
  const switched = await received(agents[1]!, 1);
  await until(async () => (await received(agents[1]!, 1)) >= switched + FRAMES, 'pushed frames at the sink', SLOW_MS);
  expect((await observed(agents[1]!)).handlers[0]!.links[0]).toMatchObject({ connected: true });
});

for (const [what, index, pushes] of [
  ['a killed host of the source', 0, false],
  ['a killed host of the sink', 1, false],
  ['a killed host of a source that dials its receiver', 0, true],
  ['a killed host of a sink that its sender dials', 1, true],
] as const) {
  test(`under all, ${what} loses and repeats nothing`, async () => {
    const agents = [await realAgent(1), await realAgent(2)];
    await run(agents, 'all', pushes);
    await until(async () => (await received(agents[1]!, 1)) >= FRAMES, 'frames', SLOW_MS);
    const { pid } = (await observed(agents[index]!)).handlers[0]!;
    process.kill(pid!, 'SIGKILL');
    await until(async () => (await observed(agents[index]!)).handlers[0]!.restarts === 1, 'restart');
    const before = await until(async () => (await recorded(agents[1]!)).at(-1), 'the record');
    await until(async () => (await recorded(agents[1]!)).at(-1)! > before + FRAMES, 'more', SLOW_MS);
    const sequences = await recorded(agents[1]!);
    expect(sequences).toEqual(sequences.map((_, position) => position));
  });
}

test.each([
  ['dials its source', false],
  ['is dialled by its source', true],
])('under all, a handler that %s and moves to another node loses and repeats nothing', async (_, pushes) => {
  const agents = [await realAgent(1), await realAgent(2), await realAgent(3)];
  await apply(agents, { places: [1, 2, 3, 3], delivery: 'all', pushes });
  await until(async () => (await received(agents[2]!, 1)) >= FRAMES, 'frames', SLOW_MS);
  const sink = (await observed(agents[2]!)).handlers[1]!.pid;
  await apply(agents, { places: [1, 1, 3, 3], delivery: 'all', generation: 2, pushes });
  const moved = await until(async () => (await recorded(agents[2]!)).at(-1), 'the record');
  await until(async () => (await recorded(agents[2]!)).at(-1)! > moved + FRAMES, 'more', SLOW_MS);
  const sequences = await recorded(agents[2]!);
  expect(sequences).toEqual(sequences.map((_, position) => position));
  expect((await observed(agents[2]!)).handlers[1]!.pid).toBe(sink);
  expect((await observed(agents[1]!)).handlers).toEqual([]);
});

test('POST / of the reference runs a chain with the real handlers', async () => {
  const agent = await realAgent(1);
  const ask = async (body: object) => {
    const headers = { authorization: 'Bearer secret' };
    const answer = await fetch(agent.url, { method: 'POST', body: JSON.stringify(body), headers });
    return (await answer.json()) as { result: string; code?: string; reason?: string };
  };
  const blueprint = {
    handlers: [handler(1, 2, { source: join(PICTURES, 'sample1.jpg'), fps: 30, loop: true }), handler(2, 3)],
    links: [{ source_handler: 1, source_output: 0, target_handler: 2, target_input: 0 }],
  };
  expect(await ask({ action: 'init', session_id: 5, blueprint })).toEqual({ result: 'Succeeded' });
  expect(await ask({ action: 'start', session_id: 5 })).toEqual({ result: 'Succeeded' });
  await until(async () => (await received(agent, 1)) >= 20, 'frames at the sink', SLOW_MS);
  expect(await ask({ action: 'stop', session_id: 5 })).toEqual({ result: 'Succeeded' });
  expect(await ask({ action: 'delete', session_id: 5 })).toEqual({ result: 'Succeeded' });
  const [source] = blueprint.handlers;
  const outside = {
    ...blueprint,
    handlers: [{ ...source!, params: { source: '/etc/passwd' } }, blueprint.handlers[1]!],
  };
  expect(await ask({ action: 'init', session_id: 5, blueprint: outside })).toMatchObject({ code: 'SOURCE_FORBIDDEN' });
});

test('hosts are children of the agent and end with it', async () => {
  const agent = await realAgent(1);
  const [wanted] = shares([agent], { places: [1, 1, 1, 1], delivery: 'latest' });
  await agent.client.putSession(wanted!);
  const { handlers } = await untilState(agent, 5, 'ready', SLOW_MS);
  const status = await readFile(`/proc/${handlers[0]!.pid}/status`, 'utf8');
  expect(status).toMatch(new RegExp(`^PPid:\\s+${process.pid}$`, 'm'));
  await agent.close();
  await expect(readFile(`/proc/${handlers[0]!.pid}/status`)).rejects.toThrow();
});
