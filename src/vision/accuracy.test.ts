import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { areaUnderRoc, averagePrecision, meanAveragePrecision, type Pair, rankOne } from './accuracy.js';

const box = (x: number, size = 10) => ({ x, y: 0, w: size, h: size });
const truth = (x: number, label = 'cat') => ({ label, ...box(x) });
const found = (x: number, prob: number, label = 'cat') => ({ label, prob, ...box(x) });

describe('average precision', () => {
  it('is 1 where everything is found and nothing else, 0 where nothing is', () => {
    const all = { truth: [truth(0), truth(50)], found: [found(0, 0.9), found(50, 0.4)] };
    expect(averagePrecision([all], 'cat', 0.5)).toBe(1);
    expect(averagePrecision([{ truth: all.truth, found: [] }], 'cat', 0.5)).toBe(0);
  });

  it('interpolates at 101 recalls: half found without a mistake are 51 of them', () => {
    const scene = { truth: [truth(0), truth(50)], found: [found(0, 0.9)] };
    expect(averagePrecision([scene], 'cat', 0.5)).toBeCloseTo(51 / 101, 10);
  });

  it('a second box on the same object is wrong, and costs only where it is likelier than a right one', () => {
    const scenes = [{ truth: [truth(0), truth(50)], found: [found(0, 0.9), found(1, 0.8), found(50, 0.7)] }];
    expect(averagePrecision(scenes, 'cat', 0.5)).toBeCloseTo((51 + (50 * 2) / 3) / 101, 10);
    const late = [{ truth: [truth(0), truth(50)], found: [found(0, 0.9), found(50, 0.8), found(1, 0.7)] }];
    expect(averagePrecision(late, 'cat', 0.5)).toBe(1);
  });

  it('orders the boxes of all pictures together', () => {
    const right = { truth: [truth(0)], found: [found(0, 0.5)] };
    const wrong = { truth: [], found: [found(0, 0.9)] };
    expect(averagePrecision([right, wrong], 'cat', 0.5)).toBeCloseTo(0.5, 10);
  });

  it('what lies on an ignored object is neither right nor wrong', () => {
    const scene = { truth: [truth(0), { ...truth(50), ignore: true }], found: [found(50, 0.9), found(0, 0.8)] };
    expect(averagePrecision([scene], 'cat', 0.5)).toBe(1);
  });

  it('is the mean over labels of the truth and overlaps; other labels do not count', () => {
    const scene = { truth: [truth(0), truth(50, 'dog')], found: [found(0, 0.9), found(90, 0.9, 'cow')] };
    expect(meanAveragePrecision([scene], [0.5])).toBeCloseTo(0.5, 10);
    // Shifted by a fifth, two boxes of 10 px share 2/3.
    const shifted = { truth: [truth(0)], found: [found(2, 0.9)] };
    expect(meanAveragePrecision([shifted], [0.5, 0.75])).toBeCloseTo(0.5, 10);
    expect(meanAveragePrecision([], [0.5])).toBeNaN();
  });
});

describe('area under the ROC curve', () => {
  it('is the share of pairs of pairs in the right order, ties half', async () => {
    const likenesses = fc.constantFrom(Number.NEGATIVE_INFINITY, 0, 0.25, 0.5, 1);
    const pairs = fc.array(fc.record({ same: fc.boolean(), likeness: likenesses }), { minLength: 2, maxLength: 40 });
    fc.assert(
      fc.property(pairs, (some: readonly Pair[]) => {
        const [same, different] = [true, false].map((kind) => some.filter((one) => one.same === kind));
        const won = same!.flatMap((one) =>
          different!.map((other) => (one.likeness > other.likeness ? 1 : one.likeness === other.likeness ? 0.5 : 0)),
        );
        const expected = won.reduce<number>((sum, one) => sum + one, 0) / won.length;
        if (won.length === 0) expect(areaUnderRoc(some)).toBeNaN();
        else expect(areaUnderRoc(some)).toBeCloseTo(expected, 10);
      }),
    );
  });
});

describe('rank-1', () => {
  const at = (person: string, angle: number) => ({
    person,
    embedding: Float32Array.of(Math.cos(angle), Math.sin(angle)),
  });

  it('asks the nearest other picture; a face that was not found is not recognised', () => {
    expect(rankOne([at('a', 0), at('a', 0.1), at('b', 1), at('b', 1.1)])).toBe(1);
    expect(rankOne([at('a', 0), at('a', 1), at('b', 0.9), at('b', 1.2)])).toBe(0);
    expect(rankOne([at('a', 0), at('a', 0.1), { person: 'a', embedding: null }])).toBeCloseTo(2 / 3, 10);
  });

  it('people with one picture are there to be confused with, and are not asked about', () => {
    expect(rankOne([at('a', 0), at('a', 0.2), at('c', 0.3)])).toBe(0.5);
    expect(rankOne([at('a', 0), at('b', 1)])).toBeNaN();
  });
});
