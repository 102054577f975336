import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CorrectedClock, SLEW_RATE, STEP_MS_MIN } from './corrected-clock.js';

function adjustable() {
  const state = { nowMs: 1e12, monotonicMs: 0 };
  const machine = { now: () => state.nowMs / 1000, monotonicMs: () => state.monotonicMs };
  const pass = (ms: number) => {
    state.nowMs += ms;
    state.monotonicMs += ms;
  };
  return { state, clock: new CorrectedClock(machine), pass };
}

test("without a correction it is the machine's clock", () => {
  const { state, clock, pass } = adjustable();
  pass(1234.5);
  expect(clock.now()).toBe(state.nowMs / 1000);
  expect(clock.monotonicMs()).toBe(1234.5);
});

test('a jump is stepped, a small change is slewed and then stays', () => {
  const { state, clock, pass } = adjustable();
  clock.correct({ atMs: 180_000, toMs: 180_000 });
  expect(clock.now() * 1000).toBeCloseTo(state.nowMs - 180_000, 2);
  clock.correct({ atMs: 180_000, toMs: 180_100 });
  pass(1000);
  expect(clock.correction.atMs).toBeCloseTo(180_000 + 1000 * SLEW_RATE);
  pass(1e6);
  expect(clock.correction).toEqual({ atMs: 180_100, toMs: 180_100 });
});

test('one that follows another is where the other is, also when it joins in the middle of a slew', () => {
  const { clock: agent, pass, state } = adjustable();
  const host = new CorrectedClock({ now: () => state.nowMs / 1000, monotonicMs: () => state.monotonicMs });
  agent.correct({ atMs: 0, toMs: 100 });
  pass(500);
  host.correct(agent.correction);
  pass(300);
  expect(host.correction).toEqual(agent.correction);
  expect(host.now()).toBeCloseTo(agent.now(), 6);
});

test('never runs backwards nor faster than the slew, but for steps; and always arrives', () => {
  const correction = fc.double({ min: -STEP_MS_MIN, max: STEP_MS_MIN, noNaN: true });
  const event = fc.record({ passMs: fc.double({ min: 0, max: 3000, noNaN: true }), toMs: fc.option(correction) });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 50 }), (events) => {
      const { clock, pass } = adjustable();
      let before = clock.now() * 1000;
      for (const { passMs, toMs } of events) {
        if (toMs !== null) clock.correct({ atMs: clock.correction.atMs, toMs });
        expect(clock.now() * 1000).toBeCloseTo(before, 2);
        pass(passMs);
        const after = clock.now() * 1000;
        expect(after - before).toBeGreaterThanOrEqual(passMs * (1 - SLEW_RATE) - 0.01);
        expect(after - before).toBeLessThanOrEqual(passMs * (1 + SLEW_RATE) + 0.01);
        before = after;
      }
      pass((2 * STEP_MS_MIN) / SLEW_RATE);
      expect(clock.correction.atMs).toBe(clock.correction.toMs);
    }),
  );
});
