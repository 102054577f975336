import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CLOCK_AGREEMENT_MS } from '../std/clock.js';
import { ClockEstimate, DRIFT_MAX } from './clock-estimate.js';

describe('ClockEstimate', () => {
  it('takes the best round trip of the window and forgets after a reset', () => {
    const estimate = new ClockEstimate();
    expect([estimate.rttMs, estimate.offset]).toEqual([null, null]);
    // The node's clock is 5 s ahead; the slow answer was held up on its way back.
    estimate.add({ sentAt: 100, receivedAt: 100.5, nodeAt: 105.01 });
    estimate.add({ sentAt: 101, receivedAt: 101.02, nodeAt: 106.01 });
    estimate.add({ sentAt: 102, receivedAt: 102.3, nodeAt: 107.01 });
    expect(estimate.rttMs).toBeCloseTo(20);
    expect(estimate.offset!.offsetMs).toBeCloseTo(5000);
    for (let at = 200; at < 240; at++) estimate.add({ sentAt: at, receivedAt: at + 0.04, nodeAt: at + 5.02 });
    expect(estimate.rttMs).toBeCloseTo(40);
    expect(estimate.offset!.offsetMs).toBeCloseTo(5000);
    estimate.reset();
    expect([estimate.rttMs, estimate.offset]).toEqual([null, null]);
  });

  it('begins anew when one of the clocks was set', () => {
    const estimate = new ClockEstimate();
    estimate.add({ sentAt: 100, receivedAt: 100.01, nodeAt: 105.005 });
    estimate.add({ sentAt: 101, receivedAt: 101.2, nodeAt: 101.1 });
    expect(estimate.offset!.offsetMs).toBeCloseTo(0);
    expect(estimate.offset!.errorMs).toBeCloseTo(100 + CLOCK_AGREEMENT_MS);
  });

  const delayMs = fc.double({ min: 0, max: 200, noNaN: true });
  const step = fc.record({
    pauseMs: fc.double({ min: 1, max: 1500, noNaN: true }),
    thereMs: delayMs,
    backMs: delayMs,
    readingMs: fc.double({ min: -CLOCK_AGREEMENT_MS, max: CLOCK_AGREEMENT_MS, noNaN: true }),
  });

  it('is never wrong by more than it says, whatever the delays, the offset and the drift', () => {
    const run = fc.record({
      offsetMs: fc.double({ min: -1e7, max: 1e7, noNaN: true }),
      drift: fc.double({ min: -DRIFT_MAX, max: DRIFT_MAX, noNaN: true }),
      steps: fc.array(step, { minLength: 1, maxLength: 100 }),
    });
    fc.assert(
      fc.property(run, ({ offsetMs, drift, steps }) => {
        const startMs = 1e9;
        let nowMs = startMs;
        const trueOffsetMs = () => offsetMs + (nowMs - startMs) * drift;
        const estimate = new ClockEstimate();
        for (const { pauseMs, thereMs, backMs, readingMs } of steps) {
          nowMs += pauseMs;
          const sentAt = nowMs / 1000;
          nowMs += thereMs;
          const nodeAt = (nowMs + trueOffsetMs() + readingMs) / 1000;
          nowMs += backMs;
          estimate.add({ sentAt, receivedAt: nowMs / 1000, nodeAt });
          const { offsetMs: found, errorMs } = estimate.offset!;
          // What drifts during the round trip itself is not in the error: 0.2 s x 200 ppm; and rounding.
          expect(Math.abs(found - trueOffsetMs())).toBeLessThanOrEqual(errorMs + 400 * DRIFT_MAX + 1e-3);
          expect(errorMs).toBeLessThanOrEqual((thereMs + backMs) / 2 + CLOCK_AGREEMENT_MS + 1e-6);
        }
      }),
      { numRuns: 300 },
    );
  });
});
