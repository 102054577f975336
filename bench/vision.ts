/** Models under ONNX Runtime at one and two threads on a real picture: milliseconds per call, everything included. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Frame } from '#src/contracts/packet.js';
import { createFaceDetector } from '#src/vision/face-detector.js';
import { cropFrame, decodePicture, encodeJpeg, resizeFrame } from '#src/vision/images.js';
import { createObjectDetector } from '#src/vision/object-detector.js';
import { createRecognizer } from '#src/vision/recognizer.js';
import { type BenchCase, type BenchRow, runCases } from './harness.js';
import type { BenchContext } from './run.js';

const CALLS = 5;
const require = createRequire(import.meta.url);
const PICTURE = join(dirname(require.resolve('@vladmandic/face-api/package.json')), 'demo', 'sample1.jpg');

export async function run({ rounds, rawFile }: BenchContext): Promise<BenchRow[]> {
  const frame = await decodePicture(readFileSync(PICTURE));
  const small = await resizeFrame(frame, 640, 480);
  const cases = [...(await modelCases(frame, 1)), ...(await modelCases(frame, 2)), ...pictureCases(small)];
  return await runCases({ bench: 'vision', cases, units: { call: 'ms' }, lessIsBetter: ['call'], rounds, rawFile });
}

async function modelCases(frame: Frame, threads: number): Promise<BenchCase[]> {
  const cases: BenchCase[] = [];
  const add = (name: string, call: () => Promise<unknown>) =>
    cases.push({ name: `${name}, ${threads} thread${threads === 1 ? '' : 's'}`, measure: () => timed(call) });
  for (const model of ['tiny_face_detector', 'blazeface', 'ssd_mobilenetv1'] as const) {
    const detector = await createFaceDetector({ model, threads });
    add(model, () => detector.detect(frame));
  }
  for (const size of [320, 512, 640]) {
    const detector = await createObjectDetector({ size, threads });
    add(`centernet ${size}`, () => detector.detect(frame));
  }
  const face = cropFrame(frame, { x: 0, y: 0, w: 200, h: 200 });
  for (const model of ['face_recognition', 'faceres'] as const) {
    const recognizer = await createRecognizer({ model, threads });
    add(`${model}, 3 faces`, () => recognizer.embed([face, face, face]));
  }
  return cases;
}

function pictureCases(frame: Frame): BenchCase[] {
  return [
    { name: 'encode 640x480 q80', measure: () => timed(() => encodeJpeg(frame, 80)) },
    {
      name: 'encode + decode 640x480',
      measure: () => timed(async () => decodePicture(await encodeJpeg(frame, 80))),
    },
  ];
}

/** Mean of CALLS calls after one that warms up, ms. */
async function timed(call: () => Promise<unknown>): Promise<Record<string, number>> {
  await call();
  const start = performance.now();
  for (let index = 0; index < CALLS; index++) await call();
  return { call: (performance.now() - start) / CALLS };
}
