/** Import of foreign files, with small graphs made here: what is imported runs in the detectors, what is wrong is named. */
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createEngine } from './engine.js';
import { createFaceDetector } from './face-detector.js';
import { type ImportOptions, importModel } from './import-model.js';
import { findImported, listImported } from './imported-models.js';
import { defaultCacheDir, describeModel } from './model-cache.js';
import { createObjectDetector } from './object-detector.js';
import { OnnxGraph } from './onnx-graph.js';
import { createRecognizer } from './recognizer.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'import-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const SIDE = 64;
const CELLS = 64 + 16 + 4;

/** A picture of one colour. */
const plain = (width: number, height: number, rgb: readonly number[]) => ({
  width,
  height,
  data: Buffer.from(Array.from({ length: width * height }, () => rgb).flat()),
});

/**
 * A model that puts out `values`, plus the mean of the (prepared) first channel where `watch` says: what a real net sees
 * of a picture of one colour can then be read from its output.
 */
async function modelFile(values: Float32Array, dims: readonly number[], watch?: number, side = SIDE): Promise<string> {
  const graph = new OnnxGraph({ name: 'made' });
  const mean = graph.add('Flatten', [
    graph.add('GlobalAveragePool', [graph.input('images', 'float', [1, 3, side, side])]),
  ]);
  const weights = new Float32Array(3 * values.length);
  if (watch !== undefined) weights[watch] = 1;
  const gemm = graph.add('Gemm', [
    mean,
    graph.constant(weights, [3, values.length]),
    graph.constant(values, [values.length]),
  ]);
  graph.output('output', graph.add('Reshape', [gemm, graph.int64s(dims)]), dims);
  const path = join(dir, 'made.onnx');
  await writeFile(path, graph.toBytes());
  return path;
}

/** A YOLOv8 head of `classes` with one box: 20 x 10 pixels around (32, 24), of class 1. */
function yolov8(classes: number, prob = 0.9): [Float32Array, number[]] {
  const values = new Float32Array((4 + classes) * CELLS);
  for (const [row, value] of [32, 24, 20, 10, 0, prob].entries()) values[row * CELLS] = value;
  return [values, [1, 4 + classes, CELLS]];
}

const add = (path: string, options: Partial<ImportOptions> = {}) =>
  importModel({ path, name: 'mine', cacheDir: dir, ...options });

describe('ONNX detectors', () => {
  it('run in detect_object with their labels, boxes brought back into the frame', async () => {
    const path = await modelFile(...yolov8(3));
    const model = await add(path, { labels: ['cat', 'dog', 'cow'] });
    expect(model).toMatchObject({ task: 'detect_object', head: 'yolov8', width: 64, height: 64, fit: 'letterbox' });
    const detector = await createObjectDetector({ model: 'mine', cacheDir: dir });
    const boxes = await detector.detect(plain(128, 96, [90, 90, 90]));
    expect(boxes).toHaveLength(1);
    expect(boxes[0]).toMatchObject({ label: 'dog', x: 44, y: 38, w: 40, h: 20 });
    await detector.dispose();
    const others = await createObjectDetector({ model: 'mine', cacheDir: dir, targets: ['cat'] });
    expect(await others.detect(plain(64, 64, [0, 0, 0]))).toEqual([]);
    await others.dispose();
  });

  it.each([
    [{}, [255, 0, 0], 1],
    [{}, [0, 255, 255], 0],
    [{ channels: 'bgr' }, [0, 0, 255], 1],
    [{ mean: [100, 0, 0], scale: [0.01, 1, 1] }, [150, 9, 9], 0.5],
  ] as const)('are fed what %o says', async (options, rgb, seen) => {
    const [values, dims] = yolov8(2, 0);
    const path = await modelFile(values, dims, 5 * CELLS);
    await add(path, { ...(options as Partial<ImportOptions>), labels: ['a', 'b'] });
    const engine = await createEngine('mine', { cacheDir: dir });
    const { output } = await engine.run({ ...plain(SIDE, SIDE, rgb), batch: 1 });
    expect(output!.data[5 * CELLS]).toBeCloseTo(seen, 4);
    await engine.dispose();
  });

  it('of one class find faces', async () => {
    const values = new Float32Array(5 * CELLS);
    for (const [row, value] of [32, 24, 20, 10, 0.9].entries()) values[row * CELLS] = value;
    await add(await modelFile(values, [1, 5, CELLS]));
    const detector = await createFaceDetector({ model: 'mine', cacheDir: dir });
    expect(await detector.detect(plain(64, 64, [0, 0, 0]))).toMatchObject([{ label: 'face', x: 22, y: 19 }]);
    await detector.dispose();
    await expect(createFaceDetector({ model: 'mine', cacheDir: dir, size: 320 })).rejects.toThrow(
      'imported for 64 x 64',
    );
  });

  it('whose labels are not known are refused, with the count', async () => {
    const path = await modelFile(...yolov8(3));
    await expect(add(path)).rejects.toMatchObject({ code: 'MODEL_INVALID', message: /3 classes; give a file/ });
    await expect(add(path, { labels: ['a'] })).rejects.toThrow('yolov8 of 3 classes, not 1 labels');
  });
});

it('an ONNX recogniser has its vectors normalised, one picture a run where it takes no more', async () => {
  const values = Float32Array.from({ length: 128 }, (_, index) => index);
  const model = await add(await modelFile(values, [1, 128]));
  expect(model).toMatchObject({ task: 'recognize_face', embedding_dim: 128, batches: false, pose: 'arcface' });
  const recognizer = await createRecognizer({ model: 'mine', cacheDir: dir });
  const chip = plain(SIDE, SIDE, [1, 2, 3]);
  const [first, second] = await recognizer.embed([chip, chip]);
  expect(Math.hypot(...first!)).toBeCloseTo(1, 5);
  expect(first).toEqual(second);
  await recognizer.dispose();
});

