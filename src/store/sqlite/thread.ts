/**
 * The caller's side of the worker thread. Invariant: every call settles. When the thread ends unasked, what was pending
 * rejects with DATABASE_UNAVAILABLE and the thread is started again, with growing pauses while it keeps ending.
 *
 *   starting --ready--> open --exit--> down --(backoff)--> starting      close() from anywhere -> closed
 */
import type { Transferable } from 'node:worker_threads';
import { Worker } from 'node:worker_threads';
import { OrchestratorError } from '../../contracts/errors.js';
import { Backoff } from '../../std/backoff.js';
import { compiledEntry } from '../../std/compiled-entry.js';
import { type Deferred, deferred } from '../../std/deferred.js';
import type { Logger } from '../../std/logger.js';
import { type Answer, type Call, errorOf, type ThreadOptions } from './messages.js';

/** The pause before a thread that ended is started again, ms, first and at most. */
const RESTART_MS = { baseMs: 50, maxMs: 5000 } as const;

export class SqliteThread {
  readonly #options: ThreadOptions;
  readonly #logger: Logger;
  readonly #pending = new Map<number, Deferred<unknown>>();
  readonly #backoff = new Backoff(RESTART_MS);
  #worker: Worker | null = null;
  #restart: NodeJS.Timeout | undefined;
  #nextId = 1;
  #closed = false;

  private constructor(options: ThreadOptions, logger: Logger) {
    this.#options = options;
    this.#logger = logger;
  }

  /** Resolves once the database is open and migrated; rejects with DATABASE_UNAVAILABLE when it cannot be. */
  static async open(options: ThreadOptions, logger: Logger): Promise<SqliteThread> {
    const thread = new SqliteThread(options, logger);
    try {
      await thread.#start();
    } catch (error) {
      await thread.close();
      throw error;
    }
    return thread;
  }

  async call(method: string, argument?: unknown, transfer: readonly Transferable[] = []): Promise<unknown> {
    if (this.#worker === null) {
      throw this.#unavailable(this.#closed ? 'the store is closed' : 'the database thread is being started again');
    }
    const id = this.#nextId++;
    const answer = deferred<unknown>();
    this.#pending.set(id, answer);
    this.#worker.postMessage({ id, method, argument } satisfies Call, [...transfer]);
    return answer.promise;
  }

  /** Lets what was called before finish; later calls reject. */
  async close(): Promise<void> {
    if (this.#closed) return;
    clearTimeout(this.#restart);
    const worker = this.#worker;
    const closing = worker === null ? null : this.call('close').catch(() => {});
    this.#closed = true;
    this.#worker = null;
    await closing;
    await worker?.terminate();
  }

  #start(): Promise<void> {
    const opened = deferred<void>();
    const worker = new Worker(compiledEntry(import.meta.url, './worker.js'), { workerData: this.#options });
    this.#worker = worker;
    let cause = this.#unavailable('the database thread ended unexpectedly');
    worker.on('message', (answer: Answer) => {
      if (answer.type === 'ready') {
        this.#backoff.reset();
        opened.resolve();
      } else if (answer.type === 'unusable') {
        cause = errorOf(answer.error);
        opened.reject(cause);
      } else {
        this.#settle(answer);
      }
    });
    worker.on('error', (error) => {
      cause = this.#unavailable(`the database thread failed: ${error.message}`);
    });
    worker.on('exit', () => {
      opened.reject(cause);
      this.#ended(cause);
    });
    return opened.promise;
  }

  #unavailable(why: string): OrchestratorError {
    return new OrchestratorError('DATABASE_UNAVAILABLE', `database ${this.#options.path}: ${why}`);
  }

  #settle(answer: Extract<Answer, { id: number }>): void {
    const call = this.#pending.get(answer.id);
    this.#pending.delete(answer.id);
    if (answer.type === 'result') call?.resolve(answer.value);
    else call?.reject(errorOf(answer.error));
  }

  #ended(error: OrchestratorError): void {
    this.#worker = null;
    for (const call of this.#pending.values()) call.reject(error);
    this.#pending.clear();
    if (this.#closed) return;
    const delayMs = this.#backoff.nextMs();
    this.#logger.error({ path: this.#options.path, delay_ms: Math.round(delayMs) }, error.message);
    this.#restart = setTimeout(() => void this.#start().catch(() => {}), delayMs);
  }
}
