/**
 * The caller's side of the query process: one statement at a time, and an end to a statement that takes too long by ending the process (the library has no interrupt; SQLite readers may be killed at any time).
 * The process is started by the first statement and ended after a while without one.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { OrchestratorError } from '../../contracts/errors.js';
import { compiledEntry } from '../../std/compiled-entry.js';
import { type Deferred, deferred, withTimeout } from '../../std/deferred.js';
import { StatementQueue } from '../statement-queue.js';
import type { SqlResult } from '../store.js';
import { errorOf } from './messages.js';
import type { QueryAnswer, QueryCall } from './query-process.js';

/** A query process without work is ended after this, ms; starting one takes about 100 ms. */
const IDLE_MS = 30_000;

/** Until a started process answers, ms; not part of a statement's time. */
const START_MS_MAX = 15_000;

/** JavaScript heap of the query process, MiB: SQL_RESULT_BYTES_MAX of text, its rows, and the message with them. */
const HEAP_MB = 256;

export interface SqliteQueriesOptions {
  readonly path: string;
  readonly timeMsMax: number;
}

export class SqliteQueries {
  readonly #options: SqliteQueriesOptions;
  readonly #queue = new StatementQueue();
  #child: ChildProcess | null = null;
  /** What is awaited of the process: first that it is ready, then a result. */
  #answer: Deferred<SqlResult | null> | null = null;
  #idle: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: SqliteQueriesOptions) {
    this.#options = options;
  }

  run(statement: string): Promise<SqlResult> {
    return this.#queue.run(() => this.#runNow(statement));
  }

  close(): void {
    this.#closed = true;
    this.#end(this.#unavailable('the store is closed'));
  }

  async #runNow(statement: string): Promise<SqlResult> {
    if (this.#closed) throw this.#unavailable('the store is closed');
    clearTimeout(this.#idle);
    const { path, timeMsMax } = this.#options;
    try {
      if (this.#child === null) {
        this.#start();
        await this.#answerWithin(START_MS_MAX, this.#unavailable('the query process does not start'));
      }
      const child: ChildProcess | null = this.#child;
      if (child === null) throw this.#unavailable('the store is closed');
      child.send({ path, statement } satisfies QueryCall);
      const tooLong = new OrchestratorError('SQL_REFUSED', `the statement took longer than ${timeMsMax} ms`);
      return (await this.#answerWithin(timeMsMax, tooLong))!;
    } finally {
      this.#idle = setTimeout(() => this.#end(this.#unavailable('idle')), IDLE_MS).unref();
    }
  }

  /** The next answer of the process; when there is none in time, the process is ended. */
  async #answerWithin(ms: number, error: OrchestratorError): Promise<SqlResult | null> {
    const answer = deferred<SqlResult | null>();
    this.#answer = answer;
    try {
      return await withTimeout(answer.promise, ms, () => {
        this.#end(error);
        return error;
      });
    } finally {
      this.#answer = null;
    }
  }

  #start(): void {
    const child = fork(compiledEntry(import.meta.url, './query-process.js'), {
      env: {},
      execArgv: [`--max-old-space-size=${HEAP_MB}`],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    this.#child = child;
    child.on('message', (answer: QueryAnswer) => {
      if (child !== this.#child) return;
      if ('error' in answer) this.#answer?.reject(errorOf(answer.error));
      else this.#answer?.resolve('ready' in answer ? null : answer.result);
    });
    child.on('error', (error) => this.#lost(child, error.message));
    child.on('exit', (code, signal) => this.#lost(child, `the query process ended (${signal ?? code})`));
  }

  #lost(child: ChildProcess, why: string): void {
    if (child !== this.#child) return;
    this.#child = null;
    this.#answer?.reject(this.#unavailable(why));
  }

  #end(error: OrchestratorError): void {
    clearTimeout(this.#idle);
    const child = this.#child;
    this.#child = null;
    child?.kill('SIGKILL');
    this.#answer?.reject(error);
  }

  #unavailable(why: string): OrchestratorError {
    return new OrchestratorError('DATABASE_UNAVAILABLE', `database ${this.#options.path}: ${why}`);
  }
}
