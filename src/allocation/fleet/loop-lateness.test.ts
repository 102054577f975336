import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type LateWatch, watched, watchedAll } from './loop-lateness.js';
import { DEFAULT_LOOP_RULES } from './loop-rules.js';

const RULES = { confirmS: 3, lateWindowS: 10 };

/** Told once a second that `late` of `frames` frames came too late in it; answers when it was confirmed. */
function told(seconds: readonly { readonly frames: number; readonly late: number }[]): boolean[] {
  let watch: LateWatch | undefined;
  const sum = { frames: 0, late: 0 };
  return seconds.map(({ frames, late }, atS) => {
    sum.frames += frames;
    sum.late += late;
    watch = watched(watch, sum, atS, RULES);
    return watch.isConfirmed;
  });
}

const second = (frames: number, late: number) => ({ frames, late });
const times = (count: number, frames: number, late: number) =>
  Array.from({ length: count }, () => second(frames, late));

test('a burst that stays in what is measured confirms nothing, however late its frames were', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 30 }), fc.integer({ min: 1, max: 60 }), (fps, lastsS) => {
      // What was late before the first sighting is in the figures as well.
      expect(told([second(5 * fps, 5 * fps), ...times(lastsS, fps, 0)])).not.toContain(true);
    }),
  );
});

test('most frames late for confirmS are enough; one in ten is after a window, one in twenty never', () => {
  expect(told(times(6, 10, 10)).indexOf(true)).toBe(3);
  expect(told(times(30, 10, 1)).indexOf(true)).toBe(10);
  expect(told(Array.from({ length: 60 }, (_, atS) => second(10, atS % 2)))).not.toContain(true);
  // Four frames say nothing.
  expect(told(times(30, 1, 1)).indexOf(true)).toBe(5);
});

test('one who is late no more, or whoever counts began anew, is watched anew', () => {
  const late: LateWatch = { fromS: 0, toldS: 8, frames: 100, late: 50, isConfirmed: true };
  expect(watched(late, { frames: 130, late: 50 }, 9, RULES)).toEqual({ ...late, toldS: 9 });
  const anew = { fromS: 10, toldS: 10, isConfirmed: false };
  expect(watched(late, { frames: 130, late: 51 }, 10, RULES)).toEqual({ ...anew, frames: 130, late: 51 });
  expect(watched(late, { frames: 3, late: 3 }, 10, RULES)).toEqual({ ...anew, frames: 3, late: 3 });
  const all = new Map([[7, late]]);
  expect(watchedAll(all, [{ kind: 'link_changed' }], 10, DEFAULT_LOOP_RULES)).toEqual(all);
  expect(watchedAll(all, [], 10.5, DEFAULT_LOOP_RULES)).toEqual(new Map());
});
