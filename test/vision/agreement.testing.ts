/** How far a converted model is from TensorFlow.js on the same picture. */
import { expect } from 'vitest';
import { createEngine, type OutputTensor } from '../../src/vision/engine.js';
import type { Yardstick } from './tfjs.testing.js';

/** Of the largest value of the yardstick. */
const TOLERANCE = 1e-3;

export async function runOnnx(model: string, pixels: Uint8Array, size: number): Promise<Record<string, OutputTensor>> {
  const engine = await createEngine(model, { threads: 2 });
  try {
    return await engine.run({ data: pixels, batch: 1, height: size, width: size });
  } finally {
    await engine.dispose();
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
