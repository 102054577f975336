/**
 * What became of every frame, by session and in all. Invariant: offered = ended + in flight, at any time. Among latencies a
 * frame that never came counts as LOST_BOUNDS times its bound: a quantile cannot look better by dropping what is slow.
 */
import { quantile } from '../std/quantile.js';
import { FRAME_ENDS, type Frame, type FrameEnd } from './pipeline.js';

/** Time over which a node reports the latencies at a sink, ms. */
const RECENT_MS = 10_000;

/** Fewer frames say nothing about their p95. */
const RECENT_MIN = 20;

/** Frames of one session whose latencies are kept for the comparison with what was predicted. */
const KEPT_MAX = 10_000;

/** A late session's bound is halved at most by the loop: more would say nothing more. */
const LOST_BOUNDS = 2;

interface Recent {
  readonly atMs: number;
  readonly latencyMs: number;
}

export class SessionAccount {
  offered = 0;
  /** Had a place at least once. */
  admitted = false;
  /** Offered since it was admitted. */
  promised = 0;
  readonly ends = new Map<FrameEnd, number>();
  /** That entered a pipeline and have ended, and of them those that did not come in time. */
  ended = 0;
  late = 0;
  #recent: Recent[] = [];
  /** Since the last `mark`, under one plan. */
  #kept: number[] = [];

  add(frame: Frame, end: FrameEnd, nowMs: number): void {
    this.ends.set(end, (this.ends.get(end) ?? 0) + 1);
    this.ended += 1;
    if (end !== 'in_time') this.late += 1;
    const isThrough = end === 'in_time' || end === 'late';
    const lostMs = LOST_BOUNDS * (frame.deadlineMs - frame.emittedMs);
    const latencyMs = isThrough ? Math.min(lostMs, nowMs - frame.emittedMs) : lostMs;
    this.#recent.push({ atMs: nowMs, latencyMs });
    if (this.#kept.length < KEPT_MAX) this.#kept.push(latencyMs);
  }

  missed(end: FrameEnd): void {
    this.ends.set(end, (this.ends.get(end) ?? 0) + 1);
  }

  /** From here on under another plan, or for another comparison. */
  mark(): void {
    this.#kept = [];
  }

  /** As a node reports it: p95 of the last seconds; null when there were too few. */
  recentP95(nowMs: number): number | null {
    const first = this.#recent.findIndex((one) => nowMs - one.atMs < RECENT_MS);
    this.#recent = first < 0 ? [] : this.#recent.slice(first);
    if (this.#recent.length < RECENT_MIN) return null;
    return quantile(
      this.#recent.map(({ latencyMs }) => latencyMs),
      0.95,
    );
  }

  forgetRecent(): void {
    this.#recent = [];
  }

  get kept(): readonly number[] {
    return this.#kept;
  }
}

export class Accounts {
  readonly sessions = new Map<number, SessionAccount>();
  /** Accuracy of the frames that came in time, summed. */
  accuracySum = 0;

  of(sessionId: number): SessionAccount {
    let account = this.sessions.get(sessionId);
    if (account === undefined) {
      account = new SessionAccount();
      this.sessions.set(sessionId, account);
    }
    return account;
  }

  total(end: FrameEnd): number {
    let sum = 0;
    for (const { ends } of this.sessions.values()) sum += ends.get(end) ?? 0;
    return sum;
  }

  ends(): Record<FrameEnd, number> {
    return Object.fromEntries(FRAME_ENDS.map((end) => [end, this.total(end)])) as Record<FrameEnd, number>;
  }

  offered(): number {
    let sum = 0;
    for (const one of this.sessions.values()) sum += one.offered;
    return sum;
  }

  promised(): number {
    let sum = 0;
    for (const one of this.sessions.values()) sum += one.promised;
    return sum;
  }
}
