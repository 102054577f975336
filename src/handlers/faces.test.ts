/** The chain of the face service, handler by handler, on real pictures: detect_face -> align -> recognize_face. */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Box, Boxes, Frame } from '../contracts/packet.js';
import type { ProcessingHandler } from '../handler-kit/define.js';
import { iou } from '../vision/geometry.js';
import { cropWithMargin, decodePicture, encodeJpeg, resizeFrame } from '../vision/images.js';
import { manifest as align } from './align/manifest.js';
import { createProcessing, FACES_OF_SAMPLES, outputOf, packetOf, SAMPLE_DIR, samplePath } from './context.testing.js';
import { manifest as describeFace } from './describe-face/manifest.js';
import { manifest as detectFace } from './detect-face/manifest.js';
import { manifest as dlibAlignRecognize } from './dlib-align-recognize/manifest.js';
import { manifest as recognizeFace } from './recognize-face/manifest.js';

const opened: ProcessingHandler[] = [];
const create: typeof createProcessing = async (manifest, params, options) => {
  const handler = await createProcessing(manifest, { gpu: false, ...params }, options);
  opened.push(handler);
  return handler;
};
const sample = (number: number) => decodePicture(readFileSync(samplePath(number)));
const boxesFrom = (handler: ProcessingHandler, input: Frame | Boxes) => outputOf(handler, [input], 'boxes');

let detect: ProcessingHandler;
let aligner: ProcessingHandler;
let recognize: ProcessingHandler;
/** sample1: three people. */
let frame: Frame;
let faces: Boxes;
let aligned: Boxes;

beforeAll(async () => {
  detect = await create(detectFace);
  aligner = await create(align);
  recognize = await create(recognizeFace, { embeddings: true });
  frame = await sample(1);
  faces = await boxesFrom(detect, frame);
  aligned = await boxesFrom(aligner, faces);
});
afterAll(async () => {
  for (const handler of opened) await handler.close();
});

describe('detect_face', () => {
  test('the default finds every face of the six samples, and nothing else', async () => {
    const counts: number[] = [];
    for (let number = 1; number <= 6; number++)
      counts.push((await boxesFrom(detect, await sample(number))).boxes.length);
    expect(counts).toEqual([...FACES_OF_SAMPLES]);
  });

  test.each([
    ['tiny_face_detector', 416],
    ['blazeface', null],
  ])('%s agrees on where the faces are', async (model, size) => {
    const found = await boxesFrom(await create(detectFace, { model, size }), frame);
    expect(found.boxes).toHaveLength(3);
    for (const box of found.boxes)
      expect(Math.max(...faces.boxes.map((other) => iou(box, other)))).toBeGreaterThan(0.45);
  });

  test('boxes lie in the frame, best first, and carry their pixels', () => {
    expect([faces.frame_width, faces.frame_height]).toEqual([frame.width, frame.height]);
    const probs = faces.boxes.map((box) => box.prob);
    expect(probs).toEqual([...probs].sort((a, b) => b - a));
    for (const { label, x, y, w, h, crop } of faces.boxes) {
      expect(label).toBe('face');
      expect(x >= 0 && y >= 0 && x + w <= frame.width && y + h <= frame.height).toBe(true);
      expect(crop!.data.length).toBe(crop!.width * crop!.height * 3);
      expect(crop!.width / crop!.height).toBeCloseTo(w / h, 1);
    }
  });

  test('min_size, multiple and with_crop', async () => {
    const heights = faces.boxes.map((box) => box.h).sort((a, b) => a - b);
    const min_size = (heights[0]! + heights[1]!) / 2;
    expect((await boxesFrom(await create(detectFace, { min_size, with_crop: false }), frame)).boxes).toHaveLength(2);
    const best = await boxesFrom(await create(detectFace, { multiple: false, with_crop: false }), frame);
    const { crop: _crop, ...first } = faces.boxes[0]!;
    expect(best.boxes).toEqual([first]);
  });

  test('given boxes, it looks into each crop and tells places in the frame', async () => {
    const around: Box[] = faces.boxes.map(({ x, y, w, h }) => {
      const box = { label: 'person', prob: 0.9, x: x - w, y: y - h, w: w * 3, h: h * 3 };
      return { ...box, crop: cropWithMargin(frame, box) };
    });
    const found = await boxesFrom(detect, { ...faces, boxes: around });
    expect(found.boxes).toHaveLength(3);
    for (const box of found.boxes) {
      expect(box.label).toBe('face');
      expect(Math.max(...faces.boxes.map((other) => iou(box, other)))).toBeGreaterThan(0.6);
    }
    const chained = await boxesFrom(aligner, found);
    expect(chained.boxes).toHaveLength(3);
    await expect(detect.process([packetOf(chained)])).rejects.toThrow('has an aligned crop');
    const bare = { ...faces, boxes: [{ ...around[0]!, crop: undefined }] };
    await expect(detect.process([packetOf(bare)])).rejects.toThrow('has no crop; set with_crop');
  });

  test('a picture without a face gives no boxes', async () => {
    const grey: Frame = { type: 'frame', width: 320, height: 240, data: Buffer.alloc(320 * 240 * 3, 128) };
    expect((await boxesFrom(detect, grey)).boxes).toEqual([]);
    expect((await boxesFrom(aligner, { ...faces, boxes: [] })).boxes).toEqual([]);
    expect((await boxesFrom(recognize, { ...faces, boxes: [] })).boxes).toEqual([]);
  });

  test('refuses what no model has', async () => {
    await expect(create(detectFace, { model: 'haar' })).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
      message: expect.stringContaining('ssd_mobilenetv1, tiny_face_detector, blazeface'),
    });
    await expect(create(detectFace, { model: '../x.onnx' })).rejects.toMatchObject({ code: 'HANDLER_PARAMS_INVALID' });
    await expect(create(detectFace, { thresh: 2 })).rejects.toMatchObject({ code: 'HANDLER_PARAMS_INVALID' });
    await expect(create(detectFace, { size: 333 })).rejects.toThrow('no input size 333; it takes 512');
  });
});

