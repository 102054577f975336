/** The shipped service and handler type files: they load without a warning, and state the accuracy that is measured here. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type HandlerTypeFile, HandlerTypeFileSchema, HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { Box, Frame } from '../contracts/packet.js';
import { parseWith } from '../contracts/schema.js';
import { normalizeService, type Service, type Variant } from '../contracts/service.js';
import type { ProcessingHandler } from '../handler-kit/define.js';
import { iou } from '../vision/geometry.js';
import { decodePicture, encodeJpeg, resizeFrame } from '../vision/images.js';
import { createProcessing, FACES_OF_SAMPLES, outputOf, samplePath } from './context.testing.js';
import { manifest as detectFace } from './detect-face/manifest.js';
import { HANDLER_MANIFESTS } from './index.js';

const RESOURCES = fileURLToPath(new URL('../../resources', import.meta.url));
const types = new HandlerTypeRegistry(HANDLER_MANIFESTS);

function json(path: string): unknown {
  return JSON.parse(readFileSync(`${RESOURCES}/${path}`, 'utf8'));
}

function service(name: string): Service {
  return normalizeService(json(`services/${name}.json`), types, `${name}.json`);
}

function variantOf(name: string, variant: string): Variant {
  return service(name).variants.find((one) => one.variant_name === variant)!;
}

const files = readdirSync(`${RESOURCES}/services`).map((file) => basename(file, '.json'));

describe('service files', () => {
  test.each(files)('%s loads without a warning and is named like its file', (name) => {
    const loaded = service(name);
    expect(loaded.warnings).toEqual([]);
    expect(loaded.service_name).toBe(name);
    expect(loaded.description.length).toBeGreaterThan(20);
  });

  test('ids are unique', () => {
    const ids = files.map((name) => service(name).service_id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test.each(['face_recognition', 'object_detection'])(
    '%s states accuracies, with what they were measured on',
    (name) => {
      const { variants } = service(name);
      expect(variants.length).toBeGreaterThanOrEqual(4);
      for (const { dataset, accuracy } of variants) {
        expect(accuracy).toBeLessThan(1);
        expect(dataset).toContain('sample1..6.jpg');
      }
    },
  );

  test("the reference's templates become links between nodes", () => {
    const offload = service('offload_detect');
    expect(offload.template).toEqual([
      { node_id: 0, handler_ids: [0, 1, 8, 9] },
      { node_id: 1, handler_ids: [4, 5] },
    ]);
    const links = offload.variants[0]!.links.map(
      (link) => `${link.source_handler}>${link.target_handler}.${link.target_input}`,
    );
    expect(links.sort()).toEqual(['0>1.0', '0>8.0', '1>4.0', '4>5.0', '5>8.1', '8>9.0']);
    const detect = offload.variants[0]!.handlers.find((handler) => handler.handler_id === 5)!;
    expect(detect).toMatchObject({ handler_type: 7, alternatives: [{ params: { targets: ['person'] } }] });
    expect(service('local_render').template).toEqual([{ node_id: 0, handler_ids: [0, 1] }]);
  });
});

test.each(readdirSync(`${RESOURCES}/handler_types`))('%s declares what the manifest says', (file) => {
  const declared: HandlerTypeFile = parseWith(
    HandlerTypeFileSchema,
    json(`handler_types/${file}`),
    'HANDLER_TYPE_FILE_INVALID',
    file,
  );
  const { description, cost } = types.get(declared.handler_type_id, file);
  expect(declared).toMatchObject({ description, cost });
  new HandlerTypeRegistry(HANDLER_MANIFESTS).declare(declared);
});

/** Measured figures may differ by this much between processors: one face or person near a threshold. */
const TOLERANCE = 0.05;

async function handlerOf(variant: Variant, name: string, params: object = {}): Promise<ProcessingHandler> {
  const { handler_type_name, alternatives } = variant.handlers.find((handler) => handler.handler_name === name)!;
  const manifest = HANDLER_MANIFESTS.find((one) => one.handler_type_name === handler_type_name)!;
  return createProcessing(manifest, { ...alternatives[0]!.params, gpu: false, ...params });
}

const pictures: Frame[] = await Promise.all(
  FACES_OF_SAMPLES.map((_, index) => decodePicture(readFileSync(samplePath(index + 1)))),
);

interface Scene {
  readonly frame: Frame;
  readonly faces: readonly Box[];
}

/** The six samples at one size with their 22 faces, and 4, 9 and 16 of them to a picture: 22 to 57 ever smaller faces. */
async function scenes(): Promise<readonly (readonly Scene[])[]> {
  const detect = await createProcessing(detectFace, { model: 'ssd_mobilenetv1', gpu: false, with_crop: false });
  const single: Scene[] = [];
  for (const picture of pictures) {
    const frame = await resizeFrame(picture, 1920, 1280);
    single.push({ frame, faces: (await outputOf(detect, [frame], 'boxes')).boxes });
  }
  await detect.close();
  return [single, ...(await Promise.all([2, 3, 4].map(async (side) => [await mosaic(single, side)])))];
}

