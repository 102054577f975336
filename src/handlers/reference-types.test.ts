/** The reference's own types of detectors and recognisers, each on a real picture, with the reference's parameters. */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Box, Boxes, Frame } from '../contracts/packet.js';
import type { ProcessingHandler } from '../handler-kit/define.js';
import { iou } from '../vision/geometry.js';
import { cropWithMargin, decodePicture, encodeJpeg } from '../vision/images.js';
import { createProcessing, outputOf, samplePath } from './context.testing.js';
import { manifest as facenetRecognize } from './facenet-recognize/manifest.js';
import { manifest as haarDetectFace } from './haar-detect-face/manifest.js';
import { manifest as mmodDetectFace } from './mmod-detect-face/manifest.js';
import { manifest as mtcnnDetectFaceAlign } from './mtcnn-detect-face-align/manifest.js';
import { manifest as openfaceRecognize } from './openface-recognize/manifest.js';

const opened: ProcessingHandler[] = [];
const create: typeof createProcessing = async (manifest, params, options) => {
  const handler = await createProcessing(manifest, params, options);
  opened.push(handler);
  return handler;
};
const boxesFrom = (handler: ProcessingHandler, input: Frame | Boxes) => outputOf(handler, [input], 'boxes');

/** sample1: three people. */
let frame: Frame;
let faces: Boxes;
beforeAll(async () => {
  frame = await decodePicture(readFileSync(samplePath(1)));
  faces = await boxesFrom(await create(mmodDetectFace, { gpu: false }), frame);
});
afterAll(async () => {
  for (const handler of opened) await handler.close();
});

const overlaps = (boxes: readonly Box[]) =>
  faces.boxes.filter((face) => boxes.some((box) => iou(face, box) > 0.35)).length;

describe('detectors', () => {
  test('mmod_detect_face finds the faces on its stand-in, and takes the name of the original file with a warning', async () => {
    expect(faces.boxes).toHaveLength(3);
    const params = { model: 'mmod_human_face_detector.dat', upsample: 1, tresh: 0.5, gpu: false };
    const named = await create(mmodDetectFace, params);
    expect(named.warnings.join()).toContain('ssd_mobilenetv1 takes their place');
    expect((await boxesFrom(named, frame)).boxes).toHaveLength(3);
    const other = await create(mmodDetectFace, { model: 'blazeface', gpu: false });
    expect(overlaps((await boxesFrom(other, frame)).boxes)).toBe(3);
    await expect(create(mmodDetectFace, { model: 'nothing' })).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
  });

  test('mtcnn_detect_face_align gives aligned crops of dim pixels', async () => {
    const params = { dim: 160, margin: 32, gpu_memory_frac: 0.3, gpu: false };
    const { boxes } = await boxesFrom(await create(mtcnnDetectFaceAlign, params), frame);
    expect(overlaps(boxes)).toBe(3);
    for (const box of boxes) {
      expect(box.landmarks).toHaveLength(68);
      expect([box.crop!.width, box.crop!.height]).toEqual([160, 160]);
    }
    const bare = await create(mtcnnDetectFaceAlign, { with_crop: false, multiple: false, gpu: false });
    const [only, ...others] = (await boxesFrom(bare, frame)).boxes;
    expect(others).toEqual([]);
    expect(only!.crop).toBeUndefined();
  });

  test('haar_detect_face finds frontal faces where its cascade is, and is refused with the way to get it where not', async () => {
    const none = { cascade: 'haarcascade_of_nothing' };
    await expect(create(haarDetectFace, none)).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
      message: expect.stringContaining('apt-get install opencv-data'),
    });
    const upright = await decodePicture(readFileSync(samplePath(3)));
    const known = await boxesFrom(await create(mmodDetectFace, { gpu: false }), upright);
    const { boxes } = await boxesFrom(await create(haarDetectFace, { scale_factor: 1.1, min_size: 40 }), upright);
    expect(known.boxes).toHaveLength(3);
    for (const face of known.boxes) expect(Math.max(...boxes.map((box) => iou(face, box)))).toBeGreaterThan(0.4);
    for (const box of boxes) {
      expect(box).toMatchObject({ label: 'face', prob: 1 });
      expect(box.h).toBeGreaterThanOrEqual(40);
      expect(box.crop).toBeDefined();
    }
  });

  test('haar_detect_face refuses a file that is no cascade, and ranges that cannot be', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'orchestrator-cascade-'));
    for (const [index, text] of ['no xml', '<?xml version="1.0"?><opencv_storage></opencv_storage>'].entries()) {
      const cascade = join(dir, `${index}.xml`);
      writeFileSync(cascade, text);
      await expect(create(haarDetectFace, { cascade })).rejects.toMatchObject({ code: 'MODEL_INVALID' });
    }
    await expect(create(haarDetectFace, { cascade: '/etc/x.xml' }, { allow: dir })).rejects.toMatchObject({
      code: 'SOURCE_FORBIDDEN',
    });
    await expect(create(haarDetectFace, { scale_factor: 1 })).rejects.toMatchObject({ code: 'HANDLER_PARAMS_INVALID' });
  });
});

describe('recognisers', () => {
  let aligned: Boxes;
  let classifier: string;
  beforeAll(async () => {
    aligned = await boxesFrom(await create(mtcnnDetectFaceAlign, { gpu: false }), frame);
    classifier = mkdtempSync(join(tmpdir(), 'orchestrator-gallery-'));
    for (const [index, box] of aligned.boxes.slice(0, 2).entries()) {
      mkdirSync(join(classifier, `person${index}`));
      const portrait = cropWithMargin(frame, box, 0.8);
      writeFileSync(join(classifier, `person${index}`, 'a.jpg'), await encodeJpeg(portrait, 95));
    }
  });

  test.each([
    ['openface_recognize', openfaceRecognize, 'nn4.small2.v1.t7', 'face_recognition'],
    ['facenet_recognize', facenetRecognize, '20180402-114759.pb', 'faceres'],
  ] as const)(
    '%s names whom the gallery holds; the original file means its stand-in',
    async (_name, manifest, file, standIn) => {
      const handler = await create(manifest, { model: file, classifier, tresh: 0.5, gpu: false });
      expect(handler.warnings.join()).toContain(`${standIn} takes their place`);
      const labels = (await boxesFrom(handler, aligned)).boxes.map((box) => box.label);
      expect(labels).toEqual(['person0', 'person1', 'unknown']);
    },
  );

  test('a small thresh names nobody', async () => {
    const handler = await create(openfaceRecognize, { classifier, thresh: 0.001, gpu: false });
    const labels = (await boxesFrom(handler, aligned)).boxes.map((box) => box.label);
    expect(labels).toEqual(['unknown', 'unknown', 'unknown']);
  });
});
