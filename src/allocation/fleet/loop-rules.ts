/**
 * When the planning loop may act: hysteresis, dwell and budget as plain data, so that a decision is a function of what
 * it is given. Times are seconds of whatever clock the caller has, wall or virtual; only differences count.
 */

import type { FleetSnapshot } from '../../contracts/fleet.js';
import { type LateWatch, watchedAll } from './loop-lateness.js';

/** Something that has happened since the last call. `latency_missed` is repeated for as long as it lasts. */
export type LoopEvent =
  | { readonly kind: 'arrival' | 'departure'; readonly session_id: number }
  | { readonly kind: 'node_lost' | 'node_joined' | 'node_drained'; readonly node_id: number }
  | { readonly kind: 'link_changed' | 'profile_drift' }
  /** Packets take longer there than they used to, or no more; the snapshot has it in it. */
  | { readonly kind: 'node_slowed' | 'node_recovered'; readonly node_id: number }
  /**
   * Measured end to end p95 above the session's bound. `frames` that have ended since some time, and how many of them came
   * too late or were dropped for it: both only grow, or begin anew.
   */
  | {
      readonly kind: 'latency_missed';
      readonly session_id: number;
      readonly measured_ms: number;
      readonly frames: number;
      readonly late: number;
    };

export interface LoopRules {
  readonly seed: number;
  /** Steps of the search in one improvement: at least, for each session, and at most. */
  readonly iterationsMin: number;
  readonly iterationsPerSession: number;
  readonly iterationsMax: number;
  /** What is wrong must last so long before anybody moves: shorter ones pass by themselves. */
  readonly confirmS: number;
  /** A session of which less than most frames are late is watched for so long before it moves. */
  readonly lateWindowS: number;
  /** A session that was placed stays so long, unless it cannot. */
  readonly dwellS: number;
  /** Between two improvements: the slow time scale. */
  readonly improvePeriodS: number;
  /** Nothing must have been refused, lost or slow for so long before accuracy rises again. */
  readonly calmS: number;
  /** Handlers of sessions that could have stayed which may move within `budgetWindowS`, for each 240 that run. */
  readonly movesMax: number;
  /** Times as many with those counted who are late, or make room: nobody waits for a place so that others need not move. */
  readonly urgentMoves: number;
  readonly budgetWindowS: number;
  /** Accuracy that a handler's move must gain: a step between two models of one handler is often no more than 0.05. */
  readonly stickiness: number;
  /** Share by which a promise must be broken before it counts: twice the noise of a profile. */
  readonly slack: number;
  /** Share of its use that an overloaded node is relieved of. */
  readonly relief: number;
  /** Share of every resource that an improvement leaves free: what rises does not fall again at the next arrival. */
  readonly headroom: number;
}

export const DEFAULT_LOOP_RULES: LoopRules = {
  seed: 1,
  iterationsMin: 100,
  iterationsPerSession: 2,
  iterationsMax: 2_000,
  confirmS: 3,
  lateWindowS: 10,
  dwellS: 30,
  improvePeriodS: 30,
  calmS: 10,
  movesMax: 12,
  urgentMoves: 4,
  budgetWindowS: 60,
  stickiness: 0.02,
  slack: 0.2,
  relief: 0.25,
  headroom: 0.1,
};

/** Some forty sessions: what a fleet of them would feel is nothing in one of thousands. */
const BUDGET_HANDLERS = 240;

/** Handlers that may move within the window when so many run. */
export function budgetOf({ movesMax, urgentMoves }: LoopRules, running: number, isUrgent: boolean): number {
  return Math.floor(movesMax * Math.max(1, running / BUDGET_HANDLERS)) * (isUrgent ? urgentMoves : 1);
}

/** What the loop remembers from call to call. Immutable. */
export interface LoopState {
  /** By session_id, those that are late now. */
  readonly late: ReadonlyMap<number, LateWatch>;
  /** By session_id, when it was placed last by this loop. */
  readonly placedAtS: ReadonlyMap<number, number>;
  /** When sessions without a place got one, within `budgetWindowS`. */
  readonly cameAtS: readonly number[];
  /** Moves of sessions that could have stayed. */
  readonly moves: readonly { readonly atS: number; readonly handlers: number }[];
  readonly improvedAtS: number;
  /** Last refusal, loss, slow node or missed latency. */
  readonly troubledAtS: number;
  /** Something has happened that an improvement has not seen yet. */
  readonly isNews: boolean;
  /** A session that was held at the last look cannot stay where it is: the next call looks again, events or not. */
  readonly isOwing: boolean;
}

