/** Detection, landmarks, alignment, recognition and the gallery with the real models on the 22 sample faces. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Box, Crop, Frame } from '../../src/contracts/packet.js';
import { alignFace, chipFor } from '../../src/vision/align.js';
import { createFaceDetector, type FaceDetector } from '../../src/vision/face-detector.js';
import { buildGallery, matchGallery, UNKNOWN_LABEL } from '../../src/vision/gallery.js';
import { cropWithMargin, decodePicture, encodeJpeg } from '../../src/vision/images.js';
import { createLandmarker, type Landmarker } from '../../src/vision/landmarker.js';
import { createObjectDetector } from '../../src/vision/object-detector.js';
import { createRecognizer, RECOGNIZERS, type Recognizer } from '../../src/vision/recognizer.js';
import { countFound, FACES, FACES_TOTAL, loadSamples, sampleBytes } from './samples.testing.js';

const ENGINE = { threads: 2 };
let frames: Frame[];
let detector: FaceDetector;
let landmarker: Landmarker;
/** Boxes of the default detector with landmarks, per sample. */
let faces: Box[][];

beforeAll(async () => {
  [frames, detector, landmarker] = await Promise.all([
    loadSamples(),
    createFaceDetector(ENGINE),
    createLandmarker(ENGINE),
  ]);
  faces = [];
  for (const frame of frames) faces.push(await landmarker.locate(await detector.detect(frame), frame));
});

afterAll(async () => {
  await Promise.all([detector.dispose(), landmarker.dispose()]);
});

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const height = (landmarks: Box['landmarks'], points: readonly number[]) =>
  sum(points.map((point) => landmarks![point]![1])) / points.length;

describe('face detectors', () => {
  it('ssd_mobilenetv1 finds every face and nothing else', () => {
    expect(faces.map((boxes) => boxes.length)).toEqual(FACES);
    for (const [index, boxes] of faces.entries()) {
      for (const box of boxes) {
        expect(box).toMatchObject({ label: 'face' });
        expect(box.x).toBeGreaterThanOrEqual(0);
        expect(box.x + box.w).toBeLessThanOrEqual(frames[index]!.width);
      }
    }
  });

  it.each([
    ['tiny_face_detector', 416, 19, 1],
    ['blazeface', 256, 21, 0],
  ] as const)('%s at %i finds at least %i with at most %i false', async (model, size, least, falseMost) => {
    const other = await createFaceDetector({ ...ENGINE, model, size });
    const boxes = await Promise.all(frames.map((frame) => other.detect(frame)));
    await other.dispose();
    const found = sum(boxes.map((some, index) => countFound(faces[index]!, some)));
    expect(found).toBeGreaterThanOrEqual(least);
    expect(sum(boxes.map((some) => some.length)) - found).toBeLessThanOrEqual(falseMost);
  });

  it('finds nothing in a black or a 1 x 1 frame', async () => {
    expect(await detector.detect({ width: 64, height: 48, data: Buffer.alloc(64 * 48 * 3) })).toEqual([]);
    expect(await detector.detect({ width: 1, height: 1, data: Buffer.alloc(3) })).toEqual([]);
  });
});

describe('landmarks and alignment', () => {
  it('lie in the order of a face: brows, eyes, nose, mouth, chin', () => {
    const upright = faces
      .flat()
      .filter(({ landmarks, w }) => Math.abs(landmarks![45]![1] - landmarks![36]![1]) < w / 4);
    expect(upright.length).toBeGreaterThan(15);
    for (const { landmarks } of upright) {
      expect(height(landmarks, [19, 24])).toBeLessThan(height(landmarks, [36, 45]));
      expect(height(landmarks, [36, 45])).toBeLessThan(height(landmarks, [33]));
      expect(height(landmarks, [33])).toBeLessThan(height(landmarks, [57]));
      expect(height(landmarks, [57])).toBeLessThan(height(landmarks, [8]));
    }
  });

  it('are nearly the same from the crop that travels with the box', async () => {
    const boxes = faces[0]!.map(({ landmarks: _, ...box }) => ({ ...box, crop: cropWithMargin(frames[0]!, box) }));
    const located = await landmarker.locate(boxes);
    for (const [index, box] of located.entries()) {
      const errors = box.landmarks!.map(([x, y], point) => {
        const [rightX, rightY] = faces[0]![index]!.landmarks![point]!;
        return Math.hypot(x - rightX, y - rightY) / box.w;
      });
      expect(sum(errors) / errors.length).toBeLessThan(0.02);
    }
  });

  it('give a chip of the recogniser, from the frame or from the crop alike', () => {
    const box = faces[0]![0]!;
    const fromFrame = alignFace(box, { chip: chipFor('dlib', 150), frame: frames[0]! })!;
    const fromCrop = alignFace({ ...box, crop: cropWithMargin(frames[0]!, box) }, { chip: chipFor('dlib', 150) })!;
    expect([fromFrame.width, fromFrame.height]).toEqual([150, 150]);
    // The middle of the chip; its corners may lie outside the crop.
    const rows = Array.from({ length: 90 }, (_, row) => (row + 30) * 150);
    const differences = rows.flatMap((row) =>
      Array.from({ length: 90 * 3 }, (_, i) =>
        Math.abs(fromFrame.data[(row + 30) * 3 + i]! - fromCrop.data[(row + 30) * 3 + i]!),
      ),
    );
    expect(sum(differences) / differences.length).toBeLessThan(4);
  });

  it('leave a box without pixels or landmarks alone', async () => {
    const box = { label: 'face', prob: 1, x: 0, y: 0, w: 10, h: 10 };
    expect(await landmarker.locate([box])).toEqual([box]);
    expect(alignFace(box, { chip: chipFor('dlib', 224), frame: frames[0]! })).toBeNull();
  });
});

