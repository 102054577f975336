/** Who was hit by a fault, and when their frames came through again. */
import { quantile } from '../std/quantile.js';
import type { SessionRun } from './session-run.js';

export interface RecoverySummary {
  /** Sessions that ran and lost a handler, a camera's node apart. */
  readonly victims: number;
  /** Of them, those whose frames came in time again. */
  readonly recovered: number;
  /** From the fault to the capture of the first frame that came in time; null: none. */
  readonly p50_s: number | null;
  readonly max_s: number | null;
}

interface Hit {
  readonly atMs: number;
  backMs: number | null;
}

export class Recovery {
  readonly #hits: Hit[] = [];
  readonly #open = new Map<number, Hit>();

  /** Sessions with a handler on the node, before it is gone; those whose camera hangs on it have no frames to lose. */
  died(nodeId: number, runs: Iterable<SessionRun>, nowMs: number): void {
    for (const run of runs) {
      const isHit = run.pipeline?.stages.some(({ node }) => node.facts.node_id === nodeId) === true;
      if (isHit && run.facts.source_node !== nodeId) this.hit(run, nowMs);
    }
  }

  hit(run: SessionRun, nowMs: number): void {
    const hit: Hit = { atMs: nowMs, backMs: null };
    this.#hits.push(hit);
    this.#open.set(run.facts.session_id, hit);
  }

  inTime(sessionId: number, emittedMs: number): void {
    const hit = this.#open.get(sessionId);
    if (hit === undefined || emittedMs <= hit.atMs) return;
    hit.backMs = emittedMs;
    this.#open.delete(sessionId);
  }

  summary(): RecoverySummary | null {
    if (this.#hits.length === 0) return null;
    const times = this.#hits.flatMap(({ atMs, backMs }) => (backMs === null ? [] : [(backMs - atMs) / 1000]));
    const of = (q: number) => (times.length === 0 ? null : quantile(times, q));
    return { victims: this.#hits.length, recovered: times.length, p50_s: of(0.5), max_s: of(1) };
  }
}
