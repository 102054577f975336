import { describe, expect, it } from 'vitest';
import { CROP_SIDE_MAX_PX, cropPixels, cropWithMargin, halve, sampleRect, warpSimilarity } from './warp.js';

/** Red grows with x, green with y. */
function gradient(width: number, height: number) {
  const data = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      data[(y * width + x) * 3] = x;
      data[(y * width + x) * 3 + 1] = y;
    }
  }
  return { width, height, data };
}

const pixel = ({ data, width }: { data: Buffer; width: number }, x: number, y: number) => [
  ...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3),
];

describe('cropping', () => {
  it('copies whole pixels and fills the outside with black', () => {
    const crop = cropPixels(gradient(10, 10), { x: -2, y: 8, w: 4, h: 4 });
    expect([crop.width, crop.height]).toEqual([4, 4]);
    expect(pixel(crop, 3, 1)).toEqual([1, 9, 0]);
    expect(pixel(crop, 0, 0)).toEqual([0, 0, 0]);
    expect(pixel(crop, 3, 3)).toEqual([0, 0, 0]);
    expect(cropPixels(gradient(4, 4), { x: 50, y: 50, w: 2, h: 2 }).data).toEqual(Buffer.alloc(12));
  });

  it('shows exactly the grown box, also where that leaves the frame', () => {
    const crop = cropWithMargin(gradient(100, 100), { x: 0, y: 40, w: 20, h: 20 });
    expect([crop.width, crop.height]).toEqual([30, 30]);
    expect(pixel(crop, 0, 10)).toEqual([0, 0, 0]);
    expect(pixel(crop, 10, 10)).toEqual([5, 45, 0]);
  });

  it('bounds the crop of a large box', () => {
    const crop = cropWithMargin(gradient(2000, 1000), { x: 100, y: 100, w: 1000, h: 500 });
    expect([crop.width, crop.height]).toEqual([CROP_SIDE_MAX_PX, CROP_SIDE_MAX_PX / 2]);
  });
});

describe('sampling', () => {
  it('of the whole picture at its own size is the picture', () => {
    const picture = gradient(17, 9);
    expect(sampleRect(picture, { x: 0, y: 0, w: 17, h: 9 }, 17, 9).data).toEqual(picture.data);
  });

  it('averages when it shrinks', () => {
    expect(halve(gradient(4, 4)).data[0]).toBe(1);
    const data = Buffer.alloc(64 * 64 * 3);
    for (let x = 0; x < 64 * 64; x += 2) data.fill(255, x * 3, x * 3 + 3);
    const small = sampleRect({ width: 64, height: 64, data }, { x: 0, y: 0, w: 64, h: 64 }, 8, 8);
    for (const value of small.data) expect(Math.abs(value - 128)).toBeLessThanOrEqual(2);
  });

  it('keeps places when it shrinks', () => {
    const small = sampleRect(gradient(200, 200), { x: 40, y: 80, w: 80, h: 80 }, 10, 10);
    expect(pixel(small, 0, 0)[0]).toBeCloseTo(44, -0.5);
    expect(pixel(small, 9, 9)[1]).toBeCloseTo(156, -0.5);
  });

  it('turns', () => {
    // A quarter turn: the result's x runs along the source's y.
    const turned = warpSimilarity(gradient(10, 10), { a: 0, b: 1, tx: 10, ty: 0 }, 10, 10);
    expect(pixel(turned, 0, 0)).toEqual([9, 0, 0]);
    expect(pixel(turned, 9, 0)).toEqual([9, 9, 0]);
  });

  it('outside the picture is black', () => {
    const far = sampleRect(gradient(100, 100), { x: 5000, y: 5000, w: 100, h: 100 }, 10, 10);
    expect(far.data).toEqual(Buffer.alloc(300));
  });
});
