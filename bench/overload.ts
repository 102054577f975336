/**
 * A source at twice the capacity of the slowest handler, for a round of 12 s after the other: five rounds are a minute.
 * Real processes: a coordinator, a collector, two agents and their handler hosts. What must be seen: the age of what is
 * delivered stays flat and inside the deadline, the memory of every host stays flat, and the ledger is exact.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SinkLoss } from '#src/contracts/loss.js';
import type { ObservedHandler } from '#src/contracts/node.js';
import { type LocalCluster, startCluster } from '#src/main/cluster.js';
import { awaitRunning, awaitSession } from '#src/main/session-wait.js';
import { processMemoryMb } from '#src/node/proc-stats.js';
import { quantile } from '#src/std/quantile.js';
import { encodeJpeg } from '#src/vision/images.js';
import type { BenchRow } from './harness.js';
import type { BenchContext } from './run.js';

const ROUND_S = 12;
/** Slices over which the age is compared, s. */
const SLICE_S = 5;
/** Slices over which the memory of a host is compared, s. */
const MEMORY_SLICE_S = 10;
const DEADLINE_MS = 500;
/** Frames per second at which nothing waits, and how long the slowest handler is measured at it. */
const EASY_FPS = 5;
const EASY_MS = 6_000;
/** Of one core, for the node with the slowest handler: it waits, so that the overload is not the machine's. */
const SLOW_SPEED = 0.15;
const MEMORY_PERIOD_MS = 1_000;
const LAST_REPORT_MS_MAX = 15_000;

const CAPTURE = 1;
const SLOWEST = 3;
const SINK = 4;

/** capture and encode at the source, decode on the slow node, render back at the source. */
const SERVICE = {
  ...{ service_id: 1, service_name: 'overload' },
  handlers: ['capture', 'encode', 'decode', 'render'].map((type, index) => ({
    ...{ handler_id: index + 1, handler_name: type, handler_type: type, at: index === 2 ? 1 : 0 },
    // Declared next to nothing: the coordinator would rightly refuse what is measured here.
    cost: { cpu_ms: 0.01, mem_mb: 20 },
    params: type === 'capture' ? { loop: true } : type === 'render' ? { boxes: false, write_frames: false } : {},
  })),
  links: [1, 2, 3].map((id) => ({ source_handler: id, target_handler: id + 1 })),
};

type RowOf = (figure: string, value: number, unit: string) => BenchRow;

