/**
 * The work of capture, encode and decode without handlers and links: files to frames to JPEG to frames, in one process.
 * Run as a process of its own: `node one-process.js FILE FPS AT_ONCE WARM_MS MEASURE_MS` prints a mark as JSON.
 */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { decodePicture, encodeJpeg } from '#src/vision/images.js';
import type { Mark } from './handlers.js';

export const ONE_PROCESS_ENTRY = fileURLToPath(import.meta.url);

export interface OneProcessOptions {
  readonly file: string;
  readonly width: number;
  readonly height: number;
  readonly quality: number;
  /** 0: as fast as it goes. */
  readonly fps: number;
  /** Frames under way at the same time. */
  readonly atOnce: number;
  readonly warmMs: number;
  readonly measureMs: number;
}

async function measure(options: OneProcessOptions): Promise<Mark> {
  let packets = 0;
  let agesMs: number[] = [];
  let dueMs = performance.now();
  const endMs = dueMs + options.warmMs + options.measureMs;
  const worker = async () => {
    while (performance.now() < endMs) {
      const data = await readFile(options.file);
      const frame = await decodePicture(data, { width: options.width, height: options.height });
      if (options.fps > 0) {
        dueMs += 1000 / options.fps;
        await sleep(dueMs - performance.now());
      }
      const startMs = performance.now();
      await decodePicture(await encodeJpeg(frame, options.quality));
      packets += 1;
      agesMs.push(performance.now() - startMs);
    }
  };
  const workers = Promise.all(Array.from({ length: options.atOnce }, worker));
  await sleep(options.warmMs);
  packets = 0;
  agesMs = [];
  const fromMs = performance.now();
  await workers;
  return { atMs: performance.now() - fromMs, packets, agesMs };
}

if (process.argv[1] === ONE_PROCESS_ENTRY) {
  const options = JSON.parse(readFileSync(0, 'utf8')) as OneProcessOptions;
  process.stdout.write(JSON.stringify(await measure(options)));
}