describe('TensorFlow.js files', () => {
  it('a weights manifest of face-api runs like the model of the catalogue', async () => {
    const { sourcePath: path } = await describeModel('tiny_face_detector');
    expect(await add(path)).toMatchObject({ task: 'detect_face', like: 'tiny_face_detector', width: 416 });
    const frame = plain(416, 416, [80, 80, 80]);
    const run = async (model: string, cacheDir: string) => {
      const engine = await createEngine(model, { cacheDir });
      const { grid } = await engine.run({ ...frame, batch: 1 });
      await engine.dispose();
      return grid!.data;
    };
    expect(await run('mine', dir)).toEqual(await run('tiny_face_detector', defaultCacheDir()));
  });

  it('a graph model is read from the output that is named', async () => {
    const { sourcePath: path } = await describeModel('faceres');
    await expect(add(path)).rejects.toThrow(/state head|fit none/);
    const model = await add(path, { output: 'global_pooling/Mean', mean: [0, 0, 0], scale: [1, 1, 1], pose: 'dlib' });
    expect(model).toMatchObject({ task: 'recognize_face', embedding_dim: 1024, width: 224, pose: 'dlib' });
    const chips = [plain(224, 224, [200, 150, 130])];
    const vector = async (name: string, cacheDir?: string) => {
      const recognizer = await createRecognizer({ model: name, cacheDir });
      const [embedding] = await recognizer.embed(chips);
      await recognizer.dispose();
      return embedding;
    };
    expect(await vector('mine', dir)).toEqual(await vector('faceres'));
  });

  it('weights that lie elsewhere are not read', async () => {
    const path = join(dir, 'manifest.json');
    await writeFile(path, JSON.stringify([{ paths: ['../secret.bin'], weights: [] }]));
    await expect(add(path)).rejects.toThrow('../secret.bin does not lie beside it');
  });
});

describe('what is no model', () => {
  it.each([
    ['text', Buffer.from('this is no model, it is a text')],
    ['nothing', Buffer.alloc(0)],
    ['zeros', Buffer.alloc(500)],
  ])('%s is refused', async (_name, bytes) => {
    const path = join(dir, 'x.onnx');
    await writeFile(path, bytes);
    await expect(add(path)).rejects.toMatchObject({ code: 'MODEL_INVALID', message: /x\.onnx: it is no ONNX model/ });
  });

  it('a picture, a truncated model, a directory and a missing file are refused', async () => {
    const { sourcePath } = await describeModel('tiny_face_detector');
    const picture = join(dirname(sourcePath), '../demo/sample1.jpg');
    await expect(add(picture)).rejects.toMatchObject({ code: 'MODEL_INVALID' });
    const path = await modelFile(...yolov8(80));
    await truncate(path, (await readFile(path)).length - 400);
    await expect(add(path)).rejects.toMatchObject({ code: 'MODEL_INVALID' });
    await expect(add(dir)).rejects.toThrow('it is no file');
    await expect(add(join(dir, 'none.onnx'))).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
  });

  it('inputs that are no picture are named', async () => {
    const graph = new OnnxGraph({ name: 'two' });
    const sum = graph.add('Add', [
      graph.input('one', 'float', [1, 3, 8, 8]),
      graph.input('other', 'float', [1, 3, 8, 8]),
    ]);
    graph.output('sum', sum, [1, 3, 8, 8]);
    const path = join(dir, 'two.onnx');
    await writeFile(path, graph.toBytes());
    await expect(add(path)).rejects.toThrow('it has 2 inputs (one, other), one picture is expected');
    const flat = new OnnxGraph({ name: 'flat' });
    flat.output('y', flat.add('Relu', [flat.input('x', 'float', [1, 10])]), [1, 10]);
    await writeFile(path, flat.toBytes());
    await expect(add(path)).rejects.toThrow('its input x [1, 10] is no picture of four dimensions');
  });

  it('without a name it has that of its file', async () => {
    const path = join(dir, 'Some Net_v2.onnx');
    await writeFile(path, await readFile(await modelFile(...yolov8(80))));
    expect(await importModel({ path, cacheDir: dir })).toMatchObject({ name: 'some-net_v2' });
  });

  it('a name of the catalogue, or one that is no name, is refused', async () => {
    const path = await modelFile(...yolov8(80));
    await expect(add(path, { name: 'blazeface' })).rejects.toThrow('is taken by the catalogue');
    await expect(add(path, { name: '../x' })).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('a model that was changed after its import does not load; a bad description is told and left out', async () => {
    await add(await modelFile(...yolov8(80)));
    const file = join(dir, 'imported', 'mine.onnx');
    await writeFile(file, Buffer.from(await readFile(file)).fill(1, 100, 120));
    await expect(createObjectDetector({ model: 'mine', cacheDir: dir })).rejects.toThrow('has changed since');
    await writeFile(join(dir, 'imported', 'mine.json'), '{"name": "mine"}');
    const bad: string[] = [];
    expect(await listImported(dir, (message) => bad.push(message))).toEqual([]);
    expect(bad.join()).toMatch(/mine\.json.*task/);
    await expect(findImported('mine', dir)).rejects.toMatchObject({ code: 'MODEL_INVALID' });
  });
});
