/**
 * One to three sessions of one node on the same model, each with its own and all with one that they share: memory of the
 * processes that hold models (pages that several have in common, as Node's program is, count once), frames per second of all sessions together, time of a packet in the handler. Sources are
 * as fast as they are taken. And what one call costs through a model process, against the same model in this process.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createNodeClient } from '#src/client/node-client.js';
import type { NodeSession } from '#src/contracts/blueprint.js';
import type { ObservedHandler } from '#src/contracts/node.js';
import { builtInTypes } from '#src/main/handler-types.js';
import { hostEntry, modelEntry } from '#src/main/package-facts.js';
import { createNodeAgent } from '#src/node/index.js';
import { DEFAULT_HOST_BOUNDS } from '#src/node/options.js';
import { parseKbField } from '#src/node/proc-stats.js';
import { SharedModels } from '#src/node/shared-models.js';
import { systemClock } from '#src/std/clock.js';
import { silentLogger } from '#src/std/logger.js';
import { createEngine, type Engine } from '#src/vision/engine.js';
import { defaultCacheDir } from '#src/vision/model-cache.js';
import { openSharedEngine } from '#src/vision/sharing/shared-engine.js';
import { type BenchRow, runCases } from './harness.js';
import type { BenchContext } from './run.js';

const PICTURES = join(dirname(createRequire(import.meta.url).resolve('@vladmandic/face-api/package.json')), 'demo');
const SESSIONS = [1, 2, 3];
/** More rounds would take longer than they tell. */
const ROUNDS_MAX = 3;
/** Packets of each session until threads are warm, and how long they may take, ms. */
const WARM_PACKETS = 3;
const WARM_MS_MAX = 60_000;
/** Then for so long, s. */
const MEASURED_S = 2;
const CALLS = 20;
const UNITS = { memory: 'MiB', host: 'MiB', model: 'MiB', throughput: 'packets/s', p50: 'ms', p95: 'ms', call: 'ms' };

export async function runShare({ rounds: asked, rawFile }: BenchContext): Promise<BenchRow[]> {
  const rounds = Math.min(asked, ROUNDS_MAX);
  const options = { bench: 'vision', units: UNITS, lessIsBetter: ['memory', 'p50', 'p95', 'call'], rounds, rawFile };
  const cases = SESSIONS.flatMap((count) =>
    [false, true].map((share) => ({ name: sessionsName(count, share), measure: () => measureSessions(count, share) })),
  );
  const alone = (name: string) => (name.endsWith(SHARED) ? name.replace(SHARED, OWN) : undefined);
  const rows = await runCases({ ...options, cases, referenceOf: alone });
  return [...rows, ...(await callRows(options))];
}

const SHARED = 'share one model';
const OWN = 'have their own';
const sessionsName = (count: number, share: boolean) => `sessions on ssd_mobilenetv1: ${count} ${share ? SHARED : OWN}`;

function wanted(session_id: number, share: boolean): NodeSession {
  const link = {
    source_handler: 1,
    source_output: 0,
    target_handler: 2,
    target_input: 0,
    source_node: 1,
    target_node: 1,
  };
  const source = { source: join(PICTURES, 'sample1.jpg'), width: 512, loop: true, fps: 0 };
  return {
    ...{ session_id, epoch: 1, generation: 1, desired: 'running', node_id: 1, delivery: 'all' },
    handlers: [
      { handler_id: 1, handler_name: 'capture', handler_type: 2, params: source },
      { handler_id: 2, handler_name: 'detect', handler_type: 18, params: {}, share },
    ],
    links: [link],
  };
}

