/**
 * CPU time of this process, and how long its threads were ready to run without a core: what else runs on the machine did
 * that to them. The latter from Linux's schedstat, thread by thread; elsewhere it is 0.
 */
import { readdirSync, readFileSync } from 'node:fs';

const TASKS = '/proc/self/task';

/** Threads whose waits are read: more than a host with every pool has. */
const THREADS_MAX = 256;

export interface CpuUse {
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

  /** Since the last call, or since it was made. */
  take(): CpuUse {
    const { user, system } = process.cpuUsage(this.#cpu);
    this.#cpu = process.cpuUsage();
    const before = this.#waitedMs;
    this.#waitedMs = readWaits();
    let waitedMs = 0;
    for (const [thread, ms] of this.#waitedMs) waitedMs += Math.max(0, ms - (before.get(thread) ?? 0));
    return { cpuMs: (user + system) / 1000, waitedMs };
  }
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

/**
 * Time of a packet with a core free for every thread that is ready, ms: `serviceMs` without the part of its `busyMs` in
 * which its threads waited for one. The share of waiting is taken to be the same in every part of the work.
 */
export function uncontendedMs(
  { serviceMs, busyMs }: { serviceMs: number; busyMs: number },
  { cpuMs, waitedMs }: CpuUse,
  speed: number,
): number {
  if (waitedMs <= 0) return serviceMs;
  const wantedMs = cpuMs + waitedMs;
  const lostMs = (Math.min(busyMs, wantedMs) * waitedMs) / wantedMs;
  return Math.max(0, serviceMs - lostMs / speed);
}
