/** One run in figures. Everything in it is a function of scenario, size, seed and algorithm: no clock of this machine. */
import { expectedLatencies } from '../allocation/fleet/expected.js';
import type { LoopReason } from '../allocation/fleet/loop.js';
import { quantile } from '../std/quantile.js';
import type { Accounts } from './accounts.js';
import type { ControlPlane } from './control-plane.js';
import type { FrameEnd } from './pipeline.js';
import type { RecoverySummary } from './recovery.js';
import type { Size, Visitor } from './scenario.js';

/** Frames of a session without which its p95 says little. */
const COMPARED_FRAMES_MIN = 60;

/** A prediction within this share of what was measured counts as right. */
const RIGHT_SHARE = 0.2;

export interface Report {
  readonly scenario: string;
  readonly algorithm: string;
  readonly seed: number;
  readonly nodes: number;
  /** That asked for a place. */
  readonly sessions: number;
  /** Virtual time, and the part of it with frames, s. */
  readonly duration_s: number;
  readonly frames_s: number;
  /** Sessions that had a place at least once, and those that have one at the end. */
  readonly admitted: number;
  readonly running: number;
  readonly frames: {
    /** By all sessions that asked; by those that were admitted, from then on. */
    readonly offered: number;
    readonly promised: number;
    readonly ends: Readonly<Record<FrameEnd, number>>;
    readonly in_flight: number;
  };
  /** In time of those that were promised: SLO attainment. */
  readonly attainment: number | null;
  /** In time of all that were offered, by sessions without a place too. */
  readonly served: number | null;
  /** Mean over the frames that came in time. */
  readonly accuracy: number | null;
  readonly moves: {
    readonly handlers: number;
    /** Moves of sessions, one that moved twice counted twice. */
    readonly sessions: number;
    readonly by_reason: Readonly<Record<Exclude<LoopReason, 'placed'>, number>>;
    /** From the scenario's `settledS` on: handlers, and the most sessions in one minute as a share of those that run at the end. */
    readonly handlers_settled: number;
    readonly share_per_minute_max: number;
  };
  readonly recovery: RecoverySummary | null;
  readonly latency: LatencyComparison | null;
}

/** Measured p95 of each session over what was predicted for it, over the last part of the frames. */
export interface LatencyComparison {
  readonly sessions: number;
  /** Predicted at the load of the moment. */
  readonly ratio_p05: number;
  readonly ratio_p50: number;
  readonly ratio_p95: number;
  /** Share of sessions that are within a fifth. */
  readonly right_share: number;
  /** Measured over what the plan promises, which holds at the utilisation cap. */
  readonly promised_ratio_p50: number;
  readonly promised_ratio_max: number;
}

export interface ReportInput {
  readonly scenario: string;
  readonly algorithm: string;
  readonly seed: number;
  readonly size: Size;
  readonly durationS: number;
  readonly settledS: number;
  readonly framesS: number;
  readonly visitors: readonly Visitor[];
  readonly accounts: Accounts;
  readonly control: ControlPlane;
  readonly recovery: RecoverySummary | null;
}

export function reportOf(input: ReportInput): Report {
  const { accounts, control, visitors } = input;
  const ends = accounts.ends();
  const offered = accounts.offered();
  const promised = accounts.promised();
  const ended = Object.values(ends).reduce((sum, one) => sum + one, 0);
  const share = (of: number) => (of === 0 ? null : ends.in_time / of);
  return {
    ...{ scenario: input.scenario, algorithm: input.algorithm, seed: input.seed, nodes: input.size.nodes },
    ...{ sessions: visitors.length, duration_s: input.durationS, frames_s: input.framesS },
    admitted: visitors.filter(({ session }) => accounts.sessions.get(session.session_id)?.admitted === true).length,
    running: control.running,
    frames: { offered, promised, ends, in_flight: offered - ended },
    attainment: share(promised),
    served: share(offered),
    accuracy: ends.in_time === 0 ? null : accounts.accuracySum / ends.in_time,
    moves: movesOf(control, input.settledS),
    recovery: input.recovery,
    latency: compared(accounts, control),
  };
}

function movesOf({ moves, running }: ControlPlane, settledS: number): Report['moves'] {
  const byReason = { repaired: 0, left: 0, made_room: 0, relieved: 0, improved: 0 };
  let handlers = 0;
  let settled = 0;
  const perMinute = new Map<number, Set<number>>();
  for (const one of moves) {
    handlers += one.handlers;
    if (one.why !== 'placed') byReason[one.why] += one.handlers;
    if (one.atS < settledS) continue;
    settled += one.handlers;
    const minute = Math.floor(one.atS / 60);
    perMinute.set(minute, (perMinute.get(minute) ?? new Set()).add(one.session_id));
  }
  const most = Math.max(0, ...[...perMinute.values()].map((ids) => ids.size));
  return {
    ...{ handlers, sessions: moves.length, by_reason: byReason },
    handlers_settled: settled,
    share_per_minute_max: running === 0 ? 0 : most / running,
  };
}

function compared(accounts: Accounts, control: ControlPlane): LatencyComparison | null {
  const snapshot = control.snapshot();
  const expected = expectedLatencies(snapshot);
  const ratios: number[] = [];
  const promisedRatios: number[] = [];
  for (const [id, expectedMs] of expected) {
    const kept = accounts.sessions.get(id)?.kept ?? [];
    const promisedMs = control.promised(id);
    if (kept.length < COMPARED_FRAMES_MIN || promisedMs === null) continue;
    const p95 = quantile(kept, 0.95);
    ratios.push(p95 / expectedMs);
    promisedRatios.push(p95 / promisedMs);
  }
  if (ratios.length === 0) return null;
  const right = ratios.filter((one) => one >= 1 - RIGHT_SHARE && one <= 1 + RIGHT_SHARE).length;
  return {
    ...{ sessions: ratios.length, right_share: right / ratios.length },
    ...{ ratio_p05: quantile(ratios, 0.05), ratio_p50: quantile(ratios, 0.5), ratio_p95: quantile(ratios, 0.95) },
    ...{ promised_ratio_p50: quantile(promisedRatios, 0.5), promised_ratio_max: Math.max(...promisedRatios) },
  };
}
