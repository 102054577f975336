/**
 * What nodes measure and the coordinator hears of: needs of handlers, and late sessions. As in the product, the
 * service time of a packet is wall time in the handler without its waits for a core; waits for a GPU are in it.
 */
import type { LoopEvent } from '../allocation/fleet/loop-rules.js';
import type { Profile } from '../contracts/plan.js';
import type { Accounts } from './accounts.js';
import type { Sample } from './data-plane.js';
import type { SessionRun } from './session-run.js';

/** Profiles are of the last minutes, in periods; both as the product has them. */
const PERIODS = 120;
export const PROFILE_PERIOD_S = 5;

interface Sums {
  packets: number;
  serviceMs: number;
  cpuMs: number;
  bytes: number;
}

interface Need {
  readonly handler_type: number;
  readonly key: string;
  readonly node_id: number;
  /** One per period, oldest first; the last one is being filled. */
  readonly periods: Sums[];
}

const NO_SUMS = (): Sums => ({ packets: 0, serviceMs: 0, cpuMs: 0, bytes: 0 });

export class Telemetry {
  readonly #needs = new Map<string, Need>();

  sample({ stage, serviceMs, cpuMs, bytes }: Sample): void {
    let need = this.#needs.get(stage.needId);
    if (need === undefined) {
      const { handlerType: handler_type, profileKey: key, node } = stage;
      need = { handler_type, key, node_id: node.facts.node_id, periods: [NO_SUMS()] };
      this.#needs.set(stage.needId, need);
    }
    const sums = need.periods.at(-1)!;
    sums.packets += 1;
    sums.serviceMs += serviceMs;
    sums.cpuMs += cpuMs;
    sums.bytes += bytes;
  }

  /** Called every PROFILE_PERIOD_S. */
  profiles(): Profile[] {
    return [...this.#needs.values()].map(({ handler_type, key, node_id, periods }) => {
      const sum = (value: (sums: Sums) => number) => periods.reduce((total, one) => total + value(one), 0);
      const samples = sum((one) => one.packets);
      periods.push(NO_SUMS());
      if (periods.length > PERIODS) periods.shift();
      const mean = (value: (sums: Sums) => number) => sum(value) / Math.max(1, samples);
      return {
        ...{ handler_type, key, node_id, samples },
        service_ms: mean((one) => one.serviceMs),
        cpu_ms: mean((one) => one.cpuMs),
        out_bytes: mean((one) => one.bytes),
      };
    });
  }

  /** Called every second. */
  missed(runs: Iterable<SessionRun>, accounts: Accounts, nowMs: number): LoopEvent[] {
    const events: LoopEvent[] = [];
    for (const { facts, pipeline } of runs) {
      const bound = facts.objective.latency_ms_max;
      if (bound === undefined || pipeline === null) continue;
      const { session_id } = facts;
      const account = accounts.of(session_id);
      const measured_ms = account.recentP95(nowMs);
      if (measured_ms === null || measured_ms <= bound) continue;
      const { ended: frames, late } = account;
      events.push({ kind: 'latency_missed', session_id, measured_ms, frames, late });
    }
    return events;
  }
}
