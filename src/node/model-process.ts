/**
 * Keeps one model process alive: start raced against exit and time-out, pings, a bound on memory, restart with backoff.
 *
 *     starting --ready--> ready --it ends--> waiting --backoff--> starting;  too many in a row, or it cannot be loaded
 *     at its first start--> failed;  any state --stop--> stopped
 *
 * Its socket stays the same, so that the handlers that it serves find the next one by themselves.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { OrchestratorError } from '../contracts/errors.js';
import type {
  FromModelProcess,
  ModelProcessConfig,
  ModelProcessStatus,
  ToModelProcess,
} from '../contracts/model-process.js';
import { Backoff } from '../std/backoff.js';
import { type Deferred, deferred, withTimeout } from '../std/deferred.js';
import type { Logger } from '../std/logger.js';
import { confineHost, type HostConfiner } from './host-limits.js';
import { HostProcess } from './host-process.js';
import type { HostBounds } from './options.js';
import { processMemoryMb } from './proc-stats.js';

export interface ModelProcessOptions {
  readonly entry: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly config: ModelProcessConfig;
  /** Resident memory above which it is killed, MiB. */
  readonly memMbMax: number;
  /** Limits it like a host. */
  readonly confiner: HostConfiner;
  readonly bounds: HostBounds;
  readonly logger: Logger;
  /** It cannot be kept alive: nobody is served any more. */
  onFailed(problem: OrchestratorError): void;
}

export class ModelProcess {
  readonly #options: ModelProcessOptions;
  readonly #stopping = new AbortController();
  readonly #life: Promise<void>;
  /** Resolves when it is ready for the first time, rejects when it never is. */
  readonly #opened = deferred<void>();
  #process: HostProcess<ToModelProcess, FromModelProcess> | null = null;
  #started: Deferred<void> = deferred();
  #status: ModelProcessStatus | null = null;
  #serving = false;
  #restarts = 0;
  #pingId = 0;
  #pingsUnanswered = 0;

  constructor(options: ModelProcessOptions) {
    this.#options = options;
    this.#opened.promise.catch(() => {});
    this.#life = this.#live();
  }

  get socketPath(): string {
    return this.#options.config.socketPath;
  }
  get pid(): number | null {
    return this.#process?.pid ?? null;
  }
  get isServing(): boolean {
    return this.#serving;
  }
  get restarts(): number {
    return this.#restarts;
  }
  /** Newest figures; null before the first answered ping of the present process. */
  get status(): ModelProcessStatus | null {
    return this.#status;
  }
  /** Throws why the model cannot be loaded. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  /** Ends the process, softly within the grace, and leaves nothing of it. */
  async stop(): Promise<void> {
    if (!this.#stopping.signal.aborted) {
      this.#stopping.abort();
      const process = this.#process;
      if (process !== null) {
        process.send({ type: 'stop' });
        const killer = setTimeout(() => process.kill(), this.#options.bounds.stopGraceMs);
        void process.exited.then(() => clearTimeout(killer));
      }
    }
    await this.#life;
  }

  get #name(): string {
    return `model ${this.#options.config.model}`;
  }

