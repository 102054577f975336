/** How far a converted model is from TensorFlow.js on the same picture. */
import { readFile } from 'node:fs/promises';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { expect } from 'vitest';
import { findModel } from '../../src/vision/catalogue.js';
import { convertGraph, type TfNode } from '../../src/vision/convert-graph.js';
import type { OutputTensor } from '../../src/vision/engine.js';
import { describeModel } from '../../src/vision/model-cache.js';
import { type ManifestGroup, readWeights } from '../../src/vision/tfjs-weights.js';
import type { Yardstick } from './tfjs.testing.js';

/** Of the largest value of the yardstick. The models differ by 1e-7 to 2e-6, which is the order of sums of 32-bit floats. */
const TOLERANCE = 1e-5;

/** A graph model with the outputs of its maker, without what stands behind them in the model that runs. */
export async function withOwnOutputs(name: string): Promise<Uint8Array> {
  const { sourcePath } = await describeModel(name);
  const json = await readFile(sourcePath);
  const parsed = JSON.parse(json.toString()) as { weightsManifest: ManifestGroup[]; modelTopology: { node: TfNode[] } };
  const weights = (await readWeights(sourcePath, parsed.weightsManifest, json)).weights();
  const { centres: _behind, ...graph } = findModel(name).graph!;
  return convertGraph({ name, nodes: parsed.modelTopology.node, weights, ...graph });
}

export async function runOnnx(
  model: Uint8Array,
  pixels: Uint8Array,
  size: number,
): Promise<Record<string, OutputTensor>> {
  const session = await InferenceSession.create(model, { intraOpNumThreads: 2 });
  try {
    const outputs = await session.run({ pixels: new Tensor('uint8', pixels, [1, size, size, 3]) });
    return outputs as unknown as Record<string, OutputTensor>;
  } finally {
    await session.release();
  }
}

export function expectAgreement(actual: OutputTensor | undefined, { shape, step, values }: Yardstick): void {
  const data = shape.length === 4 ? channelsLast(actual!) : actual!.data;
  expect(data.length).toBe(shape.reduce((product, size) => product * size, 1));
  let [difference, range] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    difference = Math.max(difference, Math.abs(data[i * step]! - values[i]!));
    range = Math.max(range, Math.abs(values[i]!));
  }
  expect(range).toBeGreaterThan(0);
  expect(difference / range).toBeLessThan(TOLERANCE);
}

/** [1, channels, height, width] -> [1, height, width, channels] */
function channelsLast({ data, dims }: OutputTensor): Float32Array {
  const [, channels, height, width] = dims as [number, number, number, number];
  const area = height * width;
  const result = new Float32Array(data.length);
  for (let c = 0; c < channels; c++) {
    for (let p = 0; p < area; p++) result[p * channels + c] = data[c * area + p]!;
  }
  return result;
}
