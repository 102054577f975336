/**
 * Keeps one handler host alive: start raced against exit and time-out, pings, a bound on memory, restart with backoff
 * from the newest checkpoint, soft stop and then SIGKILL. Nothing of it touches another host.
 *
 *     starting --ready--> ready --run--> running --drain--> draining
 *        ^  |               |              |                   |
 *        |  +---------------+-- it ends ---+                   |       any state --stop--> stopped
 *        |                  v                                  v
 *        +---backoff--- waiting ---too many in a row---> failed
 *
 * starting  the process is there, handlers are created and load their models
 * ready     every handler is created; sources are silent
 * running   sources may emit
 * draining  sources are silent, what is in flight is processed
 * waiting   it ended; it is started again when the backoff is over
 * failed    it could not be created, or ended too often in a row; `problem` says why; no process is left
 * stopped   ended on request; no process is left
 */

import { rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OrchestratorError } from '../contracts/errors.js';
import type { LedgerRow } from '../contracts/report.js';
import type { FromHost, HostConfig, HostHandlerStatus } from '../handler-kit/host-protocol.js';
import { Backoff } from '../std/backoff.js';
import type { ClockCorrection } from '../std/corrected-clock.js';
import { type Deferred, deferred, within, withTimeout } from '../std/deferred.js';
import type { Logger } from '../std/logger.js';
import { HandlerFigures } from './handler-figures.js';
import { HostLeases, type OpenModel } from './host-leases.js';
import { confineHost, type HostConfiner } from './host-limits.js';
import { exited, exitProblem, killedByKernel, notCreated, notReady } from './host-problems.js';
import { HostProcess } from './host-process.js';
import type { HostSpares, StartedHost } from './host-spares.js';
import type { HostBounds } from './options.js';
import { PingWatch } from './ping-watch.js';
import { StallWatch } from './stall-watch.js';

export type HostState = 'starting' | 'ready' | 'running' | 'draining' | 'waiting' | 'failed' | 'stopped';
export type HostReport = Extract<FromHost, { type: 'report' }>;

export interface HostSupervisorOptions {
  /** For log lines and messages: `session 3 handlers 4, 5`. */
  readonly name: string;
  readonly entry: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Resident memory above which it is killed, MiB. */
  readonly memMbMax: number;
  readonly confiner: HostConfiner;
  readonly bounds: HostBounds;
  readonly spares: HostSpares;
  readonly logger: Logger;
  clockCorrection(): ClockCorrection;
  /** Loads a model that several hosts share, or finds it loaded. */
  readonly openModel: OpenModel;
  /** It is in another state. */
  onState(): void;
  /** A link of a handler to another node was cut, or that node does not answer on it. */
  onSuspect(node_id: number): void;
  onReport(report: HostReport): void;
  onLedger(rows: readonly LedgerRow[]): void;
  /** With every answered ping: how far a handler is settled. */
  onSettled(handler_id: number, settled: number): void;
}

export class HostSupervisor {
  readonly #options: HostSupervisorOptions;
  readonly #figures = new HandlerFigures();
  readonly #pings: PingWatch;
  readonly #stopping = new AbortController();
  readonly #watchers = new Set<() => void>();
  #config: HostConfig | null = null;
  #state: HostState = 'starting';
  #process: HostProcess | null = null;
  #problem: OrchestratorError | null = null;
  #lastExit: string | null = null;
  #restarts = 0;
  #wantsRun = false;
  #started: Deferred<void> | null = null;
  #drained: Deferred<void> | null = null;
  #life: Promise<void> | null = null;
  readonly #stalls: StallWatch;
  readonly #leases: HostLeases;
  #fail: (problem: OrchestratorError) => void = () => {};

  constructor(options: HostSupervisorOptions) {
    this.#options = options;
    this.#pings = new PingWatch(options);
    this.#stalls = new StallWatch(options.bounds);
    this.#leases = new HostLeases(options.openModel);
  }

