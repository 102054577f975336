/** What several scenarios are made of: the seeded fleet, arrivals over the first seconds, and how full the fleet is. */
import { instanceOf } from '../allocation/fleet/instances.js';
import type { FleetNode, FleetSnapshot } from '../contracts/fleet.js';
import { Chance } from './chance.js';
import type { Size, Visitor, Window } from './scenario.js';

/**
 * Multiplier of the instances' frame rates at which a fleet with 3.3 sessions per node is full: above it some session must
 * be refused. By the bench of the planner at 30 nodes and 100 sessions.
 */
export const FULL_LOAD = 2.5;

/** Sessions come in the first seconds, evenly. */
export const ARRIVE_S = 20;

/** Frames flow, and everything has been improved that will be, from here on. */
export const SETTLED_S = 100;

export interface Populated {
  readonly fleet: FleetSnapshot;
  readonly visitors: readonly Visitor[];
  readonly chance: Chance;
}

/** `load` 1 = full. All sessions stay. */
export function populated({ nodes, sessions }: Size, seed: number, load: number): Populated {
  const { sessions: asking, ...fleet } = instanceOf({ nodes, sessions, seed, load: load * FULL_LOAD });
  const visitors = asking.map((session, index) => ({
    ...{ session, untilS: Number.POSITIVE_INFINITY },
    fromS: (index * ARRIVE_S) / asking.length,
  }));
  return { fleet: { ...fleet, sessions: [] }, visitors, chance: new Chance(seed * 17 + 3) };
}

export const isEdge = ({ labels }: FleetNode): boolean => labels.includes('edge');
export const isCloud = ({ labels }: FleetNode): boolean => labels.includes('cloud');

/** Frames all the time for a fleet of some hundred sessions; for a large one only the last seconds. */
export function framesOf({ sessions }: Size, from: number, until: number): Window[] {
  const seconds = Math.min(until - from, Math.max(LEAST_FRAMES_S, Math.floor(SESSION_SECONDS_MAX / sessions)));
  return [{ fromS: until - seconds, untilS: until }];
}

/** Sessions x seconds of frames that one run simulates: at 10 to 20 fps and 5 to 7 handlers some minutes of one core. */
const SESSION_SECONDS_MAX = 40_000;
const LEAST_FRAMES_S = 10;
