/**
 * A small set to evaluate the shipped services on, made of the sample pictures that npm installs with the models: 22 people,
 * seen by themselves and 4, 9 and 16 pictures to one, so that they get ever smaller; for recognition each face, and a
 * copy of it that is mirrored, at 35 % size and saved as JPEG 50. It ranks variants; it says little about other pictures.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Frame } from '../../contracts/packet.js';
import type { Truth } from '../../vision/accuracy.js';
import { createFaceDetector } from '../../vision/face-detector.js';
import { expandRect, type Rect } from '../../vision/geometry.js';
import { cropFrame, decodePicture, encodeJpeg, mirrorFrame, resizeFrame } from '../../vision/images.js';
import { samplePicturesDir } from '../package-facts.js';
import { ANNOTATIONS_FILE, type Annotations } from './dataset.js';

export type SampleKind = 'faces' | 'people';

/** Left, top, right and bottom of the people in sample1..6.jpg by eye, pixels; as far as they can be seen. */
const PEOPLE: readonly (readonly (readonly [number, number, number, number])[])[] = [
  [
    [176, 218, 668, 1280],
    [650, 316, 1250, 1280],
    [1266, 176, 1880, 1280],
  ],
  [
    [35, 42, 893, 1367],
    [724, 77, 1333, 1367],
    [1192, 42, 1913, 1367],
  ],
  [
    [0, 281, 921, 1350],
    [897, 144, 1406, 1350],
    [1354, 221, 1916, 1350],
  ],
  [
    [67, 95, 680, 1448],
    [541, 46, 928, 1448],
    [805, 98, 1280, 1448],
    [1174, 98, 1860, 1448],
  ],
  [
    [53, 812, 756, 1398],
    [394, 355, 949, 1290],
    [703, 49, 1090, 950],
    [950, 186, 1442, 950],
    [897, 274, 1846, 1398],
  ],
  [
    [113, 390, 665, 1537],
    [594, 221, 1034, 1537],
    [991, 169, 1420, 1537],
    [1385, 169, 1825, 1537],
  ],
];

const SIZE = { width: 1920, height: 1280 } as const;
/** Of the mosaics, pictures. */
const SIDES = [2, 3, 4] as const;
const JPEG_QUALITY = 92;
const COPY = { scale: 0.35, quality: 50 } as const;
/** Around a portrait's face, as a share of its size. */
const MARGIN = 0.6;

interface Scene {
  readonly frame: Frame;
  readonly truth: readonly Truth[];
}

/** Writes the set into a temporary directory, which `act` gets and which is gone afterwards. */
export async function withSampleSet<T>(
  kind: SampleKind,
  cacheDir: string,
  act: (directory: string) => Promise<T>,
): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'orchestrator-samples-'));
  try {
    await writeSampleSet(kind, cacheDir, directory);
    return await act(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function writeSampleSet(kind: SampleKind, cacheDir: string, directory: string): Promise<void> {
  const pictures = await Promise.all(
    PEOPLE.map((_, index) => decodePicture(readFileSync(join(samplePicturesDir(), `sample${index + 1}.jpg`)))),
  );
  const truths = kind === 'people' ? PEOPLE.map(peopleOf) : await facesOf(pictures, cacheDir);
  const single = await Promise.all(
    pictures.map((frame, index) => tile(frame, truths[index]!, SIZE.width, SIZE.height)),
  );
  const mosaics = await Promise.all(SIDES.map((side) => mosaic(single, side)));
  await writeScenes([...single, ...mosaics], directory);
  if (kind === 'faces') await writePortraits(pictures, truths, directory);
}

function peopleOf(boxes: (typeof PEOPLE)[number]): Truth[] {
  return boxes.map(([left, top, right, bottom]) => ({
    ...{ label: 'person', x: left, y: top, w: right - left, h: bottom - top },
  }));
}

/** By the most accurate detector, which finds every face of these pictures and nothing else (test/vision). */
async function facesOf(pictures: readonly Frame[], cacheDir: string): Promise<Truth[][]> {
  const detector = await createFaceDetector({ model: 'ssd_mobilenetv1', cacheDir });
  const faces: Truth[][] = [];
  for (const picture of pictures) faces.push(await detector.detect(picture));
  await detector.dispose();
  return faces;
}

async function tile(frame: Frame, truth: readonly Truth[], width: number, height: number): Promise<Scene> {
  const [sx, sy] = [width / frame.width, height / frame.height];
  return {
    frame: await resizeFrame(frame, width, height),
    truth: truth.map((one) => ({ label: one.label, x: one.x * sx, y: one.y * sy, w: one.w * sx, h: one.h * sy })),
  };
}

/** side x side scenes in turn, in one picture of the same size. */
async function mosaic(scenes: readonly Scene[], side: number): Promise<Scene> {
  const { width, height } = SIZE;
  const [w, h] = [Math.floor(width / side), Math.floor(height / side)];
  const data = Buffer.alloc(width * height * 3);
  const truth: Truth[] = [];
  for (let at = 0; at < side * side; at++) {
    const scene = scenes[at % scenes.length]!;
    const [left, top] = [(at % side) * w, Math.floor(at / side) * h];
    const small = await tile(scene.frame, scene.truth, w, h);
    for (let y = 0; y < h; y++) {
      small.frame.data.copy(data, ((top + y) * width + left) * 3, y * w * 3, (y + 1) * w * 3);
    }
    truth.push(...small.truth.map((one) => ({ ...one, x: one.x + left, y: one.y + top })));
  }
  return { frame: { type: 'frame', width, height, data }, truth };
}

async function writeScenes(scenes: readonly Scene[], directory: string): Promise<void> {
  mkdirSync(join(directory, 'scenes'));
  const label = scenes[0]!.truth[0]!.label;
  const annotations: Annotations = { images: [], categories: [{ id: 1, name: label }], annotations: [] };
  for (const [id, { frame, truth }] of scenes.entries()) {
    const file_name = join('scenes', `${id}.jpg`);
    writeFileSync(join(directory, file_name), await encodeJpeg(frame, JPEG_QUALITY));
    annotations.images.push({ id, file_name });
    for (const { x, y, w, h } of truth) {
      annotations.annotations.push({ image_id: id, category_id: 1, bbox: [x, y, w, h] });
    }
  }
  writeFileSync(join(directory, ANNOTATIONS_FILE), JSON.stringify(annotations));
}

async function writePortraits(
  pictures: readonly Frame[],
  truths: readonly (readonly Rect[])[],
  directory: string,
): Promise<void> {
  for (const [picture, faces] of truths.entries()) {
    for (const [index, face] of faces.entries()) {
      const folder = join(directory, `person-${picture + 1}-${index + 1}`);
      mkdirSync(folder);
      const portrait = cropFrame(pictures[picture]!, expandRect(face, MARGIN));
      const [width, height] = [Math.round(portrait.width * COPY.scale), Math.round(portrait.height * COPY.scale)];
      const copy = await resizeFrame(await mirrorFrame(portrait), width, height);
      writeFileSync(join(folder, 'portrait.jpg'), await encodeJpeg(portrait, JPEG_QUALITY));
      writeFileSync(join(folder, 'copy.jpg'), await encodeJpeg(copy, COPY.quality));
    }
  }
}