const layouts = await scenes();
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe('face_recognition: faces found, 1 to 16 samples to a picture, times rank-1 of copies mirrored, at 35 %, as JPEG 50', async () => {
  const accurate = variantOf('face_recognition', 'accurate');
  const align = await handlerOf(accurate, 'align');
  const copies = await Promise.all(pictures.map(degraded));

  const facesOf = async (detect: ProcessingHandler, frame: Frame) => (await outputOf(detect, [frame], 'boxes')).boxes;
  /** Boxes with embeddings, by the path that the service takes. */
  async function described(
    detect: ProcessingHandler,
    recognize: ProcessingHandler,
    frame: Frame,
  ): Promise<readonly Box[]> {
    const found = await outputOf(detect, [frame], 'boxes');
    return (await outputOf(recognize, [await outputOf(align, [found], 'boxes')], 'boxes')).boxes;
  }

  const ssd = await createProcessing(detectFace, { model: 'ssd_mobilenetv1', gpu: false });
  const known: (readonly Box[])[] = [];
  for (const picture of pictures) known.push(await facesOf(ssd, picture));

  test('accurate finds every face of the samples, and nothing else', async () => {
    const detect = await handlerOf(accurate, 'detect', { with_crop: false });
    const counts: number[] = [];
    for (const picture of pictures) counts.push((await facesOf(detect, picture)).length);
    await detect.close();
    expect(counts).toEqual([...FACES_OF_SAMPLES]);
    expect(known.map((faces) => faces.length)).toEqual([...FACES_OF_SAMPLES]);
  });

  async function recallOf(variant: Variant, detect: ProcessingHandler, layout: readonly Scene[]): Promise<number> {
    let [found, all] = [0, 0];
    for (const { frame, faces } of layout) {
      const seen = await received(variant, frame);
      const boxes = (await facesOf(detect, seen)).map((box) => scaled(box, frame.width / seen.width));
      found += faces.filter((face) => boxes.some((box) => iou(face, box) > 0.35)).length;
      all += faces.length;
    }
    return found / all;
  }

  async function rankOneOf(variant: Variant, detect: ProcessingHandler): Promise<number> {
    const recognize = await handlerOf(variant, 'recognize', { embeddings: true });
    const enrolled: { id: string; embedding: Float32Array }[] = [];
    const queries: { id: string; embedding: Float32Array | undefined }[] = [];
    for (const [index, picture] of pictures.entries()) {
      const copy = await received(variant, copies[index]!);
      const idOf = (box: Box) => `${index}.${known[index]!.findIndex((face) => iou(face, box) > 0.35)}`;
      for (const box of await described(ssd, recognize, picture))
        enrolled.push({ id: idOf(box), embedding: box.embedding! });
      for (const box of await described(detect, recognize, copy)) {
        queries.push({ id: idOf(restored(box, picture, copy)), embedding: box.embedding });
      }
    }
    await recognize.close();
    const isRight = ({ id, embedding }: (typeof queries)[number]) =>
      embedding !== undefined && nearestId(embedding, enrolled) === id;
    return queries.filter(isRight).length / 22;
  }

  test.each(service('face_recognition').variants.map((variant) => [variant.variant_name, variant] as const))(
    '%s',
    async (_name, variant) => {
      const detect = await handlerOf(variant, 'detect');
      const recalls: number[] = [];
      for (const layout of layouts) recalls.push(await recallOf(variant, detect, layout));
      const rankOne = await rankOneOf(variant, detect);
      const accuracy = mean(recalls) * rankOne;
      console.info(
        `face_recognition ${variant.variant_name}: ${recalls.map((one) => one.toFixed(2)).join(' ')}, rank-1 ${rankOne.toFixed(3)}, ${accuracy.toFixed(3)}`,
      );
      expect(Math.abs(accuracy - variant.accuracy)).toBeLessThan(TOLERANCE);
      await detect.close();
    },
    120_000,
  );
});

test.each(['face_recognition', 'object_detection'])('%s: accuracy rises with cost, no variant is dominated', (name) => {
  const costOf = ({ handlers }: Variant) =>
    handlers.reduce((sum, handler) => sum + handler.alternatives[0]!.cost.cpu_ms, 0);
  const byCost = [...service(name).variants].sort((one, other) => costOf(one) - costOf(other));
  expect(byCost.length).toBeGreaterThanOrEqual(4);
  for (const [index, variant] of byCost.slice(1).entries()) {
    expect(costOf(variant)).toBeGreaterThan(costOf(byCost[index]!));
    expect(variant.accuracy).toBeGreaterThan(byCost[index]!.accuracy);
  }
});

