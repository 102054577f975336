/**
 * CPU time of this process, and how long its threads were ready to run without a core: what else runs on the machine did
 * that to them. The latter from Linux's schedstat, thread by thread; elsewhere it is 0.
 */
import { readdirSync, readFileSync } from 'node:fs';

const TASKS = '/proc/self/task';

/** Threads whose waits are read: more than a host with every pool has. */
const THREADS_MAX = 256;

/** Periods that the share of waiting is taken over: a packet that waited long did so in several. */
const PERIODS = 10;

export interface CpuUse {
  /** Of the period, ms. */
  readonly cpuMs: number;
  /** Share of the time at work, 0..1, in which it waited for a core; over the last PERIODS. */
  readonly waiting: number;
}

interface Period {
  readonly busyMs: number;
  readonly cpuMs: number;
  /** Of all threads together, ms. */
  readonly waitedMs: number;
}

/** Nanoseconds on a core, nanoseconds ready without one, time slices. */
export function parseWaitedMs(schedstat: string): number {
  const waitedNs = Number(schedstat.split(' ', 2)[1]);
  return Number.isFinite(waitedNs) ? waitedNs / 1e6 : 0;
}

export class CpuMeter {
  #cpu = process.cpuUsage();
  /** By thread. */
  #waitedMs = readWaits();
  readonly #periods: Period[] = [];

  /** Begins anew: what was used until now is nobody's work. */
  reset(): void {
    this.#measure(0);
    this.#periods.length = 0;
  }

  /** Ends a period in which the process was at work for `busyMs`. */
  take(busyMs: number): CpuUse {
    const period = this.#measure(busyMs);
    this.#periods.push(period);
    if (this.#periods.length > PERIODS) this.#periods.shift();
    return { cpuMs: period.cpuMs, waiting: waitingShare(this.#periods) };
  }

  #measure(busyMs: number): Period {
    const { user, system } = process.cpuUsage(this.#cpu);
    this.#cpu = process.cpuUsage();
    const before = this.#waitedMs;
    this.#waitedMs = readWaits();
    let waitedMs = 0;
    for (const [thread, ms] of this.#waitedMs) waitedMs += Math.max(0, ms - (before.get(thread) ?? 0));
    return { busyMs, cpuMs: (user + system) / 1000, waitedMs };
  }
}

/**
 * Of the time at work, the part that threads wanted a core in, times the part of that in which they had none. The share is
 * taken to be the same for every handler of the process; one that waits for other things than cores has less of the first.
 */
export function waitingShare(periods: readonly Period[]): number {
  const sum = (of: (period: Period) => number) => periods.reduce((total, period) => total + of(period), 0);
  const [busyMs, waitedMs] = [sum((one) => one.busyMs), sum((one) => one.waitedMs)];
  const wantedMs = waitedMs + sum((one) => one.cpuMs);
  if (busyMs <= 0 || waitedMs <= 0) return 0;
  return Math.min(1, wantedMs / busyMs) * (waitedMs / wantedMs);
}

function readWaits(): Map<string, number> {
  const waits = new Map<string, number>();
  try {
    for (const thread of readdirSync(TASKS).slice(0, THREADS_MAX)) {
      try {
        waits.set(thread, parseWaitedMs(readFileSync(`${TASKS}/${thread}/schedstat`, 'latin1')));
      } catch {
        // It has ended meanwhile.
      }
    }
  } catch {
    // No /proc here.
  }
  return waits;
}