export const NO_LOOP_STATE: LoopState = {
  late: new Map(),
  placedAtS: new Map(),
  cameAtS: [],
  moves: [],
  improvedAtS: Number.NEGATIVE_INFINITY,
  troubledAtS: Number.NEGATIVE_INFINITY,
  isNews: false,
  isOwing: false,
};

/** What opens room, or takes it: only then is there something to improve. Figures that waver are no reason to move. */
const NEWS: ReadonlySet<LoopEvent['kind']> = new Set([
  ...(['arrival', 'departure', 'node_lost', 'node_joined', 'node_drained', 'node_recovered'] as const),
]);

/** Who is late disturbs the calm of its own nodes only: one that cannot be helped would keep all others where they are. */
const TROUBLES: ReadonlySet<LoopEvent['kind']> = new Set([...(['node_lost', 'node_drained', 'node_slowed'] as const)]);

/** The state with the events in it; trouble that is not told again has passed. */
export function withEvents(state: LoopState, events: readonly LoopEvent[], atS: number, rules: LoopRules): LoopState {
  return {
    ...state,
    late: watchedAll(state.late, events, atS, rules),
    cameAtS: state.cameAtS.filter((one) => atS - one < rules.budgetWindowS),
    moves: state.moves.filter((one) => atS - one.atS < rules.budgetWindowS),
    isNews: state.isNews || events.some(({ kind }) => NEWS.has(kind)),
    // The first improvement comes a period after the loop has begun, and a session that others placed dwells as well.
    improvedAtS: Number.isFinite(state.improvedAtS) ? state.improvedAtS : atS,
    placedAtS: new Map([
      ...state.placedAtS,
      ...events.flatMap((event): [number, number][] => (event.kind === 'arrival' ? [[event.session_id, atS]] : [])),
    ]),
    troubledAtS: events.some(({ kind }) => TROUBLES.has(kind)) ? atS : state.troubledAtS,
  };
}

/** Whether the session is late and has been for long enough. */
export function isConfirmed({ late }: LoopState, sessionId: number): boolean {
  return late.get(sessionId)?.isConfirmed === true;
}

export function dwells({ placedAtS }: LoopState, sessionId: number, atS: number, { dwellS }: LoopRules): boolean {
  const placed = placedAtS.get(sessionId);
  return placed !== undefined && atS - placed < dwellS;
}

/** Handlers of sessions that could have stayed which have moved within the window. */
export function movedLately({ moves }: LoopState): number {
  return moves.reduce((sum, one) => sum + one.handlers, 0);
}

/** Whether it is time to improve: news, calm since the last trouble, and not too soon after the last time. */
export function mayImprove(state: LoopState, atS: number, { calmS, improvePeriodS }: LoopRules): boolean {
  return state.isNews && atS - state.troubledAtS >= calmS && atS - state.improvedAtS >= improvePeriodS;
}

/** A late session's bound is halved at most: what is later than that has another cause than its place. */
const LATENCY_SHARE_MIN = 0.5;

/** Sessions that are measured late get a bound that is stricter by as much: what is predicted was wrong by that. */
export function tightened(snapshot: FleetSnapshot, events: readonly LoopEvent[], state: LoopState): FleetSnapshot {
  const late = new Map<number, number>();
  for (const event of events) {
    if (event.kind === 'latency_missed' && isConfirmed(state, event.session_id))
      late.set(event.session_id, event.measured_ms);
  }
  if (late.size === 0) return snapshot;
  const sessions = snapshot.sessions.map((session) => {
    const measured = late.get(session.session_id);
    const bound = session.objective.latency_ms_max;
    if (measured === undefined || bound === undefined) return session;
    const share = Math.max(LATENCY_SHARE_MIN, Math.min(1, bound / measured));
    return { ...session, objective: { ...session.objective, latency_ms_max: bound * share } };
  });
  return { ...snapshot, sessions };
}