type Change = (picture: Sharp, width: number) => Sharp;
const CHANGES: Record<string, Change> = {
  mirrored: (picture) => picture.flop(),
  'at 35 %': (picture, width) => picture.resize(Math.round(width * 0.35)),
  'as JPEG 50': (picture) => picture,
};

/** The changed samples with the faces found in them, sorted from left to right like the originals. */
async function changedFaces(name: string): Promise<{ frame: Frame; boxes: Box[] }[]> {
  const result = [];
  for (const [index, original] of frames.entries()) {
    const picture = CHANGES[name]!(sharp(sampleBytes(index)), original.width);
    const frame = await decodePicture(await picture.jpeg({ quality: name === 'as JPEG 50' ? 50 : 95 }).toBuffer());
    result.push({ frame, boxes: await landmarker.locate(await detector.detect(frame), frame) });
  }
  return result;
}

/** The changed face that belongs to an original one: same place after undoing the change. */
function partner(
  face: Box,
  sample: Frame,
  changed: { frame: Frame; boxes: Box[] },
  mirrored: boolean,
): Box | undefined {
  const scale = changed.frame.width / sample.width;
  const x = (mirrored ? sample.width - face.x - face.w / 2 : face.x + face.w / 2) * scale;
  const y = (face.y + face.h / 2) * scale;
  return changed.boxes.find((box) => x > box.x && x < box.x + box.w && y > box.y && y < box.y + box.h);
}

describe('recognisers', () => {
  let changed: Record<string, { frame: Frame; boxes: Box[] }[]>;
  beforeAll(async () => {
    changed = {};
    for (const name of Object.keys(CHANGES)) changed[name] = await changedFaces(name);
  });

  const chipOf = (box: Box, frame: Frame, { chip }: Recognizer): Crop => alignFace(box, { chip, frame })!;

  it.each(RECOGNIZERS)(
    '%s knows at least 20 of the 22 faces in each changed copy',
    async (model) => {
      const recognizer = await createRecognizer({ ...ENGINE, model });
      const chips = faces.flatMap((boxes, index) => boxes.map((box) => chipOf(box, frames[index]!, recognizer)));
      const known = await recognizer.embed(chips);
      expect(known).toHaveLength(FACES_TOTAL);
      expect(known[0]).toHaveLength(recognizer.dim);
      expect(Math.hypot(...known[0]!)).toBeCloseTo(1, 4);
      const enrolled = known.map((embedding, index) => ({ label: String(index), embedding }));
      const gallery = { faces: enrolled, dim: recognizer.dim, distanceScale: recognizer.distanceScale };
      for (const name of Object.keys(CHANGES)) {
        const queries: { id: number; chip: Crop }[] = [];
        let id = 0;
        for (const [index, boxes] of faces.entries()) {
          for (const face of boxes) {
            const twin = partner(face, frames[index]!, changed[name]![index]!, name === 'mirrored');
            if (twin) queries.push({ id, chip: chipOf(twin, changed[name]![index]!.frame, recognizer) });
            id++;
          }
        }
        const embeddings = await recognizer.embed(queries.map(({ chip }) => chip));
        const right = queries.filter(
          (query, index) =>
            matchGallery(gallery, embeddings[index]!, Number.POSITIVE_INFINITY).label === String(query.id),
        );
        expect(right.length, name).toBeGreaterThanOrEqual(20);
      }
      await recognizer.dispose();
    },
    60_000,
  );
});

