/** The six sample pictures of @vladmandic/face-api (22 faces), and models that the tests of one file share. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Box, Frame } from '../../src/contracts/packet.js';
import { decodePicture } from '../../src/vision/images.js';

const demo = join(dirname(createRequire(import.meta.url).resolve('@vladmandic/face-api/package.json')), 'demo');

/** Faces in sample1..6.jpg, counted by eye. */
export const FACES = [3, 3, 3, 4, 5, 4];
export const FACES_TOTAL = 22;

export const sampleBytes = (index: number): Buffer => readFileSync(join(demo, `sample${index + 1}.jpg`));

export const loadSamples = (): Promise<Frame[]> =>
  Promise.all(FACES.map((_, index) => decodePicture(sampleBytes(index))));

/** The sample picture stretched to a square, as bytes for a net. */
export async function squareSample(index: number, size: number): Promise<Buffer> {
  return (await decodePicture(sampleBytes(index), { width: size, height: size })).data;
}

/** How many of `truth` have a box whose centre lies in them, each box used once. */
export function countFound(truth: readonly Box[], boxes: readonly Box[]): number {
  const left = new Set(boxes);
  let found = 0;
  for (const face of truth) {
    const hit = [...left].find((box) => {
      const [x, y] = [box.x + box.w / 2, box.y + box.h / 2];
      return x > face.x && x < face.x + face.w && y > face.y && y < face.y + face.h;
    });
    if (!hit) continue;
    left.delete(hit);
    found++;
  }
  return found;
}
