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

export function expectAgreement(actual: OutputTensor | undefined, yardstick: Yardstick | undefined): void {
  const values = actual!.data;
  const expected = yardstick!.shape.length === 4 ? planes(yardstick!) : yardstick!.data;
  expect(values.length).toBe(expected.length);
  let [difference, range] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    difference = Math.max(difference, Math.abs(values[i]! - expected[i]!));
    range = Math.max(range, Math.abs(expected[i]!));
  }
  expect(range).toBeGreaterThan(0);
  expect(difference / range).toBeLessThan(TOLERANCE);
}

/** [1, height, width, channels] -> [1, channels, height, width] */
function planes({ shape, data }: Yardstick): Float32Array {
  const [, height, width, channels] = shape as [number, number, number, number];
  const result = new Float32Array(data.length);
  for (let p = 0; p < height * width; p++) {
    for (let c = 0; c < channels; c++) result[c * height * width + p] = data[p * channels + c]!;
  }
  return result;
}
