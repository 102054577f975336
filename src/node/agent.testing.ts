/** An agent over the fake host, and what tests ask of it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { createNodeClient, type NodeClient } from '../client/node-client.js';
import type { BlueprintHandler, NodeSession } from '../contracts/blueprint.js';
import { type HandlerType, HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { ObservedSession } from '../contracts/node.js';
import type { PayloadType } from '../contracts/packet.js';
import { systemClock } from '../std/clock.js';
import { compiledEntry } from '../std/compiled-entry.js';
import { silentLogger } from '../std/logger.js';
import { createNodeAgent, type NodeAgent } from './node-agent.js';
import type { NodeAgentOptions } from './options.js';

const MODEL_ENTRY = compiledEntry(import.meta.url, '../main/model-process.js');
export const FAKE_HOST = fileURLToPath(new URL('./fake-host.testing.mjs', import.meta.url));

function type(
  id: number,
  name: string,
  accepts: PayloadType[],
  emits: PayloadType[],
  host: 'own' | 'shared',
): HandlerType {
  return {
    ...{ handler_type_id: id, handler_type_name: name, aliases: [], description: name, params: null, host },
    inputs: accepts.length === 0 ? [] : [{ name: 'in', accepts }],
    outputs: emits.map((one) => ({ name: 'out', emits: one })),
    cost: { cpu_ms: 1, gpu_ms: 0, mem_mb: 16, out_bytes: 1024 },
  };
}

export const TYPES = new HandlerTypeRegistry([
  type(2, 'capture', [], ['frame'], 'own'),
  type(3, 'render', ['frame', 'boxes'], [], 'shared'),
  type(4, 'resize', ['frame'], ['frame'], 'shared'),
  type(8, 'show', ['boxes'], [], 'own'),
  type(7, 'detect_object', ['frame'], ['boxes'], 'own'),
]);

export type TestAgent = NodeAgent & { readonly url: string; readonly client: NodeClient };

export async function startAgent(options: Partial<NodeAgentOptions> = {}): Promise<TestAgent> {
  const dataDir = await mkdtemp(join(tmpdir(), 'agent-test-'));
  const agent = await createNodeAgent({
    ...{
      host: '127.0.0.1',
      port: 0,
      nodeId: 1,
      nodeName: 'test',
      version: '0',
      labels: [],
      token: null,
      insecure: false,
    },
    ...{ types: TYPES, hostEntry: FAKE_HOST, dataDir, cacheDir: dataDir, allow: [], cpuCores: 2, threads: 1 },
    modelEntry: MODEL_ENTRY,
    ...{ collector: null, measureSpeed: () => 1, clock: systemClock(), logger: silentLogger },
    ...options,
    bounds: {
      ...{ pingPeriodMs: 50, restartBaseMs: 20, drainTimeoutMs: 1_000, stopGraceMs: 500, linkHoldMs: 500 },
      // On a busy machine half a second without an answer is no hang.
      pingsMissedMax: 200,
      ...options.bounds,
    },
  });
  const client = createNodeClient({ url: agent.address.url, token: options.token ?? null, tlsCa: options.tlsCa });
  onTestFinished(async () => {
    await client.close();
    await agent.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  return { ...agent, url: agent.address.url, client };
}

export function handler(
  handler_id: number,
  handler_type: number,
  params: Record<string, unknown> = {},
): BlueprintHandler {
  return { handler_id, handler_name: `h${handler_id}`, handler_type, params };
}

/** capture 1 -> resize 2 -> detect 3 -> render 4, all on node 1; `params` by handler_id. */
export function chain(params: Record<number, Record<string, unknown>> = {}) {
  const types = [2, 4, 7, 3];
  return {
    handlers: types.map((one, index) => handler(index + 1, one, params[index + 1])),
    links: [1, 2, 3].map((id) => ({ source_handler: id, source_output: 0, target_handler: id + 1, target_input: 0 })),
  };
}

export function share(
  given: Partial<NodeSession> = {},
  params: Record<number, Record<string, unknown>> = {},
): NodeSession {
  const { handlers, links } = chain(params);
  return {
    ...{ session_id: 5, epoch: 1, generation: 1, desired: 'running', node_id: 1, delivery: 'latest', handlers },
    links: links.map((link) => ({ ...link, source_node: 1, target_node: 1 })),
    ...given,
  };
}

/** Polls until `probe` gives something; fails with what it gave last. */
export async function until<T>(
  probe: () => Promise<T | false | undefined> | T | false | undefined,
  what: string,
  ms = 30_000,
) {
  const deadline = performance.now() + ms;
  for (;;) {
    const value = await probe();
    if (value !== false && value !== undefined) return value;
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function untilState(
  agent: TestAgent,
  session_id: number,
  state: string,
  ms?: number,
): Promise<ObservedSession> {
  let last: ObservedSession | undefined;
  return until(
    async () => {
      last = (await agent.client.listSessions()).find((one) => one.session_id === session_id);
      return last?.state === state ? last : undefined;
    },
    `session ${session_id} ${state}`,
    ms,
  ).catch((error) => {
    throw new Error(`${error.message}; it is ${JSON.stringify(last)}`);
  });
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export async function post(url: string, body: unknown, headers: Record<string, string> = {}) {
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body), headers });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}
