import { describe, expect, it } from 'vitest';
import {
  applySimilarity,
  clampRect,
  expandRect,
  fitSimilarity,
  iou,
  type Point,
  squareRect,
  suppress,
} from './geometry.js';

const rect = (x: number, y: number, w: number, h: number) => ({ x, y, w, h });

describe('boxes', () => {
  it('overlap by their shared area', () => {
    expect(iou(rect(0, 0, 10, 10), rect(0, 0, 10, 10))).toBe(1);
    expect(iou(rect(0, 0, 10, 10), rect(5, 0, 10, 10))).toBeCloseTo(1 / 3);
    expect(iou(rect(0, 0, 10, 10), rect(10, 0, 10, 10))).toBe(0);
    expect(iou(rect(0, 0, 0, 0), rect(0, 0, 0, 0))).toBe(0);
  });

  it('are suppressed by a better one of the same label only', () => {
    const box = (label: string, prob: number, x: number) => ({ label, prob, ...rect(x, 0, 10, 10) });
    const kept = suppress([box('a', 0.5, 1), box('a', 0.9, 0), box('b', 0.4, 0), box('a', 0.3, 20)], 0.5);
    expect(kept.map(({ label, prob }) => [label, prob])).toEqual([
      ['a', 0.9],
      ['b', 0.4],
      ['a', 0.3],
    ]);
  });

  it('are cut, grown and squared', () => {
    expect(clampRect(rect(-5, 5, 20, 20), 10, 10)).toEqual(rect(0, 5, 10, 5));
    expect(clampRect(rect(50, 50, 5, 5), 10, 10)).toMatchObject({ w: 0, h: 0 });
    expect(expandRect(rect(10, 10, 20, 40), 0.25)).toEqual(rect(5, 0, 30, 60));
    expect(squareRect(rect(0, 0, 10, 20))).toEqual(rect(-5, 0, 20, 20));
  });
});

describe('similarity', () => {
  it('recovers rotation, scale and shift', () => {
    const truth = { a: 1.5 * Math.cos(0.4), b: 1.5 * Math.sin(0.4), tx: 7, ty: -3 };
    const from: Point[] = [
      [0, 0],
      [10, 1],
      [4, 8],
      [-3, 5],
    ];
    const fit = fitSimilarity(
      from,
      from.map((point) => applySimilarity(truth, point)),
    );
    for (const key of ['a', 'b', 'tx', 'ty'] as const) expect(fit[key]).toBeCloseTo(truth[key], 9);
  });

  it('of one repeated point only shifts', () => {
    expect(
      fitSimilarity(
        [
          [1, 1],
          [1, 1],
        ],
        [
          [3, 4],
          [3, 4],
        ],
      ),
    ).toEqual({ a: 1, b: 0, tx: 2, ty: 3 });
  });
});
