/**
 * A handler host: the subprocess in which handlers run, between the agent (IPC, host-protocol.ts) and the data plane.
 *
 *   empty --configure--> preparing --all created, socket listens--> ready --run--> running --drain--> draining
 *   preparing --a handler could not be created--> failed (exits);  any --stop, or the agent is gone--> exited
 *   configure again (same handlers): links are added, retargeted, removed; what runs goes on
 *
 * Invariant: without the agent there is no host; it exits at once when the channel closes.
 */
import { unlink } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import type { HandlerState } from '../contracts/node.js';
import type { PayloadType } from '../contracts/packet.js';
import type { LedgerRow, ProfileSample } from '../contracts/report.js';
import type { LinkHeaders } from '../links/handshake.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import { Account } from './account.js';
import { CpuMeter } from './cpu-meter.js';
import type { HandlerManifest } from './define.js';
import { createHandler, type HostedHandler } from './host-handler.js';
import { createHostServer, pathOf } from './host-http.js';
import { HostLinks } from './host-links.js';
import { HostModels } from './host-models.js';
import { type FromHost, type HostConfig, REPORT_FLUSH_MS, type ToHost } from './host-protocol.js';
import { acceptUpgrade } from './host-upgrades.js';
import { PostedInput } from './posted-input.js';
import { HandlerRunner } from './runner.js';
import { SourceRunner } from './source-runner.js';
import { Telemetry } from './telemetry.js';

/** How often draining is looked at, ms. */
const DRAIN_POLL_MS = 20;
/** Nothing arrived for this long: what was in flight towards this host is through, ms. */
const DRAIN_QUIET_MS = 300;
/** Handlers get this long to close before the process ends anyway, ms. */
const CLOSE_MS = 2000;

export interface HandlerHostOptions {
  readonly manifests: readonly HandlerManifest[];
  readonly clock: Clock;
  readonly logger: Logger;
  send(message: FromHost): void;
  exit(code: number): void;
}

export class HandlerHost {
  readonly #options: HandlerHostOptions;
  readonly #handlers = new Map<number, HostedHandler>();
  readonly #links: HostLinks;
  readonly #models: HostModels;
  readonly #posted = new Map<string, PostedInput>();
  #isWanted = false;
  #config: HostConfig | null = null;
  #telemetry: Telemetry | null = null;
  #server: Server | null = null;
  #state: HandlerState = 'preparing';
  #configured: Promise<void> = Promise.resolve();
  #timers: NodeJS.Timeout[] = [];
  #cpu = new CpuMeter();

  constructor(options: HandlerHostOptions) {
    this.#options = options;
    this.#models = new HostModels(options.send);
    const onSuspect = (node_id: number) => options.send({ type: 'suspect', node_id });
    const { clock, logger } = options;
    this.#links = new HostLinks({ handlers: this.#handlers, clock, logger, onSuspect });
  }

  /** A message of the agent; `socket` comes with `link`. */
  receive(message: ToHost, socket?: Socket): void {
    switch (message.type) {
      case 'configure':
        this.#isWanted = true;
        this.#configured = this.#configured.then(() => this.#configure(message.config));
        break;
      case 'preload':
        void this.#preload();
        break;
      case 'run':
        void this.#configured.then(() => this.#run());
        break;
      case 'drain':
        void this.#configured.then(() => this.#drain(message.replaced));
        break;
      case 'stop':
        void this.stop();
        break;
      case 'ping':
        this.#options.send({ type: 'pong', id: message.id, handlers: this.#statuses() });
        break;
      case 'model':
      case 'no_model':
        this.#models.take(message);
        break;
      case 'link':
        if (socket !== undefined) {
          this.#acceptUpgrade(pathOf(message.url), message.headers, socket, Buffer.from(message.head, 'base64'));
        }
        break;
    }
  }

  /** Closes everything and exits 0; a handler that does not close in time is left. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#links.close();
    const closing = Promise.allSettled([...this.#handlers.values()].map((one) => one.close()));
    await Promise.race([closing, new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref())]);
    this.#flush();
    await this.removeSocket();
    this.#options.exit(0);
  }

  async removeSocket(): Promise<void> {
    this.#server?.close();
    if (this.#config !== null) await unlink(this.#config.socketPath).catch(() => {});
  }

  /** A rejection that no code waits for: the packet of the one handler that is at work ends with it. */
  rejected(reason: unknown): void {
    const busy = [...this.#handlers.values()].filter(
      ({ runner }) => runner instanceof HandlerRunner && !runner.resting,
    );
    const error = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
    this.#options.logger.error({ error, handlers: busy.map((one) => one.handlerId) }, 'unhandled rejection');
    const only = busy.length === 1 ? busy[0]!.runner : null;
    if (only instanceof HandlerRunner) only.failCurrent(reason);
  }

  /** One after the other, until there is something to do; a type without code of its own is no failure here. */
  async #preload(): Promise<void> {
    for (const manifest of this.#options.manifests) {
      if (this.#isWanted) return;
      await manifest
        .load()
        .then((module) => module.warm?.())
        .catch(() => {});
    }
  }

