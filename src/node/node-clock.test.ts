import { describe, expect, it } from 'vitest';
import { SLEW_RATE } from '../std/corrected-clock.js';
import { NodeClock } from './node-clock.js';

function nodeClock(skewMs = 0) {
  const state = { ms: 1e12 };
  const machine = { now: () => state.ms / 1000, monotonicMs: () => state.ms };
  const clock = new NodeClock({ clock: machine, skewMs });
  const told = (clock_offset_ms: number, clock_error_ms: number, epoch = 1, seen = 0) =>
    clock.learn({ epoch, clock_offset_ms, clock_error_ms }, seen);
  return { state, clock, told };
}

describe('NodeClock', () => {
  it("keeps the machine's clock when the offset is within its error", () => {
    const { clock, told, state } = nodeClock();
    expect(told(2.4, 2.5)).toBe(false);
    expect(clock.corrected.now()).toBe(state.ms / 1000);
  });

  it('takes the first correction at once, small ones slowly, and large ones at once', () => {
    const { clock, told, state } = nodeClock();
    expect(told(100, 10)).toBe(true);
    expect(clock.corrected.correction).toEqual({ atMs: 100, toMs: 100 });
    expect(told(120, 5)).toBe(true);
    state.ms += 200;
    expect(clock.corrected.correction).toEqual({ atMs: 100 + 200 * SLEW_RATE, toMs: 120 });
    expect(told(-90_000, 5)).toBe(true);
    expect(clock.corrected.correction).toEqual({ atMs: -90_000, toMs: -90_000 });
  });

  it("is not undone by a worse estimate, and goes back to the machine's clock when that is right", () => {
    const { clock, told } = nodeClock();
    told(100, 3);
    expect(told(95, 120)).toBe(false);
    expect(told(0.3, 2.2)).toBe(true);
    expect(clock.corrected.correction.toMs).toBe(0);
  });

  it('does not hear a coordinator that was replaced, nor half a sentence', () => {
    const { clock, told } = nodeClock();
    told(100, 3, 2);
    expect(told(500, 3, 1)).toBe(false);
    expect(told(500, 3, 3, 4)).toBe(false);
    expect(clock.learn({ epoch: 9, clock_offset_ms: 1 }, 0)).toBe(false);
    expect(clock.learn({}, 0)).toBe(false);
    expect(clock.corrected.correction.toMs).toBe(100);
  });

  it('shows an emulated error in every time until it is corrected, to hosts as well', () => {
    const { clock, told, state } = nodeClock(180_000);
    expect(clock.machine.now() * 1000 - state.ms).toBeCloseTo(180_000, 1);
    expect(clock.hostCorrection).toEqual({ atMs: -180_000, toMs: -180_000 });
    told(180_001, 2.5);
    expect(clock.corrected.now() * 1000 - state.ms).toBeCloseTo(-1, 1);
    expect(clock.hostCorrection).toEqual({ atMs: 1, toMs: 1 });
  });
});
