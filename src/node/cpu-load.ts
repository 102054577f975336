/** How busy the cores of the machine are, for those who ask every now and then; they share one look a second. */
import type { Clock } from '../std/clock.js';
import { type CpuTimes, machineCpuTimes } from './proc-stats.js';

/** /proc/stat counts in hundredths of a second: over less than this the share would be coarse, ms. */
const WINDOW_MS = 1_000;

export class CpuLoad {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #times: () => CpuTimes | null;
  #before: { readonly atMs: number; readonly times: CpuTimes } | null = null;
  #util: number | null = null;

  constructor(clock: Pick<Clock, 'monotonicMs'>, times: () => CpuTimes | null = machineCpuTimes) {
    this.#clock = clock;
    this.#times = times;
  }

  /** Percent of all cores over the last second or more; null until there are two looks, or where nothing tells. */
  read(): number | null {
    const atMs = this.#clock.monotonicMs();
    if (this.#before !== null && atMs - this.#before.atMs < WINDOW_MS) return this.#util;
    const times = this.#times();
    if (times === null) return null;
    const before = this.#before;
    this.#before = { atMs, times };
    const elapsed = before === null ? 0 : times.total - before.times.total;
    if (elapsed > 0) this.#util = Math.round((1000 * (times.busy - before!.times.busy)) / elapsed) / 10;
    return this.#util;
  }
}