describe('align', () => {
  test('keeps place and label, adds landmarks in the frame and a chip of dim pixels', () => {
    aligned.boxes.forEach((box, index) => {
      const { crop: _crop, ...before } = faces.boxes[index]!;
      expect(box).toMatchObject(before);
      expect(box.landmarks).toHaveLength(68);
      for (const [x, y] of box.landmarks!) {
        expect(Math.abs(x - (box.x + box.w / 2))).toBeLessThan(box.w);
        expect(Math.abs(y - (box.y + box.h / 2))).toBeLessThan(box.h);
      }
      expect([box.crop!.width, box.crop!.height]).toEqual([150, 150]);
    });
  });

  test('other sizes, the small predictor, and none for a file that is not there', async () => {
    const small = await create(align, { predictor: 'face_landmark_68_tiny', dim: 96 });
    expect((await boxesFrom(small, faces)).boxes[0]!.crop!.width).toBe(96);
    expect(small.warnings).toEqual([]);
    const named = await create(align, { predictor: 'shape_predictor_68_face_landmarks.dat', dim: 224 });
    expect((await boxesFrom(named, faces)).boxes[0]!.crop!.width).toBe(224);
    expect(named.warnings).toEqual([expect.stringContaining('face_landmark_68 takes its place')]);
  });

  test('needs crops, and says so', async () => {
    const bare = { ...faces, boxes: faces.boxes.map(({ crop: _crop, ...box }) => box) };
    await expect(aligner.process([packetOf(bare)])).rejects.toThrow('has no crop; set with_crop');
  });
});

describe('recognize_face and dlib_align_recognize', () => {
  test('without a gallery the label stays and the feature vector is there when asked for', async () => {
    const described = await boxesFrom(recognize, aligned);
    for (const box of described.boxes) {
      expect(box.label).toBe('face');
      expect(box.embedding).toHaveLength(128);
      expect(Math.hypot(...box.embedding!)).toBeCloseTo(1, 4);
    }
    const plain = await create(recognizeFace, { with_crop: false });
    const [first] = (await boxesFrom(plain, aligned)).boxes;
    expect(first).not.toHaveProperty('embedding');
    expect(first).not.toHaveProperty('crop');
  });

  test('the same descriptors whether alignment is a handler of its own or not', async () => {
    const two = await boxesFrom(recognize, aligned);
    const one = await boxesFrom(await create(dlibAlignRecognize, { embeddings: true }), faces);
    two.boxes.forEach((box, index) => {
      const dot = box.embedding!.reduce((sum, value, i) => sum + value * one.boxes[index]!.embedding![i]!, 0);
      expect(dot).toBeGreaterThan(0.9999);
    });
  });

  test.each([
    ['recognize_face', 'face_recognition', recognizeFace],
    ['recognize_face', 'faceres', recognizeFace],
    ['dlib_align_recognize', 'face_recognition', dlibAlignRecognize],
  ])('%s %s names whom the gallery holds, in a worse picture', async (_name, model, manifest) => {
    const gallery = await galleryOf(frame, faces.boxes.slice(0, 2));
    const handler = await create(manifest, { model, classifier: gallery });
    const worse = await decodePicture(
      await encodeJpeg(await resizeFrame(frame, frame.width / 2, frame.height / 2), 50),
    );
    const input = manifest === recognizeFace ? await alignedFacesOf(worse) : await boxesFrom(detect, worse);
    const labels = new Map(
      (await boxesFrom(handler, input)).boxes.map((box) => [nearest(box, faces.boxes, 2), box.label] as const),
    );
    expect(labels).toEqual(
      new Map([
        [0, 'person0'],
        [1, 'person1'],
        [2, 'unknown'],
      ]),
    );
  });

  test('faces too small to recognize get no name but a note', async () => {
    const handler = await create(recognizeFace, { classifier: await galleryOf(frame, faces.boxes), embeddings: true });
    const tiny = { ...aligned, boxes: aligned.boxes.map((box) => ({ ...box, h: 40 })) };
    for (const box of (await boxesFrom(handler, tiny)).boxes) {
      expect(box).toMatchObject({ label: 'unknown', note: 'too small to recognize' });
      expect(box.embedding).toBeUndefined();
    }
  });

  test('a face that is not aligned is an error that says what to do', async () => {
    await expect(recognize.process([packetOf(faces)])).rejects.toThrow('put align before this handler');
  });

  test('a gallery that is empty, missing or not allowed fails the start', async () => {
    const empty = mkdtempSync(join(tmpdir(), 'orchestrator-gallery-'));
    await expect(create(recognizeFace, { classifier: empty })).rejects.toMatchObject({ code: 'GALLERY_INVALID' });
    const missing = join(empty, 'nobody');
    await expect(create(recognizeFace, { classifier: missing })).rejects.toMatchObject({ code: 'GALLERY_INVALID' });
    mkdirSync(join(empty, 'Ada'));
    copyFileSync(join(SAMPLE_DIR, 'index.html'), join(empty, 'Ada', 'a.jpg'));
    await expect(create(recognizeFace, { classifier: empty })).rejects.toMatchObject({ code: 'GALLERY_INVALID' });
    await expect(create(recognizeFace, { classifier: SAMPLE_DIR }, { allow: empty })).rejects.toMatchObject({
      code: 'SOURCE_FORBIDDEN',
    });
  });
});

