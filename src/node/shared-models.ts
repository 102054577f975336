/**
 * Models that are loaded once on this node: a process each, started when the first handler asks for the model and ended
 * when the last one that holds it is gone. Invariant: a process is there exactly as long as somebody holds its model.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { ModelChoice, ModelUser } from '../contracts/model-process.js';
import type { Logger } from '../std/logger.js';
import type { HostConfiner } from './host-limits.js';
import { MODEL_ENVIRONMENT } from './memory-environment.js';
import { ModelProcess } from './model-process.js';
import type { HostBounds } from './options.js';
import type { Threads } from './threads.js';

export interface SharedModelsOptions {
  /** The built entry file of a model process. */
  readonly entry: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly cacheDir: string;
  readonly memMbMax: number;
  readonly confiner: HostConfiner;
  readonly bounds: HostBounds;
  readonly batchMax: number;
  readonly batchWaitMs: number;
  readonly logger: Logger;
  newSocketPath(): string;
  /** Of an inference that takes `cpuMs` on one thread. */
  chooseThreads(cpuMs: number): Threads;
}

/** Who holds a model. */
export interface ModelHolder {
  readonly session_id: number;
  readonly handler_id: number;
  /** Declared for its handler type on this node, ms. */
  readonly cpuMs: number;
  /** The model cannot be served any more. */
  onFailed(problem: OrchestratorError): void;
}

export interface ModelLease {
  readonly socketPath: string;
  /** False while its process is being started again: who waits for it does not hang. */
  isServing(): boolean;
  /** Gives it back; again is no error. */
  release(): void;
}

/** A model process as it is shown and sampled. */
export interface SharedModelView {
  readonly model: string;
  readonly pid: number | null;
  readonly threads: Threads;
  readonly restarts: number;
  readonly holders: readonly Pick<ModelHolder, 'session_id' | 'handler_id'>[];
  readonly users: readonly ModelUser[];
}

interface Entry {
  readonly choice: ModelChoice;
  readonly threads: Threads;
  readonly process: ModelProcess;
  readonly holders: Set<ModelHolder>;
}

export class SharedModels {
  readonly #options: SharedModelsOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #ending = new Set<Promise<void>>();
  #closed = false;

  constructor(options: SharedModelsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Resolves when the model is loaded. Throws why it cannot be. */
  async open(choice: ModelChoice, holder: ModelHolder): Promise<ModelLease> {
    if (this.#closed) throw new OrchestratorError('MODEL_EXITED', `model ${choice.model}: the node is closing`);
    const key = JSON.stringify([choice.model, choice.part, choice.gpu]);
    const entry = this.#entries.get(key) ?? this.#start(key, choice, holder.cpuMs);
    entry.holders.add(holder);
    const release = (): void => {
      if (entry.holders.delete(holder) && entry.holders.size === 0) this.#end(key, entry);
    };
    try {
      await entry.process.opened;
      const { process } = entry;
      return { socketPath: process.socketPath, isServing: () => process.isServing, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  views(): SharedModelView[] {
    return [...this.#entries.values()].map(({ choice, threads, process, holders }) => ({
      model: choice.part === undefined ? choice.model : `${choice.model} ${choice.part}`,
      ...{ pid: process.pid, threads, restarts: process.restarts },
      holders: [...holders].map(({ session_id, handler_id }) => ({ session_id, handler_id })),
      users: process.status?.users ?? [],
    }));
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const [key, entry] of this.#entries) this.#end(key, entry);
    await Promise.all(this.#ending);
  }

  #start(key: string, choice: ModelChoice, cpuMs: number): Entry {
    const { entry, environment, cacheDir, memMbMax, confiner, bounds, batchMax, batchWaitMs, logger } = this.#options;
    const threads = this.#options.chooseThreads(cpuMs);
    const socketPath = this.#options.newSocketPath();
    const started: Entry = {
      ...{ choice, threads },
      holders: new Set(),
      process: new ModelProcess({
        ...{ entry, environment: { ...MODEL_ENVIRONMENT, ...environment }, memMbMax, confiner, bounds, logger },
        config: { ...choice, cacheDir, socketPath, threads: threads.count, batchMax, batchWaitMs },
        onFailed: (problem) => {
          const holders = [...started.holders];
          this.#end(key, started);
          for (const holder of holders) holder.onFailed(problem);
        },
      }),
    };
    this.#entries.set(key, started);
    return started;
  }

  #end(key: string, entry: Entry): void {
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
    entry.holders.clear();
    const ending = entry.process.stop().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }
}
