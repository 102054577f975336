/**
 * The TensorFlow.js that is bundled in @vladmandic/face-api, with its plain JavaScript backend, as the yardstick for
 * converted models. That takes up to half a minute per model, so its results lie recorded in yardsticks/, keyed by the
 * weights and the picture; where the key is another, TensorFlow.js runs. RECORD_YARDSTICKS=1 records them anew.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import * as util from 'node:util';
import { deserialize, serialize } from 'node:v8';
import { vi } from 'vitest';
import { describeModel } from '../../src/vision/model-cache.js';
import { writeWhole } from '../../src/vision/model-files.js';

/** One output; four-dimensional ones are [batch, height, width, channels]. `values` holds every `step`-th of it. */
export interface Yardstick {
  readonly shape: number[];
  readonly step: number;
  readonly values: Float32Array;
}

/** About as many values are kept of each output. */
const VALUES_MAX = 4000;

export interface TfTensor {
  readonly shape: number[];
  data(): Promise<Float32Array>;
}

interface Ages {
  readonly age: TfTensor;
  readonly gender: TfTensor;
}

interface Net {
  loadFromWeightMap(weights: unknown): void;
  forwardInput(input: unknown, size: number): TfTensor | { boxes: TfTensor[]; scores: TfTensor[] } | Ages;
}

export interface Bundle {
  readonly tf: {
    setBackend(name: string): Promise<boolean>;
    ready(): Promise<void>;
    env(): { platform: { util: unknown } };
    tensor4d(data: Float32Array, shape: number[]): TfTensor;
    loadGraphModel(handler: { load(): Promise<unknown> }): Promise<{
      execute(input: TfTensor, outputs: string[]): TfTensor | TfTensor[];
    }>;
    readonly io: { decodeWeights(data: ArrayBuffer, specs: unknown[]): unknown };
  };
  readonly nets: Record<string, Net>;
  toNetInput(tensor: TfTensor): Promise<unknown>;
}

/**
 * The bundle is meant for browsers: on import it looks for TextEncoder on an empty stand-in of Node's util module, so for
 * that moment every object has one; afterwards it is given the real module.
 */
export async function loadBundle(): Promise<Bundle> {
  const prototype = Object.prototype as unknown as Record<string, unknown>;
  const names = { TextEncoder, TextDecoder };
  // Its kernels warn, hundreds of times, that they are registered twice.
  const warnings = vi.spyOn(console, 'warn').mockImplementation(() => {});
  for (const [name, value] of Object.entries(names)) {
    Object.defineProperty(prototype, name, { value, configurable: true });
  }
  try {
    const path = '@vladmandic/face-api/dist/face-api.esm.js';
    const bundle = (await import(path)) as Bundle;
    bundle.tf.env().platform.util = util;
    await bundle.tf.setBackend('cpu');
    await bundle.tf.ready();
    return bundle;
  } finally {
    for (const name of Object.keys(names)) delete prototype[name];
    warnings.mockRestore();
  }
}

interface ModelJson {
  modelTopology?: unknown;
  signature?: unknown;
  userDefinedMetadata?: { signature?: unknown };
  weightsManifest: { paths: string[]; weights: unknown[] }[];
}

async function readModel(name: string): Promise<{ json: ModelJson; specs: unknown[]; data: ArrayBuffer }> {
  const { sourcePath } = await describeModel(name);
  const parsed = JSON.parse(await readFile(sourcePath, 'utf8')) as ModelJson | ModelJson['weightsManifest'];
  const json = Array.isArray(parsed) ? { weightsManifest: parsed } : parsed;
  const paths = json.weightsManifest.flatMap((group) => group.paths);
  const bytes = Buffer.concat(await Promise.all(paths.map((path) => readFile(join(dirname(sourcePath), path)))));
  const specs = json.weightsManifest.flatMap((group) => group.weights);
  return { json, specs, data: new Uint8Array(bytes).buffer };
}

const recorded = new URL('./yardsticks/', import.meta.url);

/** What was recorded for these weights and this picture, else a run that is recorded in the temporary directory. */
async function yardstick(model: string, pixels: Uint8Array, compute: () => Promise<TfTensor[]>): Promise<Yardstick[]> {
  const { sourceSha256 } = await describeModel(model);
  const key = createHash('sha256').update(sourceSha256).update(pixels).digest('hex').slice(0, 16);
  const temporary = pathToFileURL(join(tmpdir(), 'vision-orchestrator-yardsticks/'));
  for (const dir of process.env.RECORD_YARDSTICKS ? [] : [recorded, temporary]) {
    const known = await readFile(new URL(`${model}-${key}`, dir)).catch(() => null);
    if (known) return deserialize(known) as Yardstick[];
  }
  const tensors = await compute();
  const results = await Promise.all(tensors.map(async ({ shape }, index) => thin(shape, await tensors[index]!.data())));
  const dir = process.env.RECORD_YARDSTICKS ? recorded : temporary;
  await mkdir(dir, { recursive: true });
  await writeWhole(fileURLToPath(new URL(`${model}-${key}`, dir)), serialize(results));
  return results;
}

/** Every n-th value, n odd so that all channels have their turn. */
function thin(shape: number[], data: Float32Array): Yardstick {
  const step = Math.floor(data.length / VALUES_MAX) * 2 + 1;
  return { shape, step, values: data.filter((_, index) => index % step === 0) };
}

/** The outputs of a face-api net for one square picture of raw bytes; ssd_mobilenetv1: boxes, then scores; age_gender: age, then gender. */
export function runNet(model: string, net: string, pixels: Uint8Array, size: number): Promise<Yardstick[]> {
  return yardstick(model, pixels, async () => {
    const bundle = await loadBundle();
    const { specs, data } = await readModel(model);
    bundle.nets[net]!.loadFromWeightMap(bundle.tf.io.decodeWeights(data, specs));
    const input = await bundle.toNetInput(bundle.tf.tensor4d(Float32Array.from(pixels), [1, size, size, 3]));
    const result = bundle.nets[net]!.forwardInput(input, size);
    if ('age' in result) return [result.age, result.gender];
    return 'boxes' in result ? [result.boxes[0]!, result.scores[0]!] : [result];
  });
}

/** Named outputs of a graph model for one square picture; its values become (v - mean) * scale first. */
export function runGraph(
  model: string,
  pixels: Uint8Array,
  size: number,
  options: { readonly outputs: readonly string[]; readonly mean: number; readonly scale: number },
): Promise<Yardstick[]> {
  return yardstick(model, pixels, async () => {
    const bundle = await loadBundle();
    const { json, specs, data } = await readModel(model);
    const artifacts = {
      modelTopology: json.modelTopology,
      signature: json.signature ?? json.userDefinedMetadata?.signature,
      weightSpecs: specs,
      weightData: data,
    };
    const graph = await bundle.tf.loadGraphModel({ load: async () => artifacts });
    const values = Float32Array.from(pixels, (value) => (value - options.mean) * options.scale);
    const result = graph.execute(bundle.tf.tensor4d(values, [1, size, size, 3]), [...options.outputs]);
    return Array.isArray(result) ? result : [result];
  });
}
