import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CpuMeter, parseWaitedMs, uncontendedMs } from './cpu-meter.js';

test('a waiting time is the second figure of schedstat, in nanoseconds', () => {
  expect(parseWaitedMs('7413371 6338050 5\n')).toBeCloseTo(6.33805);
  expect(parseWaitedMs('')).toBe(0);
});

test('work of this process is counted once', () => {
  const meter = new CpuMeter();
  for (const end = process.cpuUsage().user + 20_000; process.cpuUsage().user < end; );
  expect(meter.take().cpuMs).toBeGreaterThanOrEqual(20);
  expect(meter.take().cpuMs).toBeLessThan(20);
});

test('what threads waited for a core is no part of the time that a packet needs', () => {
  // One thread at work for 10 ms of its 40 ms, and then 5 ms of input or output.
  expect(uncontendedMs({ serviceMs: 45, busyMs: 45 }, { cpuMs: 10, waitedMs: 30 }, 1)).toBeCloseTo(15);
  // Two threads side by side: 30 ms of work in what would have taken 15 ms.
  expect(uncontendedMs({ serviceMs: 30, busyMs: 30 }, { cpuMs: 30, waitedMs: 30 }, 1)).toBeCloseTo(15);
  // An emulated speed stretches the waiting too.
  expect(uncontendedMs({ serviceMs: 80, busyMs: 40 }, { cpuMs: 10, waitedMs: 30 }, 0.5)).toBeCloseTo(20);
  expect(uncontendedMs({ serviceMs: 45, busyMs: 45 }, { cpuMs: 45, waitedMs: 0 }, 1)).toBe(45);
});

test('the correction is never more than the work, whatever the figures', () => {
  const ms = fc.double({ min: 0, max: 1e6, noNaN: true });
  fc.assert(
    fc.property(ms, ms, ms, fc.double({ min: 0.05, max: 1, noNaN: true }), (busyMs, cpuMs, waitedMs, speed) => {
      const serviceMs = busyMs / speed;
      const corrected = uncontendedMs({ serviceMs, busyMs }, { cpuMs, waitedMs }, speed);
      expect(corrected).toBeGreaterThanOrEqual(0);
      expect(corrected).toBeLessThanOrEqual(serviceMs);
      expect(corrected).toBeGreaterThanOrEqual(Math.min(serviceMs, busyMs - waitedMs) - 1e-6);
    }),
  );
});
