/**
 * Whether one process of a host answers, and whether it keeps to its memory: both are looked at once in a ping period.
 * Unanswered pings are counted and not their time, so that a stall of the agent itself accuses nobody.
 */
import type { OrchestratorError } from '../contracts/errors.js';
import { type Deferred, deferred, within } from '../std/deferred.js';
import { overMemory, unanswered } from './host-problems.js';
import type { HostProcess } from './host-process.js';
import type { HostBounds } from './options.js';
import { processMemoryMb } from './proc-stats.js';

export interface PingWatchOptions {
  /** Of the host, for messages. */
  readonly name: string;
  readonly bounds: Pick<HostBounds, 'pingPeriodMs' | 'pingsMissedMax'>;
  /** Resident memory above which it is to be killed, MiB. */
  readonly memMbMax: number;
}

export class PingWatch {
  readonly #options: PingWatchOptions;
  #timer: NodeJS.Timeout | undefined;
  #unanswered = 0;
  #id = 0;
  #answer: Deferred<void> | null = null;

  constructor(options: PingWatchOptions) {
    this.#options = options;
  }

  /** Looks until `end`; `fail` hears why the process is to be killed. */
  begin(process: HostProcess, fail: (problem: OrchestratorError) => void): void {
    this.#timer = setInterval(() => this.#look(process, fail), this.#options.bounds.pingPeriodMs);
  }

  end(): void {
    clearInterval(this.#timer);
    this.#unanswered = 0;
  }

  ping(process: HostProcess): void {
    this.#unanswered += 1;
    this.#id += 1;
    process.send({ type: 'ping', id: this.#id });
  }

  /** A pong came. */
  answered(id: number): void {
    this.#unanswered = 0;
    if (id === this.#id) this.#answer?.resolve();
  }

  /** Resolves with the newest figures there, or when the process does not tell them within a period. */
  async refresh(process: HostProcess): Promise<void> {
    this.#answer = deferred();
    this.ping(process);
    await within(this.#options.bounds.pingPeriodMs, this.#answer.promise, process.exited);
  }

  #look(process: HostProcess, fail: (problem: OrchestratorError) => void): void {
    const { name, bounds, memMbMax } = this.#options;
    if (this.#unanswered >= bounds.pingsMissedMax) {
      fail(unanswered(name, this.#unanswered * bounds.pingPeriodMs));
      return;
    }
    this.ping(process);
    if (process.pid === null) return;
    const memMb = processMemoryMb(process.pid);
    if (memMb !== null && memMb > memMbMax) fail(overMemory(name, memMb, memMbMax));
  }
}