describe('describe_face', () => {
  // Three women of some 20 to 40 years.
  test.each(['age_gender', 'faceres'])(
    "%s tells age and gender of aligned faces and of a detector's",
    async (model) => {
      const handler = await create(describeFace, { models: [model] });
      for (const input of [aligned, faces]) {
        const told = await boxesFrom(handler, {
          ...input,
          boxes: input.boxes.map((box) => ({ ...box, attributes: { seen: 2 } })),
        });
        told.boxes.forEach(({ attributes, ...box }, index) => {
          expect(box).toEqual(input.boxes[index]);
          expect(attributes).toMatchObject({ seen: 2, gender: 'female' });
          expect(attributes!.gender_prob).toBeGreaterThan(0.5);
          expect(attributes!.age).toBeGreaterThan(15);
          expect(attributes!.age).toBeLessThan(45);
        });
      }
    },
  );

  test('antispoof and liveness tell a probability each', async () => {
    const handler = await create(describeFace, { models: ['antispoof', 'liveness'], with_crop: false });
    for (const { attributes, crop } of (await boxesFrom(handler, aligned)).boxes) {
      expect(crop).toBeUndefined();
      expect(Object.keys(attributes!)).toEqual(['real', 'live']);
      for (const prob of Object.values(attributes!).map(Number)) expect(prob >= 0 && prob <= 1).toBe(true);
    }
  });

  test('small faces, faces without pixels and models that tell nothing are named', async () => {
    const handler = await create(describeFace);
    const small = { ...aligned, boxes: [{ ...aligned.boxes[0]!, h: 40 }] };
    expect((await boxesFrom(handler, small)).boxes).toMatchObject([{ note: 'too small to describe' }]);
    const bare = { ...faces, boxes: [{ ...faces.boxes[0]!, crop: undefined }] };
    await expect(handler.process([packetOf(bare)])).rejects.toThrow('has no crop; set with_crop');
    await expect(create(describeFace, { models: ['age_gender', 'blazeface'] })).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
      message: 'no model blazeface tells attributes of faces; there are age_gender, faceres, antispoof, liveness',
    });
  });
});

async function alignedFacesOf(picture: Frame): Promise<Boxes> {
  return boxesFrom(aligner, await boxesFrom(detect, picture));
}

/** One folder per box, person0 ..., each with the face and what is around it. */
async function galleryOf(picture: Frame, boxes: readonly Box[]): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'orchestrator-gallery-'));
  for (const [index, box] of boxes.entries()) {
    mkdirSync(join(dir, `person${index}`));
    const crop = cropWithMargin(picture, {
      ...box,
      x: box.x - box.w * 0.5,
      y: box.y - box.h * 0.5,
      w: box.w * 2,
      h: box.h * 2,
    });
    writeFileSync(join(dir, `person${index}`, 'a.jpg'), await encodeJpeg(crop, 95));
  }
  return dir;
}

function nearest(box: Box, others: readonly Box[], scale: number): number {
  const scaled = { x: box.x * scale, y: box.y * scale, w: box.w * scale, h: box.h * scale };
  const overlaps = others.map((other) => iou(scaled, other));
  return overlaps.indexOf(Math.max(...overlaps));
}
