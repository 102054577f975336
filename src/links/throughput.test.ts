import { expect, test } from 'vitest';
import { SAMPLE_BYTES_MIN, ThroughputProbe } from './throughput.js';

/** Reads of one packet of `bytes`, each of `readBytes`, `gapMs` apart. */
function samplesOf(bytes: number, readBytes: number, gapMs: number): number[] {
  const samples: number[] = [];
  let nowMs = 100;
  const probe = new ThroughputProbe(
    (mbitPerS) => samples.push(mbitPerS),
    () => nowMs,
  );
  const progress = { completed: 0, inFrame: false };
  for (let left = bytes; left > 0; left -= readBytes, nowMs += gapMs) {
    probe.read(Math.min(readBytes, left), progress, () => {
      progress.inFrame = left > readBytes;
      if (!progress.inFrame) progress.completed += 1;
    });
  }
  return samples;
}

test('the rate is that of what came behind the first read', () => {
  // 9 reads of 10 kB in 9 ms: 80 Mbit/s.
  expect(samplesOf(100_000, 10_000, 1)).toEqual([expect.closeTo(80, 6)]);
});

test.each([
  ['lay ready in one read', 100_000, 100_000, 1],
  ['lay ready in two', 100_000, 60_000, 1],
  ['is small', SAMPLE_BYTES_MIN, 8192, 1],
  ['came too quickly to tell', 100_000, 10_000, 0.001],
])('a packet that %s tells nothing', (_, bytes, readBytes, gapMs) => {
  expect(samplesOf(bytes, readBytes, gapMs)).toEqual([]);
});
