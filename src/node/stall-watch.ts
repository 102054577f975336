/**
 * Tells a handler that works from one that hangs: its host answers, but the packet inside it does not end. Health means
 * that packets progress.
 *
 * What is looked at is the oldest packet inside process(), told with every answered ping. So a handler whose results
 * nobody takes (backpressure under `all`) is not meant, because its packet has ended; nor one that loads its model,
 * because it has no packet yet. Time is counted in answered pings: a stall of the agent or of the whole machine makes
 * none, and blames nobody.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { HostHandlerStatus } from '../handler-kit/host-protocol.js';
import type { HostBounds } from './options.js';

export type StallBounds = Pick<HostBounds, 'pingPeriodMs' | 'stallFloorMs' | 'stallTimes' | 'firstPacketMs'>;

interface AtWork {
  readonly sequence: number;
  looks: number;
}

export class StallWatch {
  readonly #bounds: StallBounds;
  readonly #atWork = new Map<number, AtWork>();

  constructor(bounds: StallBounds) {
    this.#bounds = bounds;
  }

  /** With every answered ping of one process; HANDLER_STALLED once a handler counts as hanging. */
  look(name: string, statuses: readonly HostHandlerStatus[]): OrchestratorError | null {
    for (const status of statuses) {
      const { handler_id, at_work } = status;
      const before = this.#atWork.get(handler_id);
      if (at_work == null) this.#atWork.delete(handler_id);
      else if (before?.sequence !== at_work) this.#atWork.set(handler_id, { sequence: at_work, looks: 0 });
      else {
        before.looks += 1;
        const workedMs = before.looks * this.#bounds.pingPeriodMs;
        if (workedMs >= this.#boundMs(status)) return stalled(name, status, workedMs);
      }
    }
    return null;
  }

  /** The next process begins anew. */
  reset(): void {
    this.#atWork.clear();
  }

  #boundMs({ stats }: HostHandlerStatus): number {
    const { stallFloorMs, stallTimes, firstPacketMs } = this.#bounds;
    if (stats.service_ms_p95 === null) return firstPacketMs;
    return Math.max(stallFloorMs, stallTimes * stats.service_ms_p95);
  }
}

function stalled(name: string, { handler_id, at_work, stats }: HostHandlerStatus, workedMs: number): OrchestratorError {
  const expected = stats.service_ms_p95 === null ? 'its first' : `p95 ${stats.service_ms_p95.toFixed(0)} ms`;
  return new OrchestratorError(
    'HANDLER_STALLED',
    `${name}: handler ${handler_id} has not ended packet ${at_work} in ${(workedMs / 1000).toFixed(1)} s (${expected}), killed`,
    { handler_id, sequence: at_work, worked_ms: workedMs },
  );
}
