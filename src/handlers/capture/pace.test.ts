import { expect, test } from 'vitest';
import { nextDueMs } from './pace.js';

test('late wake-ups do not add up', () => {
  let due: number | null = null;
  for (let index = 0; index <= 1000; index++) due = nextDueMs(due, (due ?? 0) + 7, 40);
  expect(due).toBe(7 + 1000 * 40);
});

test('a stall is not made up for by a burst', () => {
  expect(nextDueMs(1000, 1079, 40)).toBe(1040);
  expect(nextDueMs(1000, 1500, 40)).toBe(1500);
});
