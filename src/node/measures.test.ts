import { expect, test } from 'vitest';
import { measureSpeed, REFERENCE_KERNEL_MS } from './calibration.js';
import { findGpus, parseGpuFacts, parseGpuSample } from './gpu.js';
import { machineMemory, parseCpuTimes, parseKbField, parseProcessTimes, processMemoryMb } from './proc-stats.js';
import { shares } from './usage-sampler.js';

test('lines of nvidia-smi', () => {
  expect(parseGpuFacts('0, NVIDIA H200, 143771')).toEqual({ gpu_id: 0, name: 'NVIDIA H200', mem_mb: 143771 });
  expect(parseGpuFacts('1, Weird, Inc. X, [N/A]')).toEqual({ gpu_id: 1, name: 'Weird, Inc. X', mem_mb: 0 });
  expect(parseGpuFacts('No devices were found')).toBeNull();
  expect(parseGpuSample('0, 37, 4000, 16000, 1980, 119.51')).toEqual({
    ...{ gpu_id: 0, gpu_util: 37, gpu_mem_util: 25, gpu_clock: 1980, gpu_power: 120 },
  });
  expect(parseGpuSample('2, [N/A], 1, [N/A], 600, [Not Supported]')).toEqual({
    ...{ gpu_id: 2, gpu_util: null, gpu_mem_util: null, gpu_clock: 600, gpu_power: null },
  });
  expect(parseGpuSample('')).toBeNull();
});

test('a machine without nvidia-smi has no GPUs', async () => {
  expect(await findGpus('no-such-nvidia-smi')).toEqual([]);
});

test('lines of /proc', async () => {
  expect(parseCpuTimes('cpu  10 1 5 80 4 0 0 0 3 0\ncpu0 1 1 1 1\n')).toEqual({ busy: 16, total: 100 });
  const stat = '12 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1';
  expect(parseProcessTimes(stat)).toEqual({ cpuS: 3 });
  expect(parseProcessTimes('')).toBeNull();
  expect(parseKbField('VmPeak:\t 9 kB\nVmRSS:\t  2048 kB\n', 'VmRSS')).toBe(2);
  const memory = machineMemory();
  expect(memory!.totalMb).toBeGreaterThan(memory!.availableMb);
  expect(processMemoryMb(process.pid)).toBeGreaterThan(20);
  expect(processMemoryMb(2 ** 30)).toBeNull();
});

test('a shared host is shared out by busy time; sums stay whole', () => {
  const busy = new Map([
    [1, 30],
    [2, 90],
  ]);
  expect([...shares(busy, undefined).values()]).toEqual([0.25, 0.75]);
  expect([...shares(busy, new Map([[2, 60]])).values()]).toEqual([0.5, 0.5]);
  expect([...shares(busy, busy).values()]).toEqual([0.5, 0.5]);
  // counters start anew with a restarted host
  const restarted = new Map([
    [1, 1],
    [2, 5],
  ]);
  expect([...shares(restarted, busy).values()].reduce((sum, one) => sum + one)).toBe(1);
});

test('speed is the reference time over the fastest run', () => {
  let nowMs = 0;
  let run = 0;
  const timesMs = [90, 40, 25, 60, 50, 30, 70, 80];
  const clock = () => {
    const isEnd = run % 2 === 1;
    if (isEnd) nowMs += timesMs[(run - 1) / 2]!;
    run += 1;
    return nowMs;
  };
  expect(measureSpeed(clock)).toBe(REFERENCE_KERNEL_MS / 25);
});
