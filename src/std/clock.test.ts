import { expect, test } from 'vitest';
import { systemClock } from './clock.js';

function adjustable() {
  const state = { wall: 1_000_000, monotonic: 500 };
  const clock = systemClock({ wallMs: () => Math.floor(state.wall), monotonicMs: () => state.monotonic });
  const pass = (ms: number) => {
    state.wall += ms;
    state.monotonic += ms;
  };
  return { state, clock, pass };
}

test('has the resolution of the monotonic clock', () => {
  const { clock, pass } = adjustable();
  const before = clock.now();
  pass(0.25);
  expect((clock.now() - before) * 1000).toBeCloseTo(0.25, 3);
});

test('follows the wall clock when that is set, so that processes started before and after agree', () => {
  const { state, clock, pass } = adjustable();
  pass(10_000);
  state.wall += 32;
  pass(1);
  const later = systemClock({ wallMs: () => Math.floor(state.wall), monotonicMs: () => state.monotonic });
  expect(Math.abs(clock.now() - later.now()) * 1000).toBeLessThanOrEqual(2);
});

test('waits out small steps back and believes large ones', () => {
  const { state, clock, pass } = adjustable();
  pass(100);
  const before = clock.now();
  state.wall -= 50;
  pass(1);
  expect(clock.now()).toBe(before);
  pass(60);
  expect(clock.now()).toBeGreaterThan(before);
  state.wall -= 3_600_000;
  pass(1);
  expect(clock.now()).toBeCloseTo(before - 3600, 0);
});