describe('gallery', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'gallery-'));
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  async function enrol(person: string, file: string, frame: Frame, box: Box): Promise<void> {
    await mkdir(join(dir, 'people', person), { recursive: true });
    const crop = cropWithMargin(frame, box, 1);
    await writeFile(join(dir, 'people', person, file), await encodeJpeg(crop, 90));
  }

  it('names whom it knows, calls others unknown, and reads its cache', async () => {
    const recognizer = await createRecognizer(ENGINE);
    await enrol('Ada', '1.jpg', frames[0]!, faces[0]![0]!);
    await enrol('Ada', '2.jpg', frames[0]!, faces[0]![0]!);
    await enrol('Bea', '1.jpg', frames[3]!, faces[3]![1]!);
    const options = { dir: join(dir, 'people'), recognizer, detector, landmarker, cacheDir: join(dir, 'cache') };
    const gallery = await buildGallery(options);
    expect(gallery.faces.map((face) => face.label)).toEqual(['Ada', 'Ada', 'Bea']);
    const query = async (sample: number, face: number) => {
      const chip = alignFace(faces[sample]![face]!, { chip: recognizer.chip, frame: frames[sample]! })!;
      return matchGallery(gallery, (await recognizer.embed([chip]))[0]!, recognizer.thresh);
    };
    expect(await query(0, 0)).toMatchObject({ label: 'Ada' });
    expect(await query(3, 1)).toMatchObject({ label: 'Bea' });
    expect(await query(5, 3)).toMatchObject({ label: UNKNOWN_LABEL });
    const silent = { ...detector, detect: () => Promise.reject(new Error('the cache was not used')) };
    expect(await buildGallery({ ...options, detector: silent })).toEqual(gallery);
    await recognizer.dispose();
  });

  it('names the folder or picture that it refuses', async () => {
    const recognizer = await createRecognizer(ENGINE);
    const options = { recognizer, detector, landmarker, cacheDir: join(dir, 'cache') };
    const build = (name: string) => buildGallery({ ...options, dir: join(dir, name) });
    await expect(build('nowhere')).rejects.toMatchObject({ code: 'GALLERY_INVALID', message: /nowhere/ });
    await mkdir(join(dir, 'none'));
    await expect(build('none')).rejects.toMatchObject({ code: 'GALLERY_INVALID', message: /one per person/ });
    await mkdir(join(dir, 'hollow', 'Cleo'), { recursive: true });
    await expect(build('hollow')).rejects.toMatchObject({ code: 'GALLERY_INVALID', message: /Cleo/ });
    await mkdir(join(dir, 'bad', 'Dora'), { recursive: true });
    await writeFile(join(dir, 'bad', 'Dora', 'noise.jpg'), 'not a picture');
    await expect(build('bad')).rejects.toMatchObject({ code: 'GALLERY_INVALID', message: /noise\.jpg/ });
    const black = { width: 64, height: 64, data: Buffer.alloc(64 * 64 * 3) };
    await writeFile(join(dir, 'bad', 'Dora', 'noise.jpg'), await encodeJpeg(black, 90));
    await expect(build('bad')).rejects.toMatchObject({ code: 'GALLERY_INVALID', message: /no face .*noise\.jpg/ });
    await recognizer.dispose();
  });
});

describe('object detector', () => {
  it.each([320, 512, 640])('finds people at %i', async (size) => {
    const objects = await createObjectDetector({ ...ENGINE, size, targets: ['person'], thresh: 0.3 });
    const boxes = await objects.detect(frames[0]!);
    await objects.dispose();
    expect(boxes.length).toBeGreaterThanOrEqual(2);
    expect(new Set(boxes.map((box) => box.label))).toEqual(new Set(['person']));
    const found = countFound(boxes, faces[0]!);
    expect(found).toBeGreaterThanOrEqual(2);
  });

  it('refuses unknown targets, sizes and label files', async () => {
    await expect(createObjectDetector({ targets: ['unicorn'] })).rejects.toMatchObject({
      code: 'HANDLER_PARAMS_INVALID',
    });
    await expect(createObjectDetector({ size: 500 })).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
    await expect(createObjectDetector({ labels: 'nowhere.names' })).rejects.toMatchObject({ code: 'MODEL_INVALID' });
  });

  it('has one COCO label per line', async () => {
    const lines = (await readFile('resources/labels/coco.names', 'utf8')).trim().split('\n');
    expect(new Set(lines).size).toBe(80);
  });
});
