import { expect, test } from 'vitest';
import { chooseThreads } from './threads.js';

const choice = { setting: null, cores: 8, inferences: 2, cpuMs: 100 };

test.each([
  [{}, 4, '8 cores for 2 inferences at a time'],
  [{ inferences: 3 }, 2, '8 cores for 3 inferences at a time'],
  [{ inferences: 20 }, 1, '8 cores for 20 inferences at a time'],
  [{ cores: 64 }, 4, '64 cores for 2 inferences at a time, at most 4'],
  [{ cores: 2, inferences: 0 }, 2, '2 cores for 1 inference at a time'],
])('cores are divided by the inferences on the node, within the bounds: %j', (given, count, why) => {
  expect(chooseThreads({ ...choice, ...given })).toEqual({ count, why });
});

test('a model that needs little has one; what the operator says wins', () => {
  const little = chooseThreads({ ...choice, cpuMs: 4.9 });
  expect(little).toEqual({ count: 1, why: 'a packet needs 4.9 ms, and less than 5 do not pay more' });
  expect(chooseThreads({ ...choice, cpuMs: 1, setting: 6 })).toEqual({ count: 6, why: 'set by [node] threads' });
});
