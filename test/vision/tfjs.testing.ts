/**
 * The TensorFlow.js that is bundled in @vladmandic/face-api, with its plain JavaScript backend, as the yardstick for
 * converted models. That takes up to half a minute per model, so results are kept in the temporary directory, keyed by
 * the weights and the picture.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import * as util from 'node:util';
import { deserialize, serialize } from 'node:v8';
import { vi } from 'vitest';
import { describeModel, writeWhole } from '../../src/vision/model-cache.js';

/** One output; four-dimensional ones are [batch, height, width, channels]. */
export interface Yardstick {
  readonly shape: number[];
  readonly data: Float32Array;
}

interface TfTensor {
  readonly shape: number[];
  data(): Promise<Float32Array>;
}

interface Net {
  loadFromWeightMap(weights: unknown): void;
  forwardInput(input: unknown, size: number): TfTensor | { boxes: TfTensor[]; scores: TfTensor[] };
}

interface Bundle {
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
async function loadBundle(): Promise<Bundle> {
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

async function cached(model: string, pixels: Uint8Array, compute: () => Promise<TfTensor[]>): Promise<Yardstick[]> {
  const { sourceSha256 } = await describeModel(model);
  const key = createHash('sha256').update(sourceSha256).update(pixels).digest('hex');
  const dir = join(tmpdir(), 'vision-orchestrator-yardsticks');
  const path = join(dir, `${model}-${key}`);
  const known = await readFile(path).catch(() => null);
  if (known) return deserialize(known) as Yardstick[];
  const tensors = await compute();
  const results = await Promise.all(
    tensors.map(async (tensor) => ({ shape: tensor.shape, data: await tensor.data() })),
  );
  await mkdir(dir, { recursive: true });
  await writeWhole(path, serialize(results));
  return results;
}

/** The outputs of a face-api net for one square picture of raw bytes; ssd_mobilenetv1: boxes, then scores. */
export function runNet(model: string, net: string, pixels: Uint8Array, size: number): Promise<Yardstick[]> {
  return cached(model, pixels, async () => {
    const bundle = await loadBundle();
    const { specs, data } = await readModel(model);
    bundle.nets[net]!.loadFromWeightMap(bundle.tf.io.decodeWeights(data, specs));
    const input = await bundle.toNetInput(bundle.tf.tensor4d(Float32Array.from(pixels), [1, size, size, 3]));
    const result = bundle.nets[net]!.forwardInput(input, size);
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
  return cached(model, pixels, async () => {
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