  async #live(): Promise<void> {
    const { bounds, logger } = this.#options;
    const backoff = new Backoff({ baseMs: bounds.restartBaseMs, maxMs: bounds.restartMaxMs });
    const { signal } = this.#stopping;
    let everReady = false;
    while (!signal.aborted) {
      const startMs = performance.now();
      const { problem, wasReady } = await this.#once();
      if (signal.aborted) break;
      everReady ||= wasReady;
      if (wasReady && performance.now() - startMs >= bounds.stableAfterMs) backoff.reset();
      const hopeless = !everReady && problem.code !== 'MODEL_EXITED';
      if (hopeless || backoff.attempt >= bounds.failuresMax) {
        logger.error({ code: problem.code, attempts: backoff.attempt + 1 }, problem.message);
        this.#opened.reject(problem);
        this.#options.onFailed(problem);
        return;
      }
      const delayMs = Math.round(backoff.nextMs());
      logger.warn({ code: problem.code, delay_ms: delayMs }, `${problem.message}; it is started again`);
      this.#restarts += 1;
      await sleep(delayMs, undefined, { signal }).catch(() => {});
    }
    this.#opened.reject(this.#exited('was stopped'));
  }

  /** One process from fork to exit. */
  async #once(): Promise<{ problem: OrchestratorError; wasReady: boolean }> {
    const { entry, environment, config, confiner, logger, bounds } = this.#options;
    this.#started = deferred();
    this.#pingsUnanswered = 0;
    this.#status = null;
    const process = new HostProcess<ToModelProcess, FromModelProcess>({
      ...{ entry, environment, logger },
      onMessage: (message) => this.#receive(message),
    });
    this.#process = process;
    const confined = confineHost({ confiner, pid: process.pid, name: this.#name, logger });
    process.send({ type: 'open', config });
    let watch: NodeJS.Timeout | undefined;
    let wasReady = false;
    let problem: OrchestratorError | null = null;
    try {
      const tooLate = () =>
        new OrchestratorError('HANDLER_TIMEOUT', `${this.#name}: not loaded within ${bounds.prepareTimeoutMs} ms`);
      const exit = process.exited.then(({ code, signal, lastLine }) => {
        const how = signal === null ? `with exit code ${code}` : `by ${signal}`;
        throw this.#exited(`ended ${how}${lastLine === '' ? '' : `: ${lastLine.slice(0, 500)}`}`);
      });
      await withTimeout(Promise.race([this.#started.promise, exit]), bounds.prepareTimeoutMs, tooLate);
      wasReady = this.#serving = true;
      logger.info(
        { pid: process.pid, threads: config.threads },
        `${this.#name} is loaded for the sessions of this node`,
      );
      this.#opened.resolve();
      const killed = new Promise<never>((_, reject) => {
        watch = setInterval(() => this.#watch(process, reject), bounds.pingPeriodMs);
      });
      await Promise.race([exit, killed]);
    } catch (error) {
      problem = error as OrchestratorError;
      if (!this.#stopping.signal.aborted) process.kill();
    } finally {
      this.#serving = false;
      clearInterval(watch);
    }
    await process.exited;
    this.#process = null;
    const limited = await confined;
    if (problem?.code === 'MODEL_EXITED' && (await limited?.wasOutOfMemory())) {
      problem = this.#exited(`was out of memory at the limit of ${this.#options.memMbMax} MiB`);
    }
    await limited?.release();
    return { problem: problem ?? this.#exited('ended'), wasReady };
  }

  #watch(process: HostProcess<ToModelProcess, FromModelProcess>, reject: (error: OrchestratorError) => void): void {
    const { bounds, memMbMax } = this.#options;
    if (this.#pingsUnanswered >= bounds.pingsMissedMax) {
      reject(this.#exited(`did not answer pings for ${this.#pingsUnanswered * bounds.pingPeriodMs} ms, killed`));
      return;
    }
    this.#pingsUnanswered += 1;
    this.#pingId += 1;
    process.send({ type: 'ping', id: this.#pingId });
    if (process.pid === null) return;
    const memMb = processMemoryMb(process.pid);
    if (memMb === null || memMb <= memMbMax) return;
    reject(this.#exited(`has ${Math.round(memMb)} MiB resident, over the limit of ${memMbMax} MiB, killed`));
  }

  #receive(message: FromModelProcess): void {
    switch (message.type) {
      case 'ready':
        this.#started.resolve();
        return;
      case 'failed':
        this.#started.reject(OrchestratorError.fromProblem(message.problem, 'MODEL_INVALID', `${this.#name} failed`));
        return;
      case 'progress':
        this.#options.logger.info({}, message.message);
        return;
      case 'pong':
        this.#pingsUnanswered = 0;
        this.#status = message.status;
    }
  }

  #exited(what: string): OrchestratorError {
    return new OrchestratorError('MODEL_EXITED', `${this.#name}: the model process ${what}`);
  }
}
