import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chooseSize, findModel, MODELS } from './catalogue.js';
import { convertGraph } from './convert-graph.js';
import { createEngine, installedRuntime, type Runtime } from './engine.js';
import { defaultCacheDir, describeModel, loadModel } from './model-cache.js';
import { halfToFloat } from './tfjs-weights.js';

let cacheDir: string;
let messages: string[];
const onProgress = (message: string) => messages.push(message);
const load = () => loadModel('face_landmark_68_tiny', { cacheDir, onProgress });
const cachedModel = async () => join(cacheDir, (await readdir(cacheDir)).find((name) => name.endsWith('.onnx'))!);

beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'models-'));
  messages = [];
});
afterEach(() => rm(cacheDir, { recursive: true, force: true }));

describe('catalogue', () => {
  it('finds the weights of every model and gives each one hash', async () => {
    const sources = await Promise.all(MODELS.map(({ name }) => describeModel(name)));
    expect(new Set(sources.map((source) => source.sourceSha256)).size).toBe(MODELS.length);
    for (const source of sources) expect(source.sourceBytes).toBeGreaterThan(50_000);
    expect(sources.map((source) => source.sourceSha256)).toEqual(MODELS.map((row) => row.sha256));
  });

  it('refuses unknown names, tasks and sizes by naming what there is', () => {
    const refused = (act: () => unknown) => expect(act).toThrow(expect.objectContaining({ code: 'MODEL_NOT_FOUND' }));
    refused(() => findModel('yolo'));
    refused(() => findModel('faceres', 'detect_face'));
    refused(() => chooseSize(findModel('centernet'), 333));
    expect(chooseSize(findModel('centernet'))).toBe(512);
  });
});

describe('loadModel', () => {
  it('converts once', async () => {
    const first = await load();
    const { length } = messages;
    expect(length).toBeGreaterThan(0);
    expect(Buffer.compare(await load(), first)).toBe(0);
    expect(messages).toHaveLength(length);
  });

  it.each(['cut', 'changed'])('converts again when the cached file was %s', async (damage) => {
    const first = await load();
    const path = await cachedModel();
    if (damage === 'cut') await truncate(path, 1000);
    else await writeFile(path, Buffer.from(await readFile(path)).fill(7, 500, 600));
    expect(Buffer.compare(await load(), first)).toBe(0);
    expect(messages).toContainEqual(expect.stringContaining('corrupt'));
    expect(Buffer.compare(await readFile(path), first)).toBe(0);
  });

  it('is safe when several do it at once', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, load));
    for (const bytes of all) expect(Buffer.compare(bytes, all[0]!)).toBe(0);
    const names = await readdir(cacheDir);
    expect(names.filter((name) => name.endsWith('.tmp'))).toEqual([]);
    expect(names).toHaveLength(2);
  });

  it('loads although the cache cannot be written', async () => {
    const blocked = join(cacheDir, 'file');
    await writeFile(blocked, '');
    const bytes = await loadModel('face_landmark_68_tiny', { cacheDir: join(blocked, 'below'), onProgress });
    expect(bytes.length).toBeGreaterThan(100_000);
    expect(messages).toContainEqual(expect.stringContaining('cannot be written'));
  });

  it('has a default place', () => {
    expect(defaultCacheDir()).toMatch(/vision-orchestrator.models$/);
  });
});

describe('converter', () => {
  it('refuses an operator that it does not know, by name', () => {
    const nodes = [
      { name: 'x', op: 'Placeholder' },
      { name: 'y', op: 'Frobnicate', input: ['x'] },
    ];
    const convert = () =>
      convertGraph({ name: 'odd', nodes, weights: new Map(), size: [8, 8], outputs: { y: { node: 'y', dims: [1] } } });
    expect(convert).toThrow(
      expect.objectContaining({ code: 'MODEL_INVALID', message: expect.stringMatching(/Frobnicate/) }),
    );
  });

  it('reads half floats', () => {
    expect([0x3c00, 0xc000, 0x0001, 0x8000, 0x7c00].map(halfToFloat)).toEqual([1, -2, 2 ** -24, -0, Infinity]);
    expect(halfToFloat(0x7e00)).toBeNaN();
  });
});

describe('engine', () => {
  it('runs batches of any size, and not after dispose', async () => {
    const engine = await createEngine('face_landmark_68_tiny', { cacheDir, gpu: 'auto' });
    const data = new Uint8Array(3 * 112 * 112 * 3).fill(90);
    const { points } = await engine.run({ data, batch: 3, height: 112, width: 112 });
    expect(points!.dims).toEqual([3, 136]);
    expect(points!.data.slice(0, 136)).toEqual(points!.data.slice(136, 272));
    await engine.dispose();
    await engine.dispose();
    await expect(engine.run({ data, batch: 3, height: 112, width: 112 })).rejects.toThrow(/disposed/);
  });

  /** ONNX Runtime of a machine without CUDA, or with a provider that is there but does not work. */
  const runtimeWith = (cuda: 'none' | 'broken') => async (): Promise<Runtime> => {
    const { InferenceSession, Tensor } = await installedRuntime();
    return {
      Tensor,
      hasCuda: () => cuda === 'broken',
      InferenceSession: {
        async create(model, options) {
          if (!options.executionProviders!.includes('cuda')) return InferenceSession.create(model, options);
          throw new Error('CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version');
        },
      },
    };
  };

  it.each(['none', 'broken'] as const)('runs on the CPU where gpu: auto finds a CUDA that is %s', async (cuda) => {
    const options = { cacheDir, gpu: 'auto', loadRuntime: runtimeWith(cuda) } as const;
    const engine = await createEngine('face_landmark_68_tiny', options);
    expect(engine.provider).toBe('cpu');
    await engine.dispose();
  });

  it.each([
    ['none', /gpu: true, but this installation has no CUDA provider; use "auto" or false/],
    ['broken', /gpu: true, but Error: CUDA failure 35: CUDA driver version is insufficient .*; use "auto" or false/],
  ] as const)('refuses gpu: true with the reason where CUDA is %s', async (cuda, message) => {
    const refused = createEngine('face_landmark_68_tiny', { cacheDir, gpu: true, loadRuntime: runtimeWith(cuda) });
    await expect(refused).rejects.toMatchObject({ code: 'GPU_UNAVAILABLE', message });
  });
});