  async #configure(config: HostConfig): Promise<void> {
    const first = this.#config === null;
    this.#config = config;
    try {
      if (first) await this.#create(config);
      this.#links.apply(config);
      if (first) await this.#listen(config);
    } catch (thrown) {
      const error = toOrchestratorError(thrown);
      const handler_id = typeof error.context.handler_id === 'number' ? error.context.handler_id : -1;
      this.#options.send({ type: 'failed', handler_id, problem: error.toProblem() });
      this.#options.exit(1);
      return;
    }
    if (first) this.#state = 'ready';
    this.#options.send({ type: 'ready' });
  }

  async #create(config: HostConfig): Promise<void> {
    const { manifests, clock, logger, send } = this.#options;
    const telemetry = new Telemetry({ session_id: config.session_id, clock });
    this.#telemetry = telemetry;
    const created = await Promise.all(
      config.handlers.map((spec) => {
        const handler_id = spec.handler_id;
        const onProgress = (message: string): void => send({ type: 'progress', handler_id, message });
        const onSourceFailed = (error: unknown): void => this.#sourceFailed(handler_id, error);
        return createHandler({
          ...{ manifests, config, spec, clock, logger, telemetry, onProgress, onSourceFailed },
          onLedger: this.#tellLedger,
          openModel: (choice) => this.#models.open(handler_id, choice),
        });
      }),
    );
    for (const hosted of created) this.#handlers.set(hosted.handlerId, hosted);
    this.#timers.push(setInterval(() => this.#flush(), REPORT_FLUSH_MS));
  }

  readonly #tellLedger = (rows: readonly LedgerRow[]): void => this.#options.send({ type: 'ledger', rows });

  #sourceFailed(handlerId: number, error: unknown): void {
    const { message } = toOrchestratorError(error);
    this.#options.logger.error({ handler_id: handlerId }, `Error: source ${handlerId} failed: ${message}`);
    this.#options.exit(1);
  }

  async #listen(config: HostConfig): Promise<void> {
    const server = createHostServer({
      sessionId: config.session_id,
      handler: (id) => this.#handlers.get(id)?.handler,
      postedInput: (id, input) => this.#postedInput(id, input),
      link: (path, headers, socket, head) => this.#acceptUpgrade(path, headers, socket, head),
    });
    this.#server = server;
    await unlink(config.socketPath).catch(() => {});
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(config.socketPath, resolve);
    });
  }

  #postedInput(id: number, input: number): { posted: PostedInput; accepts: readonly PayloadType[] } | undefined {
    const config = this.#config!;
    const hosted = this.#handlers.get(id);
    const port = hosted?.manifest.inputs[input];
    if (port === undefined || !(hosted?.runner instanceof HandlerRunner)) return undefined;
    if ([...hosted.inputs.values()].some(({ link }) => link.target_input === input)) {
      throw new OrchestratorError('REQUEST_INVALID', `input ${id}.${input} is fed by a link`, {
        handler_id: id,
        input,
      });
    }
    const key = `${id}.${input}`;
    const { delivery, latency_ms_max: latencyMsMax } = config;
    const { clock } = this.#options;
    const account = { sessionId: config.session_id, handlerId: id, accounted: -1, clock, send: this.#tellLedger };
    const posted =
      this.#posted.get(key) ??
      new PostedInput({
        ...{ runner: hosted.runner, input, delivery, latencyMsMax, clock },
        account: new Account(account),
      });
    this.#posted.set(key, posted);
    return { posted, accepts: port.accepts };
  }

  #acceptUpgrade(path: string, headers: LinkHeaders, socket: Socket, head: Buffer): void {
    const served = { socket, headers, head, clock: this.#options.clock };
    const sessionId = this.#config?.session_id;
    acceptUpgrade({ path, served, sessionId, handlers: this.#handlers, links: this.#links });
  }

  #run(): void {
    if (this.#state !== 'ready' && this.#state !== 'running') return;
    this.#state = 'running';
    // What it took to get here is no packet's.
    this.#cpu.reset();
    this.#links.start();
    for (const { runner } of this.#handlers.values()) if (runner instanceof SourceRunner) runner.run();
  }

  async #drain(replaced: boolean): Promise<void> {
    this.#state = 'draining';
    for (const posted of this.#posted.values()) posted.refuse();
    this.#links.release(replaced);
    const runners = [...this.#handlers.values()].map(({ runner }) => runner);
    await Promise.all(runners.map((runner) => (runner instanceof SourceRunner ? runner.silence() : undefined)));
    const poll = setInterval(() => {
      const isEmpty = replaced && this.#links.areCut;
      if (!runners.every((runner) => isDrained(runner, isEmpty ? 0 : DRAIN_QUIET_MS))) return;
      clearInterval(poll);
      this.#flush();
      // Whoever reads from here dials the host that takes over. What a source has settled its open links tell.
      if (isEmpty && !runners.some((runner) => runner instanceof SourceRunner)) {
        for (const { outputs } of runners) outputs.close();
      }
      this.#options.send({ type: 'drained' });
    }, DRAIN_POLL_MS);
    this.#timers.push(poll);
  }

  #statuses() {
    return [...this.#handlers.values()].map((one) => one.status(this.#state));
  }

  #flush(): void {
    const config = this.#config;
    if (config === null) return;
    const now = this.#options.clock.now();
    const handlers = [...this.#handlers.values()];
    for (const one of handlers) one.flushAccount();
    for (const posted of this.#posted.values()) posted.account.flush();
    const busy = handlers.map((one) => one.takeBusyMs());
    const total = busy.reduce((sum, ms) => sum + ms, 0);
    const { cpuMs, waiting } = this.#cpu.take(total);
    const share = (index: number): number => (total > 0 ? busy[index]! / total : 1 / handlers.length);
    const profile = handlers
      .map((one, index) => one.profile(config, now, { cpuMs: cpuMs * share(index), waiting }, busy[index]!))
      .filter((sample): sample is ProfileSample => sample !== null);
    const links = handlers.flatMap((one) => one.linkInfo(config, now));
    const report = this.#telemetry?.flush(profile, links);
    if (report != null) this.#options.send(report);
  }
}

function isDrained(runner: HandlerRunner | SourceRunner, quietMs: number): boolean {
  if (!runner.outputs.flushed) return false;
  if (runner instanceof SourceRunner) return true;
  return runner.meter.ended || (runner.idle && performance.now() - runner.activeMs >= quietMs);
}
