/**
 * The caller's side of the query process: one statement at a time, a bound on those that wait, and an end to a statement
 * that takes too long by ending the process (the library has no interrupt; SQLite readers may be killed at any time).
 * The process is started by the first statement and ended after a while without one.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { OrchestratorError } from '../../contracts/errors.js';
import { compiledEntry } from '../../std/compiled-entry.js';
import { type Deferred, deferred, withTimeout } from '../../std/deferred.js';
import { SQL_WAITING_MAX, type SqlResult } from '../store.js';
import { errorOf } from './messages.js';
import type { QueryAnswer } from './query-process.js';

/** A query process without work is ended after this, ms; starting one takes about 100 ms. */
const IDLE_MS = 30_000;

/** JavaScript heap of the query process, MiB: SQL_RESULT_BYTES_MAX of text, its rows, and the message with them. */
const HEAP_MB = 256;

export interface SqliteQueriesOptions {
  readonly path: string;
  readonly timeMsMax: number;
}

export class SqliteQueries {
  readonly #options: SqliteQueriesOptions;
  #child: ChildProcess | null = null;
  #answer: Deferred<SqlResult> | null = null;
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #idle: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: SqliteQueriesOptions) {
    this.#options = options;
  }

  async run(statement: string): Promise<SqlResult> {
    if (this.#waiting > SQL_WAITING_MAX) {
      throw new OrchestratorError('SQL_REFUSED', `${SQL_WAITING_MAX} statements are waiting already; try again later`);
    }
    this.#waiting += 1;
    const turn = this.#tail.then(() => this.#runNow(statement));
    this.#tail = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.#waiting -= 1;
    }
  }

  close(): void {
    this.#closed = true;
    this.#end(this.#unavailable('the store is closed'));
  }

  async #runNow(statement: string): Promise<SqlResult> {
    if (this.#closed) throw this.#unavailable('the store is closed');
    clearTimeout(this.#idle);
    const child = this.#child ?? this.#start();
    const answer = deferred<SqlResult>();
    this.#answer = answer;
    child.send(statement);
    const { timeMsMax } = this.#options;
    try {
      return await withTimeout(answer.promise, timeMsMax, () => {
        const tooLong = new OrchestratorError('SQL_REFUSED', `the statement took longer than ${timeMsMax} ms`);
        this.#end(tooLong);
        return tooLong;
      });
    } finally {
      this.#answer = null;
      this.#idle = setTimeout(() => this.#end(this.#unavailable('idle')), IDLE_MS).unref();
    }
  }

  #start(): ChildProcess {
    const child = fork(compiledEntry(import.meta.url, './query-process.js'), [this.#options.path], {
      env: {},
      execArgv: [`--max-old-space-size=${HEAP_MB}`],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    this.#child = child;
    child.on('message', (answer: QueryAnswer) => {
      if (child !== this.#child) return;
      if ('error' in answer) this.#answer?.reject(errorOf(answer.error));
      else this.#answer?.resolve(answer.result);
    });
    child.on('error', (error) => this.#lost(child, error.message));
    child.on('exit', (code, signal) => this.#lost(child, `the query process ended (${signal ?? code})`));
    return child;
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
