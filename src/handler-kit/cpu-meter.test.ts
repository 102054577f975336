import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CpuMeter, parseWaitedMs, waitingShare } from './cpu-meter.js';

test('a waiting time is the second figure of schedstat, in nanoseconds', () => {
  expect(parseWaitedMs('7413371 6338050 5\n')).toBeCloseTo(6.33805);
  expect(parseWaitedMs('')).toBe(0);
});

function work(ms: number): void {
  for (const end = process.cpuUsage().user + ms * 1000; process.cpuUsage().user < end; );
}

test('work of this process is counted once, and not at all before a reset', () => {
  const meter = new CpuMeter();
  work(20);
  expect(meter.take(20).cpuMs).toBeGreaterThanOrEqual(20);
  expect(meter.take(0).cpuMs).toBeLessThan(20);
  work(20);
  meter.reset();
  expect(meter.take(0).cpuMs).toBeLessThan(20);
});

test('the share of waiting is of the time at work, however many threads there were', () => {
  const period = (busyMs: number, cpuMs: number, waitedMs: number) => ({ busyMs, cpuMs, waitedMs });
  // One thread at work for 10 ms of its 40 ms.
  expect(waitingShare([period(40, 10, 30)])).toBeCloseTo(0.75);
  // Two threads side by side: 30 ms of work in what would have taken 15 ms.
  expect(waitingShare([period(30, 30, 30)])).toBeCloseTo(0.5);
  // Something else is waited for most of the time: a core was wanted for 40 ms of 100 ms.
  expect(waitingShare([period(100, 10, 30)])).toBeCloseTo(0.3);
  // A packet that waited in the period before the one in which it ended.
  expect(waitingShare([period(0, 5, 35), period(60, 15, 5)])).toBeCloseTo(40 / 60);
  expect(waitingShare([period(45, 45, 0)])).toBe(0);
  expect(waitingShare([])).toBe(0);
});

test('it is a share, whatever the figures', () => {
  const ms = fc.double({ min: 0, max: 1e6, noNaN: true });
  fc.assert(
    fc.property(fc.array(fc.record({ busyMs: ms, cpuMs: ms, waitedMs: ms })), (periods) => {
      const share = waitingShare(periods);
      expect(share).toBeGreaterThanOrEqual(0);
      expect(share).toBeLessThanOrEqual(1);
    }),
  );
});
