/**
 * Handler hosts that are started before anybody needs one: a process with its modules in memory and nothing to do, so
 * that what a lost node ran is made elsewhere without waiting for a program to start (0.6 to 1.5 s of a core).
 *
 *     (none) --`refillMs` of calm--> starting --has loaded its modules--> spare --take--> a session's own
 *        ^------------------------------ it ends (out of memory, say) -----/
 *
 * Invariants: at most `count` of them, one started at a time; a spare never delays who has work to do (it starts at a
 * low priority, and gets the agent's own when it is taken). It is inside its limits from the start: to move a process into
 * a group of the kernel's holds up every thread that it starts meanwhile.
 */
import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import type { FromHost } from '../handler-kit/host-protocol.js';
import { Backoff } from '../std/backoff.js';
import type { Logger } from '../std/logger.js';
import { type ConfinedHost, confineHost, type HostConfiner } from './host-limits.js';
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
  readonly confiner: HostConfiner;
  readonly logger: Logger;
  /** From the start of the agent, or of the last host, to that of a spare, ms: who is needed now starts first. */
  readonly refillMs: number;
}

/** A process inside its limits; null: it is not limited. */
export interface StartedHost {
  readonly process: HostProcess;
  readonly confined: Promise<ConfinedHost | null>;
}

interface Spare extends StartedHost {
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
  take(onMessage: (message: FromHost) => void): StartedHost | null {
    this.#fillLater(this.#options.refillMs);
    const spare = this.#spares.shift();
    if (spare === undefined) return null;
    spare.onMessage = onMessage;
    this.#backoff.reset();
    prioritize(spare.process, getPriority());
    return spare;
  }

  /** Resolves when no process is left. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const spares = this.#spares.splice(0);
    for (const { process } of spares) process.kill();
    await Promise.all(spares.map(ended));
  }

  #fillLater(delayMs: number): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.#options.count === 0) return;
    this.#timer = setTimeout(() => this.#fill(), delayMs);
  }

  #fill(): void {
    if (this.#spares.length >= this.#options.count) return;
    const { entry, environment, confiner, logger } = this.#options;
    const process = new HostProcess({ entry, environment, logger, onMessage: (message) => spare.onMessage(message) });
    const confined = confineHost({ confiner, pid: process.pid, name: 'a spare host', logger });
    const spare: Spare = { process, confined, onMessage: () => {} };
    prioritize(process, NICE);
    process.send({ type: 'preload' });
    this.#spares.push(spare);
    void process.exited.then(() => {
      const index = this.#spares.indexOf(spare);
      if (index < 0) return;
      this.#spares.splice(index, 1);
      void ended(spare);
      this.#fillLater(this.#backoff.nextMs());
    });
    this.#fillLater(this.#options.refillMs);
  }
}

async function ended({ process, confined }: StartedHost): Promise<void> {
  await process.exited;
  await (await confined)?.release();
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
