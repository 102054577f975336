/**
 * Handler hosts that are started before anybody needs one: a process with its modules in memory and nothing to do, so
 * that what a lost node ran is made elsewhere without waiting for a program to start (0.6 to 1.5 s of a core).
 *
 *     (none) --`refillMs` of calm--> starting --has loaded its modules--> spare --take--> a session's own
 *        ^------------------------------ it ends (out of memory, say) -----/
 *
 * Invariants: at most `count` of them, one started at a time; a spare never delays who has work to do (it starts at a
 * low priority, and gets the agent's own when it is taken).
 */
import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import type { FromHost } from '../handler-kit/host-protocol.js';
import { Backoff } from '../std/backoff.js';
import type { Logger } from '../std/logger.js';
import { HostProcess } from './host-process.js';

/** Longest wait before one that keeps ending is started again, ms. */
const RESTART_MAX_MS = 60_000;
/** Of a spare that loads: gets a tenth of what others at work get. */
const NICE = 10;

export interface HostSparesOptions {
  /** 0: none. */
  readonly count: number;
  readonly entry: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly logger: Logger;
  /** From the start of the agent, or of the last host, to that of a spare, ms: who is needed now starts first. */
  readonly refillMs: number;
}

interface Spare {
  readonly process: HostProcess;
  onMessage(message: FromHost): void;
}

export class HostSpares {
  readonly #options: HostSparesOptions;
  readonly #spares: Spare[] = [];
  readonly #backoff: Backoff;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: HostSparesOptions) {
    this.#options = options;
    this.#backoff = new Backoff({ baseMs: options.refillMs, maxMs: RESTART_MAX_MS });
    this.#fillLater(options.refillMs);
  }

  /** Processes that wait. */
  get pids(): number[] {
    return this.#spares.flatMap(({ process }) => process.pid ?? []);
  }

  /** One whose messages go to `onMessage` from now on, or null when there is none. */
  take(onMessage: (message: FromHost) => void): HostProcess | null {
    this.#fillLater(this.#options.refillMs);
    const spare = this.#spares.shift();
    if (spare === undefined) return null;
    spare.onMessage = onMessage;
    this.#backoff.reset();
    prioritize(spare.process, getPriority());
    return spare.process;
  }

  /** Resolves when no process is left. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const spares = this.#spares.splice(0);
    for (const { process } of spares) process.kill();
    await Promise.all(spares.map(({ process }) => process.exited));
  }

  #fillLater(delayMs: number): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.#options.count === 0) return;
    this.#timer = setTimeout(() => this.#fill(), delayMs);
  }

  #fill(): void {
    if (this.#spares.length >= this.#options.count) return;
    const { entry, environment, logger } = this.#options;
    const process = new HostProcess({ entry, environment, logger, onMessage: (message) => spare.onMessage(message) });
    const spare: Spare = { process, onMessage: () => {} };
    prioritize(process, NICE);
    process.send({ type: 'preload' });
    this.#spares.push(spare);
    void process.exited.then(() => {
      const index = this.#spares.indexOf(spare);
      if (index < 0) return;
      this.#spares.splice(index, 1);
      this.#fillLater(this.#backoff.nextMs());
    });
    this.#fillLater(this.#options.refillMs);
  }
}

/**
 * Without the right to raise it again a priority is not lowered either. Linux keeps one for each thread, and those of the
 * process's pools would stay as they were.
 */
function prioritize({ pid }: HostProcess, priority: number): void {
  if (pid === null || (priority > 0 && process.getuid?.() !== 0)) return;
  for (const thread of threadsOf(pid)) {
    try {
      setPriority(thread, priority);
    } catch {
      // It has ended.
    }
  }
}

/** The process itself where the system shows no threads. */
function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch {
    return [pid];
  }
}
