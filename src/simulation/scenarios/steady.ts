/** 1: the fleet as it is, from a little more than half full to overfull. Nothing happens. */
import { framesOf, populated } from '../fleets.js';
import type { Scenario } from '../scenario.js';

const DURATION_S = 180;

const steady = (percent: number): Scenario => ({
  name: `steady-${percent}`,
  about: `nothing happens; the fleet is ${percent} % full`,
  size: { nodes: 30, sessions: 100 },
  script(size, seed) {
    const { fleet, visitors } = populated(size, seed, percent / 100);
    return { fleet, visitors, events: [], durationS: DURATION_S, windows: framesOf(size, 0, DURATION_S) };
  },
});

export const STEADY: readonly Scenario[] = [60, 80, 100, 120].map(steady);