async function measureSessions(count: number, share: boolean): Promise<Record<string, number>> {
  const dataDir = await mkdtemp(join(tmpdir(), 'bench-share-'));
  const agent = await createNodeAgent({
    ...{ host: '127.0.0.1', port: 0, nodeId: 1, nodeName: 'bench', version: '0', labels: [], token: null },
    ...{ insecure: false, types: builtInTypes(), hostEntry: hostEntry(), modelEntry: modelEntry(), dataDir },
    ...{ cacheDir: defaultCacheDir(), allow: [PICTURES], cpuCores: null, threads: null, collector: null },
    ...{ measureSpeed: () => 1, clock: systemClock(), logger: silentLogger },
  });
  const client = createNodeClient({ url: agent.address.url, token: null });
  try {
    for (let id = 1; id <= count; id++) await client.putSession(wanted(id, share));
    const detectors = async (): Promise<ObservedHandler[]> =>
      (await client.listSessions()).map(({ handlers }) => handlers[1]!);
    const processed = async () => (await detectors()).map(({ stats }) => stats?.processed ?? 0);
    const warmMs = performance.now() + WARM_MS_MAX;
    while ((await processed()).some((packets) => packets < WARM_PACKETS)) {
      if (performance.now() > warmMs) throw new Error(`${count} sessions have not begun in ${WARM_MS_MAX / 1000} s`);
      await sleep(100);
    }
    const before = await processed();
    const startMs = performance.now();
    await sleep(MEASURED_S * 1000);
    const after = await detectors();
    const elapsedS = (performance.now() - startMs) / 1000;
    const packets = after.reduce((sum, { stats }, index) => sum + (stats?.processed ?? 0) - before[index]!, 0);
    const pids = new Set(after.flatMap(({ pid, shared_models = [] }) => [pid, ...shared_models.map((one) => one.pid)]));
    const memories = new Map(
      await Promise.all([...pids].map(async (pid) => [pid, await proportionalMb(pid!)] as const)),
    );
    const mbOf = (pid: number | null) => memories.get(pid) ?? Number.NaN;
    const mean = (value: (handler: ObservedHandler) => number) =>
      after.reduce((sum, handler) => sum + value(handler), 0) / count;
    return {
      memory: [...memories.values()].reduce((sum, mb) => sum + mb, 0),
      host: mean(({ pid }) => mbOf(pid)),
      ...(share ? { model: mbOf(after[0]!.shared_models![0]!.pid) } : {}),
      throughput: packets / elapsedS,
      p50: mean(({ stats }) => stats?.service_ms_p50 ?? 0),
      p95: mean(({ stats }) => stats?.service_ms_p95 ?? 0),
    };
  } finally {
    await client.close();
    await agent.close();
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** What of the machine's memory is the process's: a page that n processes have is a n-th of each. MiB. */
async function proportionalMb(pid: number): Promise<number> {
  return parseKbField(await readFile(`/proc/${pid}/smaps_rollup`, 'latin1'), 'Pss') ?? Number.NaN;
}

/** Calls of one thread and one client: the difference is the way to the process and back. */
async function callRows(options: Omit<Parameters<typeof runCases>[0], 'cases'>): Promise<BenchRow[]> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-model-'));
  let sockets = 0;
  const models = new SharedModels({
    ...{ entry: modelEntry(), environment: {}, cacheDir: defaultCacheDir(), memMbMax: 4096, logger: silentLogger },
    confiner: {
      confine: async () => ({ wasOutOfMemory: async () => false, release: async () => {} }),
      close: async () => {},
    },
    ...{
      bounds: DEFAULT_HOST_BOUNDS,
      batchMax: 16,
      batchWaitMs: 0,
      chooseThreads: () => ({ count: 1, why: 'as the other' }),
    },
    newSocketPath: () => join(directory, `${++sockets}`),
  });
  const engines: Engine[] = [];
  const cases = [];
  for (const [model, side] of [
    ['blazeface', 128],
    ['centernet', 512],
  ] as const) {
    const here = await createEngine(model, { threads: 1 });
    const holder = { session_id: 1, handler_id: 1, cpuMs: 1, onFailed() {} };
    const shared = {
      ...{ session_id: 1, handler_id: 1, resend: false, leftMs: () => Number.POSITIVE_INFINITY, spent() {} },
      open: (choice: { model: string; gpu: boolean | 'auto' }) => models.open(choice, holder),
    };
    const there = await openSharedEngine({ model, gpu: false }, shared);
    engines.push(here, there);
    const pixels = { data: new Uint8Array(side * side * 3).fill(90), batch: 1, height: side, width: side };
    const measure = async (engine: Engine) => {
      await engine.run(pixels);
      const startMs = performance.now();
      for (let call = 0; call < CALLS; call++) await engine.run(pixels);
      return { call: (performance.now() - startMs) / CALLS };
    };
    cases.push({ name: `${model} ${side}, one call in the handler's process`, measure: () => measure(here) });
    cases.push({ name: `${model} ${side}, one call through a model process`, measure: () => measure(there) });
  }
  const referenceOf = (name: string) =>
    name.includes('through') ? name.replace('through a model process', "in the handler's process") : undefined;
  const rows = await runCases({ ...options, cases, referenceOf });
  for (const engine of engines) await engine.dispose();
  await models.close();
  await rm(directory, { recursive: true, force: true });
  return rows;
}
