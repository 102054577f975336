import { expect, test } from 'vitest';
import { chooseThreads } from './threads.js';

const choice = { setting: null, cores: 8, inferences: 2, cpuMs: 100 };

test('cores are divided by the inferences on the node, within the bounds', () => {
  expect(chooseThreads(choice)).toBe(4);
  expect(chooseThreads({ ...choice, inferences: 3 })).toBe(2);
  expect(chooseThreads({ ...choice, inferences: 20 })).toBe(1);
  expect(chooseThreads({ ...choice, cores: 64 })).toBe(4);
  expect(chooseThreads({ ...choice, cores: 2, inferences: 0 })).toBe(2);
});

test('a model that needs little has one; what the operator says wins', () => {
  expect(chooseThreads({ ...choice, cpuMs: 4.9 })).toBe(1);
  expect(chooseThreads({ ...choice, cpuMs: 1, setting: 6 })).toBe(6);
});