export async function run({ rounds }: BenchContext): Promise<BenchRow[]> {
  const dir = mkdtempSync(join(tmpdir(), 'orchestrator-bench-'));
  try {
    const services = join(dir, 'services');
    const pictures = join(dir, 'pictures');
    for (const one of [services, pictures]) mkdirSync(one);
    writeFileSync(join(services, 'overload.json'), JSON.stringify(SERVICE));
    await writePictures(pictures);
    const start = (name: string) => startOverload(join(dir, name), services, pictures);
    // A database of its own for each: what the first measured must not make the second one be refused.
    const serviceMs = await withCluster(await start('easy'), (system) => slowestMs(system, pictures));
    const overloaded = await start('overload');
    return await withCluster(overloaded, (system) => overload(system, pictures, serviceMs, rounds * ROUND_S));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Noise, so that decoding takes its time. */
async function writePictures(directory: string): Promise<void> {
  for (let index = 0; index < 4; index++) {
    const data = Buffer.alloc(640 * 480 * 3);
    for (let at = 0; at < data.length; at++) data[at] = ((at * 2_654_435_761 * (index + 1)) >>> 13) & 0xff;
    writeFileSync(join(directory, `${index}.jpg`), await encodeJpeg({ width: 640, height: 480, data }, 80));
  }
}

function startOverload(dataDir: string, servicesDir: string, pictures: string): Promise<LocalCluster> {
  return startCluster({
    ...{ dataDir, servicesDir, allow: [pictures], collector: true, token: null },
    nodes: [
      { node_id: 0, node_name: 'client', node_type: 'client' },
      { node_id: 1, node_name: 'edge', node_type: 'edge', speed: SLOW_SPEED },
    ],
  });
}

async function withCluster<T>(cluster: LocalCluster, work: (cluster: LocalCluster) => Promise<T>): Promise<T> {
  try {
    return await work(cluster);
  } finally {
    await cluster.close();
  }
}

async function startSession({ coordinator }: LocalCluster, source: string, fps: number): Promise<number> {
  const objective = { fps, latency_ms_max: DEADLINE_MS };
  const request = { service: 'overload', source, source_node: 0, delivery: 'latest' as const, objective };
  const { session_id } = await coordinator.createSession(request);
  await awaitRunning(coordinator, session_id!);
  return session_id!;
}

async function handlers({ coordinator }: LocalCluster, session: number): Promise<ObservedHandler[]> {
  const { nodes } = await coordinator.session(session);
  return nodes.flatMap(({ observed }) => observed.handlers);
}

async function slowestMs(cluster: LocalCluster, pictures: string): Promise<number> {
  const session = await startSession(cluster, pictures, EASY_FPS);
  await sleep(EASY_MS);
  const slowest = (await handlers(cluster, session)).find((one) => one.handler_id === SLOWEST);
  const measured = slowest?.stats?.service_ms_p50;
  if (measured == null) throw new Error('the slowest handler has processed nothing');
  return measured;
}

async function overload(cluster: LocalCluster, pictures: string, serviceMs: number, durationS: number) {
  const capacity = 1000 / serviceMs;
  const session = await startSession(cluster, pictures, Math.round(2 * capacity));
  const memory = await memoryDuring(cluster, session, durationS);
  await cluster.coordinator.stopSession(session);
  await awaitSession(cluster.coordinator, session, ({ observed }) => observed === 'stopped', { timeoutMs: 30_000 });
  const loss = await settledLoss(cluster, session);
  const ages = await agesOf(cluster, session);
  const name = `${Math.round(2 * capacity)} fps into ${capacity.toFixed(1)} fps, ${durationS} s`;
  const row = (figure: string, value: number, unit: string): BenchRow => ({
    ...{ bench: 'overload', case: name, figure, value, unit },
  });
  return [
    ...ageRows(ages, row),
    ...[...memory].flatMap(([handler, values]) => memoryRows(handler, values, row)),
    ...(await ledgerRows(cluster, session, loss, row)),
  ];
}

/** The most of each slice: garbage comes and goes within one, what is kept shows from slice to slice. */
function memoryRows(handler: string, values: readonly number[], row: RowOf): BenchRow[] {
  return Array.from({ length: Math.floor(values.length / MEMORY_SLICE_S) }, (_, slice) => {
    const [from, to] = [slice * MEMORY_SLICE_S, (slice + 1) * MEMORY_SLICE_S];
    return row(`memory of the host of ${handler}, ${from}-${to} s`, Math.max(...values.slice(from, to)), 'MiB');
  });
}

/** By the first handler of each host, MiB once a second. */
async function memoryDuring(cluster: LocalCluster, session: number, durationS: number): Promise<Map<string, number[]>> {
  const hosts = new Map<number, string>();
  for (const { pid, handler_name } of await handlers(cluster, session)) {
    if (pid !== null && !hosts.has(pid)) hosts.set(pid, handler_name);
  }
  const samples = new Map([...hosts.values()].map((name) => [name, [] as number[]]));
  for (let at = 0; at < durationS; at++) {
    await sleep(MEMORY_PERIOD_MS);
    for (const [pid, name] of hosts) samples.get(name)!.push(processMemoryMb(pid) ?? Number.NaN);
  }
  return samples;
}

/** The account once every report is in. */
async function settledLoss({ coordinator }: LocalCluster, session: number): Promise<SinkLoss> {
  const deadline = performance.now() + LAST_REPORT_MS_MAX;
  for (;;) {
    const [sink] = (await coordinator.loss(session)).sinks;
    if (sink!.in_flight === 0 || performance.now() > deadline) return sink!;
    await sleep(100);
  }
}

/** From the start at the source to the end at the sink: s since the first, ms. */
async function agesOf({ collector }: LocalCluster, session: number): Promise<{ at: number; ms: number }[]> {
  const { rows } = await collector!.sql(
    `select e.timestamp, 1000 * (e.timestamp - s.timestamp) from packet_info e join packet_info s
       on s.session_id = e.session_id and s.handler_id = ${CAPTURE} and s.sequence = e.sequence and s.event = 'start'
     where e.session_id = ${session} and e.handler_id = ${SINK} and e.event = 'end' order by 1`,
  );
  const first = Number(rows[0]?.[0]);
  return rows.map(([at, ms]) => ({ at: Number(at) - first, ms: Number(ms) }));
}

function ageRows(ages: readonly { at: number; ms: number }[], row: RowOf): BenchRow[] {
  const slices = Math.floor((ages.at(-1)?.at ?? 0) / SLICE_S);
  const p95 = Array.from({ length: slices }, (_, slice) => {
    const inSlice = ages.filter(({ at }) => Math.floor(at / SLICE_S) === slice).map(({ ms }) => ms);
    return row(`p95 age, ${slice * SLICE_S}-${(slice + 1) * SLICE_S} s`, quantile(inSlice, 0.95), 'ms');
  });
  const values = ages.map(({ ms }) => ms);
  return [...p95, row('oldest delivered', Math.max(...values), 'ms'), row('deadline', DEADLINE_MS, 'ms')];
}

async function ledgerRows(
  { collector }: LocalCluster,
  session: number,
  { sent, delivered, skipped, drops, in_flight }: SinkLoss,
  row: RowOf,
): Promise<BenchRow[]> {
  const { rows } = await collector!.sql(
    `select max(sequence) + 1 from packet_info where session_id = ${session} and handler_id = ${CAPTURE}`,
  );
  const accounted = drops.reduce((sum, { packets }) => sum + packets, delivered + skipped + in_flight);
  return [
    row('emitted by the source', Number(rows[0]?.[0]), 'packets'),
    row('sent, by the ledger', sent, 'packets'),
    row('delivered', delivered, 'packets'),
    ...drops.map(({ reason, handler_name, packets }) => row(`${reason} at ${handler_name}`, packets, 'packets')),
    row('in flight at the end', in_flight, 'packets'),
    row('sent - accounted', sent - accounted, 'packets'),
  ];
}
