import { expect, test } from 'vitest';
import { CpuLoad } from './cpu-load.js';

test('tells the share of the last second, whoever asks meanwhile, and nothing where nothing tells', async () => {
  let nowMs = 0;
  let times: { busy: number; total: number } | null = { busy: 100, total: 1000 };
  const load = new CpuLoad({ monotonicMs: () => nowMs }, () => times);
  expect(load.read()).toBeNull();
  nowMs = 1000;
  times = { busy: 250, total: 1200 };
  expect(load.read()).toBe(75);
  nowMs = 1500;
  times = { busy: 250, total: 1300 };
  expect(load.read()).toBe(75);
  nowMs = 2100;
  expect(load.read()).toBe(0);
  nowMs = 4000;
  times = null;
  expect(load.read()).toBeNull();
});
