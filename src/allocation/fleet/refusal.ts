/**
 * Why a session of a fleet has no place: what binds, and the nearest objective that would be admitted beside everybody
 * who is placed. Nobody else is moved for a proposal, and each has been routed before it is made.
 */
import type { FleetRefused } from '../../contracts/fleet.js';
import type { Objective } from '../../contracts/plan.js';
import { NEAREST_FPS_MIN } from '../bounds.js';
import { accuracyText, ms } from '../words.js';
import { overloadWords } from './faults.js';
import type { Task } from './model.js';
import type { FleetSearch } from './search.js';
import type { Placed } from './state.js';

/**
 * What binds: the first resource that the place it would like to have would overload. Not `thorough`: the place among the
 * candidates of one decision, for when thousands are refused.
 */
export function refusedOf(task: number, search: FleetSearch, thorough = true): FleetRefused {
  const { state } = search;
  const { session, graphs } = state.fleet.tasks[task]!;
  const { session_id, objective } = session;
  if (graphs.length === 0) return { session_id, reason: 'a node that it is pinned to is drained' };
  const wish = search.ideal(task, thorough);
  if (wish === null) {
    const { fps, latency_ms_max: latency, accuracy_min: accuracy } = objective;
    const wants = [
      `${fps} fps`,
      ...(latency === undefined ? [] : [`${latency} ms`]),
      ...(accuracy === undefined ? [] : [`accuracy ${accuracy}`]),
    ];
    return {
      session_id,
      reason: `no placement keeps ${wants.join(', ')} even with ${thorough ? 'every node' : 'the nodes that were looked at'} to itself`,
    };
  }
  const full = state.overloads(wish);
  return {
    session_id,
    reason:
      full < 0 ? 'its best place is free but not reached within the iterations' : overloadWords(state, wish, full),
  };
}

export interface Proposal {
  readonly objective: Objective;
  /** `latency 96 ms`. */
  readonly words: string;
}

/** Least change first: one promise relaxed at a time; where none does, latency and accuracy together, then all. */
export function proposalsFor(task: number, search: FleetSearch): Proposal[] {
  const asked = search.state.fleet.tasks[task]!;
  const { objective } = asked.session;
  const find = (change: Partial<Task>): Placed | null => search.find({ ...asked, ...change });
  const unbound = { latencyMsMax: Number.MAX_VALUE, lnAccuracyMin: Number.NEGATIVE_INFINITY };
  const singles = [
    objective.latency_ms_max === undefined
      ? null
      : relaxed(objective, search.find({ ...asked, latencyMsMax: unbound.latencyMsMax }, { quickest: true })),
    objective.accuracy_min === undefined ? null : relaxed(objective, find({ lnAccuracyMin: unbound.lnAccuracyMin })),
    slower(objective, find),
  ].filter((one) => one !== null);
  if (singles.length > 0) return singles.sort((a, b) => changeOf(objective, a) - changeOf(objective, b));
  const several = relaxed(objective, find(unbound)) ?? slower(objective, (change) => find({ ...unbound, ...change }));
  return several === null ? [] : [several];
}

/** Those of the asked bounds that `placed` breaks set to what it reaches. */
function relaxed(objective: Objective, placed: Placed | null): Proposal | null {
  if (placed === null) return null;
  const { latency_ms_max: latency, accuracy_min: accuracy } = objective;
  const reached = { latencyMs: Math.ceil(placed.latencyMs), accuracy: Math.floor(placed.accuracy * 1e4) / 1e4 };
  const isLate = latency !== undefined && placed.latencyMs > latency;
  const isPoor = accuracy !== undefined && placed.accuracy < accuracy;
  return {
    objective: {
      ...objective,
      ...(isLate ? { latency_ms_max: reached.latencyMs } : {}),
      ...(isPoor ? { accuracy_min: reached.accuracy } : {}),
    },
    words: [
      ...(isLate ? [`latency ${ms(reached.latencyMs)}`] : []),
      ...(isPoor ? [`accuracy ${accuracyText(reached.accuracy)}`] : []),
    ].join(' and '),
  };
}

/** The highest frame rate, in tenths, that finds a place. */
function slower(objective: Objective, find: (change: Partial<Task>) => Placed | null): Proposal | null {
  const rate = (steps: number) => Number((steps * NEAREST_FPS_MIN).toFixed(1));
  let low = 0;
  let high = Math.ceil(objective.fps / NEAREST_FPS_MIN - 1e-9);
  let placed: Placed | null = null;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const found = find({ fps: rate(middle) });
    if (found === null) high = middle;
    else {
      low = middle;
      placed = found;
    }
  }
  const proposal = relaxed({ ...objective, fps: rate(low) }, placed);
  if (proposal === null) return null;
  const words = [`${rate(low)} fps`, ...(proposal.words === '' ? [] : [proposal.words])];
  return { ...proposal, words: words.join(' and ') };
}

const changeOf = (asked: Objective, { objective }: Proposal): number =>
  Math.max(
    (objective.latency_ms_max ?? 0) / (asked.latency_ms_max ?? 1) - 1,
    1 - (objective.accuracy_min ?? 1) / (asked.accuracy_min ?? 1),
    1 - objective.fps / asked.fps,
  );