describe('object_detection: people found, one sample to a picture up to 4 x 4 samples to a picture', () => {
  test.each(service('object_detection').variants.map((variant) => [variant.variant_name, variant] as const))(
    '%s',
    async (_name, variant) => {
      const detect = await handlerOf(variant, 'detect', { targets: ['person'] });
      const recalls: number[] = [];
      for (const layout of layouts) {
        let [found, all] = [0, 0];
        for (const { frame, faces } of layout) {
          const people = (await outputOf(detect, [frame], 'boxes')).boxes;
          found += peopleFound(faces, people);
          all += faces.length;
        }
        recalls.push(found / all);
      }
      const accuracy = mean(recalls);
      console.info(
        `object_detection ${variant.variant_name}: ${recalls.map((one) => one.toFixed(2)).join(' ')}, ${accuracy.toFixed(3)}`,
      );
      expect(Math.abs(accuracy - variant.accuracy)).toBeLessThan(TOLERANCE);
      await detect.close();
    },
    60_000,
  );
});

async function degraded(picture: Frame): Promise<Frame> {
  const small = await resizeFrame(
    mirrored(picture),
    Math.round(picture.width * 0.35),
    Math.round(picture.height * 0.35),
  );
  return decodePicture(await encodeJpeg(small, 50));
}

function mirrored({ width, height, data }: Frame): Frame {
  const flipped = Buffer.alloc(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++)
      data.copy(flipped, (y * width + width - 1 - x) * 3, (y * width + x) * 3, (y * width + x + 1) * 3);
  }
  return { type: 'frame', width, height, data: flipped };
}

/** A picture as the detector of a variant sees it: encoded, sent and decoded as the service does. */
async function received(variant: Variant, picture: Frame): Promise<Frame> {
  const encode = await handlerOf(variant, 'encode');
  const decode = await handlerOf(variant, 'decode');
  return outputOf(decode, [await outputOf(encode, [picture], 'jpeg')], 'frame');
}

function scaled(box: Box, scale: number): Box {
  return { ...box, x: box.x * scale, y: box.y * scale, w: box.w * scale, h: box.h * scale };
}

/** A box of a degraded copy, in pixels of the picture that it was made of. */
function restored(box: Box, picture: Frame, copy: Frame): Box {
  const scale = picture.width / copy.width;
  return { ...box, x: picture.width - (box.x + box.w) * scale, y: box.y * scale, w: box.w * scale, h: box.h * scale };
}

function nearestId(embedding: Float32Array, enrolled: readonly { id: string; embedding: Float32Array }[]): string {
  const similarity = (other: Float32Array) => other.reduce((sum, value, index) => sum + value * embedding[index]!, 0);
  return enrolled.reduce((best, one) => (similarity(one.embedding) > similarity(best.embedding) ? one : best)).id;
}

/** side x side scenes in one picture of the same size. */
async function mosaic(scenes: readonly { frame: Frame; faces: readonly Box[] }[], side: number) {
  const { width, height } = scenes[0]!.frame;
  const [w, h] = [Math.floor(width / side), Math.floor(height / side)];
  const data = Buffer.alloc(width * height * 3);
  const faces: Box[] = [];
  for (let tile = 0; tile < side * side; tile++) {
    const scene = scenes[tile % scenes.length]!;
    const [left, top] = [(tile % side) * w, Math.floor(tile / side) * h];
    const small = await resizeFrame(scene.frame, w, h);
    for (let y = 0; y < h; y++) small.data.copy(data, ((top + y) * width + left) * 3, y * w * 3, (y + 1) * w * 3);
    const [sx, sy] = [w / width, h / height];
    for (const face of scene.faces) {
      faces.push({ ...face, x: left + face.x * sx, y: top + face.y * sy, w: face.w * sx, h: face.h * sy });
    }
  }
  return { frame: { type: 'frame', width, height, data } satisfies Frame, faces };
}

/** A person is found when a box of its own, taller than the face, has the face in its upper part. */
function peopleFound(faces: readonly Box[], people: readonly Box[]): number {
  const taken = new Set<Box>();
  for (const face of faces) {
    const [cx, cy] = [face.x + face.w / 2, face.y + face.h / 2];
    const person = people.find(
      (box) =>
        !taken.has(box) &&
        cx > box.x &&
        cx < box.x + box.w &&
        cy > box.y &&
        cy < box.y + box.h * 0.6 &&
        box.h > 1.3 * face.h &&
        box.w < 7 * face.w,
    );
    if (person !== undefined) taken.add(person);
  }
  return taken.size;
}