  get state(): HostState {
    return this.#state;
  }
  get pid(): number | null {
    return this.#process?.pid ?? null;
  }
  get restarts(): number {
    return this.#restarts;
  }
  /** Why it last ended or could not start; null after it became ready. */
  get problem(): OrchestratorError | null {
    return this.#problem;
  }
  /** Why it was started again last; stays when it is ready again. */
  get lastExit(): string | null {
    return this.#lastExit;
  }
  /** Whether a process is there that takes links and posted packets. */
  get isServing(): boolean {
    return this.#state === 'ready' || this.#state === 'running' || this.#state === 'draining';
  }
  /** Newest figures of a handler; absent until the first pong of the present process. */
  status(handler_id: number): HostHandlerStatus | undefined {
    return this.#figures.status(handler_id);
  }
  settled(handler_id: number): number {
    return this.#figures.settled(handler_id);
  }
  /** Highest sequence that a handler has accounted for. */
  accounted(handler_id: number): number {
    return this.#figures.accounted(handler_id);
  }
  /** Resolves when it is ready or running (again); throws its problem when it failed, HOST_EXITED when it was stopped. */
  async whenReady(): Promise<void> {
    while (this.#state !== 'ready' && this.#state !== 'running') {
      if (this.#state === 'failed') throw this.#problem ?? exited(this.#options.name, 'failed');
      if (this.#state === 'stopped' || this.#state === 'draining') throw exited(this.#options.name, 'was stopped');
      await new Promise<void>((resolve) => this.#watchers.add(resolve));
    }
  }

  /** The first one starts it; later ones have the same handlers with other links. */
  configure(config: HostConfig): void {
    this.#config = config;
    this.#figures.configured(config);
    if (this.#life === null) this.#life = this.#live();
    else this.#process?.send({ type: 'configure', config: this.#figures.resumed(config) });
  }

  run(): void {
    this.#wantsRun = true;
    if (this.#state !== 'ready') return;
    this.#process?.send({ type: 'run' });
    this.#setState('running');
  }

  /**
   * Resolves when what was in flight is processed, or at the bound; the newest figures are there then. `replaced`: other
   * hosts take its handlers' links over.
   */
  async drain(replaced: boolean): Promise<void> {
    this.#wantsRun = false;
    const process = this.#process;
    if (process === null || (this.#state !== 'running' && this.#state !== 'ready')) return;
    this.#drained = deferred();
    this.#setState('draining');
    process.send({ type: 'drain', replaced });
    const { drainTimeoutMs } = this.#options.bounds;
    if (!(await within(drainTimeoutMs, this.#drained.promise, process.exited))) {
      this.#options.logger.info({ bound_ms: drainTimeoutMs }, `${this.#options.name}: not drained within the bound`);
    }
    await this.#pings.refresh(process);
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
    this.#setState('stopped');
  }

  /** The correction of the node's clock is another one now. */
  correctClock(): void {
    this.#process?.send({ type: 'clock', correction: this.#options.clockCorrection() });
  }

  /** False when no process is there to take the link now. */
  takeLink(link: { url: string; headers: Record<string, string>; head: string }, socket: Socket): boolean {
    if (this.#process === null || !this.isServing) return false;
    return this.#process.sendSocket({ type: 'link', ...link }, socket);
  }

  async #live(): Promise<void> {
    const { bounds, logger, name } = this.#options;
    const backoff = new Backoff({ baseMs: bounds.restartBaseMs, maxMs: bounds.restartMaxMs });
    const { signal } = this.#stopping;
    let everReady = false;
    while (!signal.aborted) {
      this.#setState('starting');
      const startMs = performance.now();
      const { problem, wasReady } = await this.#once();
      if (signal.aborted || this.#isDraining()) break;
      this.#figures.clearStatuses();
      everReady ||= wasReady;
      if (performance.now() - startMs >= bounds.stableAfterMs && wasReady) backoff.reset();
      this.#problem = problem;
      // A handler that says at its first start why it cannot be created says the same the next time.
      const hopeless = !everReady && problem.code !== 'HOST_EXITED';
      const restartsMax = problem.code === 'HANDLER_STALLED' ? bounds.stallRestartsMax : bounds.failuresMax;
      if (hopeless || backoff.attempt >= restartsMax) {
        logger.error({ host: name, code: problem.code, attempts: backoff.attempt + 1 }, problem.message);
        this.#leases.releaseFormer();
        this.#setState('failed');
        return;
      }
      const delayMs = Math.round(backoff.nextMs());
      logger.warn({ host: name, code: problem.code, delay_ms: delayMs }, `${problem.message}; it is started again`);
      this.#restarts += 1;
      this.#lastExit = problem.message;
      this.#setState('waiting');
      await sleep(delayMs, undefined, { signal }).catch(() => {});
    }
    this.#leases.releaseFormer();
    this.#setState('stopped');
  }

  #isDraining(): boolean {
    return this.#state === 'draining';
  }

  /** One process from fork to exit. */
  async #once(): Promise<{ problem: OrchestratorError; wasReady: boolean }> {
    const { bounds, name, memMbMax, spares } = this.#options;
    this.#started = deferred();
    this.#stalls.reset();
    // A killed process leaves its socket file, on which the next one could not listen.
    if (this.#config !== null) await rm(this.#config.socketPath, { force: true });
    if (this.#stopping.signal.aborted) return { problem: exited(this.#options.name, 'was stopped'), wasReady: false };
    const onMessage = (message: FromHost) => this.#receive(message);
    const { process, confined } = spares.take(onMessage) ?? this.#start(onMessage);
    this.#process = process;
    this.correctClock();
    if (this.#config !== null) process.send({ type: 'configure', config: this.#figures.resumed(this.#config) });
    let wasReady = false;
    let problem: OrchestratorError | null = null;
    try {
      const tooLate = () => notReady(name, bounds.prepareTimeoutMs);
      const exit = process.exited.then((ended) => Promise.reject(exitProblem(name, ended)));
      await withTimeout(Promise.race([this.#started.promise, exit]), bounds.prepareTimeoutMs, tooLate);
      wasReady = true;
      this.#problem = null;
      if (!this.#stopping.signal.aborted) this.#becomeReady(process);
      const killed = new Promise<never>((_, reject) => {
        this.#fail = reject;
        this.#pings.begin(process, reject);
      });
      await Promise.race([exit, killed]);
    } catch (error) {
      problem = error as OrchestratorError;
      if (!this.#stopping.signal.aborted) process.kill();
    } finally {
      this.#pings.end();
    }
    await process.exited;
    this.#process = null;
    this.#leases.ended();
    const host = await confined;
    if (problem?.code === 'HOST_EXITED' && (await host?.wasOutOfMemory())) problem = killedByKernel(name, memMbMax);
    await host?.release();
    return { problem: problem ?? exited(this.#options.name, 'ended'), wasReady };
  }

  #start(onMessage: (message: FromHost) => void): StartedHost {
    const { entry, environment, confiner, logger, name } = this.#options;
    const process = new HostProcess({ entry, environment, logger, onMessage });
    return { process, confined: confineHost({ confiner, pid: process.pid, name, logger }) };
  }

  #becomeReady(process: HostProcess): void {
    this.#setState('ready');
    this.#leases.releaseFormer();
    this.#pings.ping(process);
    if (this.#wantsRun) this.run();
  }

  #receive(message: FromHost): void {
    switch (message.type) {
      case 'ready':
        this.#started?.resolve();
        return;
      case 'failed':
        this.#started?.reject(notCreated(message.handler_id, message.problem));
        return;
      case 'progress':
        this.#options.logger.info({ host: this.#options.name, handler_id: message.handler_id }, message.message);
        return;
      case 'drained':
        this.#drained?.resolve();
        return;
      case 'suspect':
        this.#options.onSuspect(message.node_id);
        return;
      case 'model':
        void this.#openModel(message);
        return;
      case 'model_released':
        this.#leases.release(message.id);
        return;
      case 'pong':
        this.#pings.answered(message.id);
        this.#lookForStalls(message.handlers);
        for (const status of message.handlers) {
          this.#figures.told(status);
          this.#options.onSettled(status.handler_id, this.settled(status.handler_id));
        }
        return;
      case 'report':
        this.#options.onReport(message);
        return;
      case 'ledger':
        this.#figures.accountedFor(message.rows);
        this.#options.onLedger(message.rows);
    }
  }

  /** A packet that hangs while the host drains ends with the drain's own bound. */
  #lookForStalls(statuses: readonly HostHandlerStatus[]): void {
    // Packets that wait for a shared model which is being started again are not the handler's fault.
    if (!this.#leases.areServed) this.#stalls.reset();
    const stall = this.#state === 'running' ? this.#stalls.look(this.#options.name, statuses) : null;
    if (stall !== null) this.#fail(stall);
  }

  async #openModel(asked: Extract<FromHost, { type: 'model' }>): Promise<void> {
    const process = this.#process;
    const isPresent = () => process === this.#process;
    const answer = await this.#leases.open(asked, isPresent, (problem) => {
      if (isPresent()) this.#fail(problem);
    });
    if (isPresent()) process?.send(answer);
  }

  #setState(state: HostState): void {
    if (this.#state === state) return;
    this.#state = state;
    const watchers = [...this.#watchers];
    this.#watchers.clear();
    for (const resolve of watchers) resolve();
    this.#options.onState();
  }
}
