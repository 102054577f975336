/** Every head of another maker, imported from a small graph made here: told by its shapes or stated, and run to its boxes. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createFaceDetector } from './face-detector.js';
import { type ImportOptions, importModel } from './import-model.js';
import { createObjectDetector } from './object-detector.js';
import { OnnxGraph } from './onnx-graph.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'import-heads-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const SIDE = 64;
/** At strides 8, 16 and 32. */
const CELLS = 64 + 16 + 4;
/** What every graph puts out, in its own form: 16 x 8 px around (20, 28), of the second of three classes. */
const BOX = { x: 12, y: 24, w: 16, h: 8 };

type Made = Record<string, { readonly dims: readonly number[]; readonly values: Readonly<Record<number, number>> }>;

/** Outputs that do not depend on the picture, but are computed from it as far as ONNX Runtime can tell. */
async function fileOf(outputs: Made): Promise<string> {
  const graph = new OnnxGraph({ name: 'made' });
  const picture = graph.input('images', 'float', [1, 3, SIDE, SIDE]);
  const nothing = graph.add('Mul', [graph.add('ReduceMean', [picture], { keepdims: 0 }), graph.scalar(0)]);
  for (const [name, { dims, values }] of Object.entries(outputs)) {
    const data = new Float32Array(dims.reduce((product, size) => product * size, 1));
    for (const [index, value] of Object.entries(values)) data[Number(index)] = value;
    graph.output(name, graph.add('Add', [graph.constant(data, dims), nothing]), dims);
  }
  const path = join(dir, 'made.onnx');
  await writeFile(path, graph.toBytes());
  return path;
}

const row = (start: number, ...values: number[]) =>
  Object.fromEntries(values.map((value, index) => [start + index, value]));
const one = (dims: number[], values: Record<number, number>): Made => ({ output: { dims, values } });

/** A side at `bin` of NanoDet's eight: all of the distribution lies there. */
const nanodetSides = (start: number, ...bins: number[]) =>
  Object.assign({}, ...bins.map((bin, side) => ({ [start + side * 8 + bin]: 60 })));

const LABELS = ['cat', 'dog', 'cow'];
const HEADS: readonly [head: string, outputs: Made, options: Partial<ImportOptions>][] = [
  ['yolov5', one([1, 3 * CELLS, 8], row(5 * 8, 20, 28, 16, 8, 0.9, 0, 1, 0)), {}],
  [
    'yolov8',
    one([1, 7, CELLS], Object.fromEntries([20, 28, 16, 8, 0, 0.9, 0].map((value, at) => [at * CELLS, value]))),
    {},
  ],
  // Cell (2, 3) of stride 8.
  ['yolox', one([1, CELLS, 8], row((3 * 8 + 2) * 8, 0.5, 0.5, Math.log(2), Math.log(1), 0.9, 0, 1, 0)), {}],
  ['end_to_end', one([1, 100, 6], row(0, 12, 24, 28, 32, 0.9, 1)), {}],
  // Cell (2, 3) of stride 8, its centre (20, 28); one stride to left and right, half a one up and down: bins 0 and 1 alike.
  [
    'nanodet',
    one([1, CELLS, 35], {
      [(3 * 8 + 2) * 35 + 1]: 0.9,
      ...nanodetSides((3 * 8 + 2) * 35 + 3, 1, 0, 1, 0),
      ...nanodetSides((3 * 8 + 2) * 35 + 3, 1, 1, 1, 1),
    }),
    { head: 'nanodet' },
  ],
  [
    'ssd',
    {
      detection_boxes: { dims: [1, 2, 4], values: row(0, 24 / 64, 12 / 64, 32 / 64, 28 / 64) },
      detection_scores: { dims: [1, 2], values: { 0: 0.9 } },
      detection_classes: { dims: [1, 2], values: { 0: 2, 1: 1 } },
    },
    {},
  ],
];

it.each(HEADS)('%s finds objects with the labels that are given', async (head, outputs, options) => {
  const path = await fileOf(outputs);
  const model = await importModel({ path, name: 'mine', cacheDir: dir, labels: LABELS, ...options });
  expect(model).toMatchObject({ task: 'detect_object', head, labels: LABELS, width: SIDE, height: SIDE });
  const detector = await createObjectDetector({ model: 'mine', cacheDir: dir });
  const [found, ...others] = await detector.detect({ width: SIDE, height: SIDE, data: Buffer.alloc(SIDE * SIDE * 3) });
  await detector.dispose();
  expect(others).toEqual([]);
  expect(found!.label).toBe('dog');
  expect(found!.prob).toBeCloseTo(0.9, 5);
  for (const [side, value] of Object.entries(BOX)) expect(found![side as keyof typeof BOX], side).toBeCloseTo(value, 3);
});

it('ultraface finds faces', async () => {
  const path = await fileOf({
    scores: { dims: [1, 10, 2], values: row(6, 0.1, 0.9) },
    boxes: { dims: [1, 10, 4], values: row(12, 12 / 64, 24 / 64, 28 / 64, 32 / 64) },
  });
  expect(await importModel({ path, name: 'mine', cacheDir: dir })).toMatchObject({
    task: 'detect_face',
    head: 'ultraface',
  });
  const detector = await createFaceDetector({ model: 'mine', cacheDir: dir });
  const found = await detector.detect({ width: SIDE, height: SIDE, data: Buffer.alloc(SIDE * SIDE * 3) });
  await detector.dispose();
  expect(found).toHaveLength(1);
  expect(found[0]).toMatchObject({ label: 'face', x: 12, y: 24, w: 16, h: 8 });
});

it('what the shapes leave open is asked for, and a head that is stated must be one', async () => {
  const path = await fileOf(one([1, CELLS, 43], {}));
  const add = (options: Partial<ImportOptions>) => importModel({ path, name: 'mine', cacheDir: dir, ...options });
  await expect(add({})).rejects.toThrow('yolox of 38 classes and nanodet of 11 classes; state head or labels');
  await expect(add({ head: 'yolo' })).rejects.toMatchObject({ code: 'USAGE', message: /head yolo is none of yolov5/ });
  const labels = Array.from({ length: 11 }, (_, index) => `class ${index}`);
  expect(await add({ labels })).toMatchObject({ head: 'nanodet', labels });
});
