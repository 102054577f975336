/**
 * Packets of 64 KB at 30 fps over an emulated edge-cloud path: fps and one-way time of a POST per packet, of a link on one
 * connection, and of a link as it is (it joins connections by itself), with loss-based and model-based congestion control.
 * The transports of one case run side by side, each over a path of its own, so that they meet the same minute.
 */
import type { ChildProcess } from 'node:child_process';
import { type BenchRow, runCases } from './harness.js';
import type { EndFigures, EndOptions, LossyTransport } from './lossy-end.js';
import { type LossyPath, LossyPaths, type PathShape, whatIsMissing } from './lossy-path.js';
import type { BenchContext } from './run.js';

const FPS = 30;
const PACKET_BYTES = 64 * 1024;
const MBIT = 100;
const PORT = 7100;
/** Four pings (the link must have seen three before it joins connections), and slow start. */
const WARM_UP_MS = 5_000;
const MEASURE_MS = 10_000;
/** A child that has not done its part by then never will, ms. */
const CHILD_MS_MAX = 30_000;

const CASES: readonly [string, Pick<PathShape, 'delayMs' | 'loss' | 'control'>][] = [
  ['20 ms, no loss, bbr', { delayMs: 10, loss: 0, control: 'bbr' }],
  ['20 ms, 1 % loss, reno', { delayMs: 10, loss: 0.01, control: 'reno' }],
  ['20 ms, 1 % loss, cubic', { delayMs: 10, loss: 0.01, control: 'cubic' }],
  ['20 ms, 1 % loss, bbr', { delayMs: 10, loss: 0.01, control: 'bbr' }],
  ['80 ms, no loss, bbr', { delayMs: 40, loss: 0, control: 'bbr' }],
];

const TRANSPORTS: readonly [string, LossyTransport][] = [
  ['POST', 'post'],
  ['one stream', 'stream'],
  ['link', 'link'],
];

export async function run({ rounds, rawFile }: BenchContext): Promise<BenchRow[]> {
  const missing = whatIsMissing();
  if (missing !== null) {
    console.log(`lossy: skipped, an emulated path needs root, /dev/net/tun, ip and python3; missing here: ${missing}`);
    return [];
  }
  const paths = new LossyPaths();
  let seed = 1;
  const cases = CASES.map(([name, shape]) => ({
    name,
    measure: async () => {
      seed += 1;
      const figures = await Promise.all(
        TRANSPORTS.map(([label, transport]) =>
          paths.with({ ...shape, mbit: MBIT, seed }, (path) => measure(label, transport, path)),
        ),
      );
      return Object.assign({}, ...figures) as Record<string, number>;
    },
  }));
  const units = Object.fromEntries(
    TRANSPORTS.flatMap(([label]) => [
      [`${label}: rate`, 'fps'],
      [`${label}: p50`, 'ms'],
      [`${label}: p99`, 'ms'],
    ]),
  );
  try {
    return await runCases({ bench: 'lossy', cases, units, rounds, rawFile });
  } finally {
    paths.close();
  }
}

async function measure(label: string, transport: LossyTransport, path: LossyPath): Promise<Record<string, number>> {
  const listening = transport === 'post' ? 'b' : 'a';
  const common = { transport, host: path.addresses[listening], port: PORT, fps: FPS, packetBytes: PACKET_BYTES };
  const timing = { warmUpMs: WARM_UP_MS, measureMs: MEASURE_MS };
  const start = (side: 'a' | 'b', role: EndOptions['role']): ChildProcess =>
    path.start(side, './lossy-end.js', [JSON.stringify({ ...common, ...timing, role } satisfies EndOptions)]);
  const ends = [start('a', 'source'), start('b', 'sink')] as const;
  await Promise.all(ends.map(message));
  const result = message(ends[1]);
  for (const end of ends) end.send('go');
  const { fps, p50, p99 } = (await result) as EndFigures;
  return { [`${label}: rate`]: fps, [`${label}: p50`]: p50, [`${label}: p99`]: p99 };
}

/** The next message of a child. */
function message(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`an end said nothing for ${CHILD_MS_MAX} ms`)), CHILD_MS_MAX);
    child.once('message', (said) => {
      clearTimeout(timer);
      resolve(said);
    });
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`an end ended with ${code ?? signal}`));
    });
  });
}
