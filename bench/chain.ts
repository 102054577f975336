/**
 * Whole chains over handler hosts, the product's own path. `pictures`: capture -> encode -> link -> decode -> sink at
 * 640x480, against the same work in one process without handlers and links (two frames at once, so that it too has both
 * cores). `synthetic`: four handlers that keep a core busy for 5, 2, 20 and 3 ms in four processes, against the 50 frames
 * per second that the slowest allows; 60 are offered. Age is from the source's timestamp to the sink.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Delivery } from '#src/contracts/packet.js';
import { quantile } from '#src/std/quantile.js';
import { decodePicture, encodeJpeg } from '#src/vision/images.js';
import { COUNTER, type Mark, TICKER, WORK } from './chain/handlers.js';
import { type ChainHandler, HostedChain } from './chain/hosted-chain.js';
import { ONE_PROCESS_ENTRY, type OneProcessOptions } from './chain/one-process.js';
import { type BenchCase, type BenchRow, runCases } from './harness.js';
import type { BenchContext } from './run.js';

const SAMPLES = join(dirname(createRequire(import.meta.url).resolve('@vladmandic/face-api/package.json')), 'demo');
const SIZE = { width: 640, height: 480 };
const QUALITY = 80;
const CAPTURE = 2;
const ENCODE = 5;
const DECODE = 6;
const WORK_MS = [5, 2, 20, 3];
const SLOWEST_FPS = 1000 / Math.max(...WORK_MS);
const WARM_MS = 700;
const MEASURE_MS = 2500;

function figures({ packets, agesMs }: Mark, seconds: number): Record<string, number> {
  return { frames: packets / seconds, p50: quantile(agesMs, 0.5), p95: quantile(agesMs, 0.95) };
}

/** A photograph as a camera gives it: decoding one of ten times the pixels would be all that is measured. */
async function cameraPicture(directory: string): Promise<string> {
  const file = join(directory, 'camera.jpg');
  const frame = await decodePicture(await readFile(join(SAMPLES, 'sample1.jpg')), SIZE);
  await writeFile(file, await encodeJpeg(frame, QUALITY));
  return file;
}

async function hosted(hosts: readonly (readonly ChainHandler[])[], delivery: Delivery, pictures?: string) {
  const chain = new HostedChain({ hosts, delivery, ...(pictures === undefined ? {} : { pictures }) });
  try {
    await chain.start();
    await sleep(WARM_MS);
    const before = await chain.mark();
    await sleep(MEASURE_MS);
    const mark = await chain.mark();
    return figures(mark, (mark.atMs - before.atMs) / 1000);
  } finally {
    await chain.stop();
  }
}

/** A camera at saturation does not let its frames grow old behind others: `all` holds it back. */
const pictures = (file: string, fps: number) =>
  hosted(
    [
      [
        { type: CAPTURE, params: { source: file, ...SIZE, fps, loop: true } },
        { type: ENCODE, params: { quality: QUALITY } },
      ],
      [{ type: DECODE }, { type: COUNTER }],
    ],
    fps === 0 ? 'all' : 'latest',
    dirname(file),
  );

const synthetic = (fps: number) =>
  hosted(
    [
      [
        { type: TICKER, params: { fps } },
        { type: WORK, params: { ms: WORK_MS[0] } },
      ],
      ...WORK_MS.slice(1, -1).map((ms) => [{ type: WORK, params: { ms } }]),
      [{ type: WORK, params: { ms: WORK_MS.at(-1) } }, { type: COUNTER }],
    ],
    'latest',
  );

function oneProcess(file: string, fps: number, atOnce: number): Promise<Record<string, number>> {
  const options: OneProcessOptions = {
    ...{ file, ...SIZE, quality: QUALITY, fps, atOnce, warmMs: WARM_MS, measureMs: MEASURE_MS },
  };
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, [ONE_PROCESS_ENTRY], (error, stdout) => {
      if (error !== null) return reject(error);
      const mark = JSON.parse(stdout) as Mark;
      resolve(figures(mark, mark.atMs / 1000));
    });
    child.stdin!.end(JSON.stringify(options));
  });
}

const REFERENCE: Record<string, string> = {
  'pictures, saturated': 'pictures, saturated: one process',
  'pictures, 30 fps': 'pictures, 30 fps: one process',
  'synthetic, 60 fps offered': 'synthetic: what the slowest allows',
};

export async function run({ rounds, rawFile }: BenchContext): Promise<BenchRow[]> {
  const directory = mkdtempSync(join(tmpdir(), 'orchestrator-bench-'));
  try {
    return await measureAll(await cameraPicture(directory), rounds, rawFile);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function measureAll(file: string, rounds: number, rawFile: BenchContext['rawFile']): Promise<BenchRow[]> {
  const cases: BenchCase[] = [
    { name: 'pictures, saturated: one process', measure: () => oneProcess(file, 0, 2) },
    { name: 'pictures, saturated', measure: () => pictures(file, 0) },
    { name: 'pictures, 30 fps: one process', measure: () => oneProcess(file, 30, 1) },
    { name: 'pictures, 30 fps', measure: () => pictures(file, 30) },
    { name: 'synthetic: what the slowest allows', measure: async () => ({ frames: SLOWEST_FPS }) },
    { name: 'synthetic, 60 fps offered', measure: () => synthetic(60) },
    { name: 'synthetic, 30 fps', measure: () => synthetic(30) },
  ];
  return runCases({
    ...{ bench: 'chain', cases, rounds, rawFile },
    units: { frames: '/s', p50: 'ms', p95: 'ms' },
    lessIsBetter: ['p50', 'p95'],
    referenceOf: (name) => REFERENCE[name],
  });
}
