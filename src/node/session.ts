/**
 * One session on this node: drives its handler hosts to what is wanted, again after each change.
 *
 *     preparing --all hosts ready--> ready --desired running--> running --desired stopped--> draining --> stopped
 *         |                            \________ a host cannot be kept alive _______/
 *         +--a host cannot be started--> failed <--+
 *
 * preparing  hosts start and load their models, or a changed plan is being applied
 * ready      every handler is ready, sources are silent
 * running    frames may flow
 * draining   sources are silent, what is in flight is processed
 * stopped    no host is left; the checkpoints of its sources are kept, so that it may run again
 * failed     a handler could not be created, or its host keeps ending; `problem` says why
 *
 * Invariant: at most one change is applied at a time; a newer one ends the wait of the older and is applied next.
 * A changed plan is made before it is broken: new hosts load their models while the old ones run on; then links are
 * switched; then the old ones drain. While frames flow, `ready` only makes: the switch comes with `running`, which the
 * coordinator says when every node has made its part. Sources and sinks end before their successors start.
 */
import { join } from 'node:path';
import type { NodeSession, ResolvedBlueprint } from '../contracts/blueprint.js';
import { type OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import type { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { HandlerState, ObservedHandler, ObservedSession } from '../contracts/node.js';
import type { LedgerRow } from '../contracts/report.js';
import type { HostConfig, HostHandlerStatus } from '../handler-kit/host-protocol.js';
import type { ClockCorrection } from '../std/corrected-clock.js';
import { type Deferred, deferred } from '../std/deferred.js';
import type { Logger } from '../std/logger.js';
import { Checkpoints } from './checkpoints.js';
import type { HostConfiner } from './host-limits.js';
import type { HostSpares } from './host-spares.js';
import { type HostReport, type HostState, HostSupervisor } from './host-supervisor.js';
import type { HostBounds } from './options.js';
import { prepareOutputs } from './outputs.js';
import { canonical, type HostGroup, hostHandlers, hostLinks, planHosts, resolveShare } from './session-plan.js';
import type { SharedModels } from './shared-models.js';

/** What every session of an agent shares. */
export interface SessionContext {
  readonly types: HandlerTypeRegistry;
  readonly hostEntry: string;
  readonly hostEnvironment: Readonly<Record<string, string>>;
  readonly hostMemMbMax: number;
  readonly confiner: HostConfiner;
  readonly bounds: HostBounds;
  readonly spares: HostSpares;
  readonly sharedModels: Pick<SharedModels, 'open' | 'views'>;
  readonly speed: number;
  readonly cacheDir: string;
  readonly outputsDir: string;
  readonly allow: readonly string[];
  readonly token: string | null;
  readonly tlsCa?: string | undefined;
  /** Command lines that handlers may start. */
  readonly commands: readonly string[];
  readonly logger: Logger;
  /** What a handler host subtracts from the machine's clock. */
  clockCorrection(): ClockCorrection;
  /** Of an inference that takes `cpuMs` on one thread of a machine of speed 1. */
  chooseThreads(cpuMs: number): number;
  /** `http://host:port` of the agent. */
  nodeUrl(): string;
  /** A path that no other host of this agent has. */
  newSocketPath(): string;
  onReport(report: HostReport): void;
  onLedger(rows: readonly LedgerRow[]): void;
}

export interface Host extends HostGroup {
  readonly session_id: number;
  /** Where it listens for links of its neighbours, posted packets and pages. */
  readonly socketPath: string;
  readonly supervisor: HostSupervisor;
  /** Of each of its inferences. */
  readonly threads: number;
}

const HANDLER_STATE: Record<HostState, HandlerState> = {
  starting: 'preparing',
  waiting: 'preparing',
  ready: 'ready',
  running: 'running',
  draining: 'draining',
  failed: 'failed',
  stopped: 'stopped',
};

/** The state of a session is the worst of its handlers', first in this order. */
const WORST_FIRST: readonly HandlerState[] = ['failed', 'preparing', 'draining', 'ready', 'running', 'stopped'];

export class Session {
  readonly #context: SessionContext;
  readonly #settled = new Map<number, number>();
  readonly #accounted = new Map<number, number>();
  /** What the handlers of ended hosts told last: a stopped session still says what became of its packets. */
  readonly #lastStatus = new Map<number, HostHandlerStatus>();
  /** Oldest first; a handler that is being replaced is in two of them. */
  #hosts: Host[] = [];
  #target: NodeSession;
  #resolved: ResolvedBlueprint;
  #applied: NodeSession | null = null;
  #problem: OrchestratorError | null = null;
  #checkpoints: Checkpoints | null = null;
  #changed: Deferred<void> = deferred();
  #loop: Promise<void> | null = null;

  /** Throws when the share cannot be run here at all (types, parameters, links). */
  constructor(target: NodeSession, context: SessionContext) {
    this.#context = context;
    this.#target = target;
    this.#resolved = resolveShare(target, context.types);
    this.#kick();
  }

  get session_id(): number {
    return this.#target.session_id;
  }
  get target(): NodeSession {
    return this.#target;
  }
  get warnings(): readonly string[] {
    return this.#resolved.warnings;
  }
  get hosts(): readonly Host[] {
    return this.#hosts;
  }

  /** Handlers with work of their own: their models, or their programs. Shared models are counted by themselves. */
  get inferences(): number {
    const own = this.#hosts.flatMap((host) => [...host.handlers.keys()]);
    return own.filter((id) => {
      const resolved = this.#resolved.handlers.get(id);
      return resolved?.type.host === 'own' && resolved.type.inputs.length > 0 && resolved.handler.share !== true;
    }).length;
  }

  /** Makes `target` what is wanted. Returns at once; the same again changes nothing. */
  apply(target: NodeSession): void {
    const resolved = resolveShare(target, this.#context.types);
    if (canonical({ ...target, epoch: 0 }) === canonical({ ...this.#target, epoch: 0 })) {
      // Only the coordinator is a newer one.
      const wasApplied = this.#applied === this.#target;
      this.#target = target;
      if (wasApplied) this.#applied = target;
      return;
    }
    this.#target = target;
    this.#resolved = resolved;
    this.#changed.resolve();
    this.#kick();
  }

  /** Resolves when nothing is left to do for what is wanted now; throws why it could not be done. */
  async settle(): Promise<void> {
    await this.#loop;
    if (this.#problem !== null) throw this.#problem;
  }

  /** Stops every host without waiting for packets in flight. Nothing may be applied afterwards. */
  async close(): Promise<void> {
    this.apply({ ...this.#target, desired: 'stopped', handlers: [], links: [] });
    await Promise.all(this.#hosts.map((host) => host.supervisor.stop()));
    await this.#loop;
  }

  /**
   * The host that a link or a posted packet for this handler goes to; undefined when the handler is not here. While it
   * is being replaced, the old one serves until the new one is ready.
   */
  hostOf(handler_id: number): Host | undefined {
    const hosts = this.#hosts.filter((host) => host.handlers.has(handler_id));
    return hosts.findLast(({ supervisor }) => supervisor.isServing) ?? hosts.at(-1);
  }

  observe(): ObservedSession {
    const handlers = this.#target.handlers.map((handler) => this.#observeHandler(handler.handler_id));
    const { session_id, epoch, generation, desired } = this.#target;
    return { session_id, epoch, generation, desired, state: this.#state(handlers), handlers };
  }

  #state(handlers: readonly ObservedHandler[]): HandlerState {
    if (this.#problem !== null) return 'failed';
    const busy = this.#applied !== this.#target;
    const { desired } = this.#target;
    if (desired === 'stopped') return busy ? 'draining' : 'stopped';
    const worst = WORST_FIRST.find((state) => handlers.some((handler) => handler.state === state));
    if (busy && worst !== 'failed') return 'preparing';
    return worst ?? desired;
  }

  #observeHandler(handler_id: number): ObservedHandler {
    const { handler, type } = this.#resolved.handlers.get(handler_id)!;
    const base = { handler_id, handler_name: handler.handler_name, handler_type: type.handler_type_id };
    const host = this.#hosts.findLast((one) => one.handlers.has(handler_id));
    if (host === undefined) return { ...base, ...this.#withoutHost(handler_id), pid: null, restarts: 0 };
    const { supervisor } = host;
    const status = supervisor.status(handler_id);
    const ownState = HANDLER_STATE[supervisor.state];
    const problem = supervisor.problem?.message;
    return {
      ...base,
      state: status?.state === 'failed' && ownState !== 'stopped' ? 'failed' : ownState,
      pid: supervisor.pid,
      restarts: supervisor.restarts,
      ...(supervisor.lastExit === null ? {} : { last_exit: supervisor.lastExit }),
      ...(problem === undefined ? {} : { error: problem }),
      ...this.#inference(handler_id, host),
      ...figures(status),
    };
  }

  /** How its models are run. */
  #inference(handler_id: number, host: Host): Pick<ObservedHandler, 'threads' | 'shared_models'> {
    const { type, handler } = this.#resolved.handlers.get(handler_id)!;
    if (type.share === undefined) return {};
    if (handler.share !== true) return { threads: host.threads };
    const isHolder = (one: { session_id: number; handler_id: number }) =>
      one.session_id === this.session_id && one.handler_id === handler_id;
    const shared_models = this.#context.sharedModels
      .views()
      .filter(({ holders }) => holders.some(isHolder))
      .map(({ model, pid, threads, restarts, holders }) => ({
        ...{ model, pid, threads, restarts },
        handlers: holders.length,
      }));
    return { shared_models };
  }

  #withoutHost(handler_id: number): Pick<ObservedHandler, 'state' | 'stats' | 'links'> {
    if (this.#target.desired === 'stopped') {
      return { state: 'stopped', ...figures(this.#lastStatus.get(handler_id)) };
    }
    return { state: this.#problem === null ? 'preparing' : 'failed', links: [] };
  }

  #kick(): void {
    this.#loop ??= this.#reconcile().finally(() => {
      this.#loop = null;
    });
  }

  async #reconcile(): Promise<void> {
    // What is wanted may change while it is applied: the newest counts.
    while (this.#applied !== this.#target) {
      const target = this.#target;
      this.#changed = deferred();
      this.#problem = null;
      let problem: OrchestratorError | null = null;
      try {
        await this.#make(target, this.#resolved);
      } catch (error) {
        problem = toOrchestratorError(error);
      }
      if (target !== this.#target) continue;
      this.#problem = problem;
      this.#applied = target;
      const { session_id, generation } = target;
      if (problem === null) {
        this.#context.logger.info({ session_id, generation }, `session ${session_id} is ${this.observe().state}`);
      } else this.#context.logger.error({ session_id, generation, code: problem.code }, problem.message);
    }
  }

  async #make(target: NodeSession, resolved: ResolvedBlueprint): Promise<void> {
    if (target.desired === 'stopped') return this.#retire(this.#hosts);
    await prepareOutputs(this.#outputDir(target), target.created_at);
    await this.#openCheckpoints(target);
    const usable = this.#hosts.filter(
      ({ supervisor }) => !['failed', 'stopped', 'draining'].includes(supervisor.state),
    );
    const plan = planHosts(target, resolved, usable);
    const startIds = new Set(plan.start.flatMap((group) => [...group.handlers.keys()]));
    const isReplaced = (host: Host) => [...host.handlers.keys()].some((id) => startIds.has(id));
    await this.#end(this.#hosts.filter((host) => !plan.keep.includes(host) && isAlone(host) && isReplaced(host)));
    const started: Host[] = [];
    // One by one: each counts when the next one's threads are chosen.
    for (const group of plan.start) {
      const host = this.#newHost(group);
      started.push(host);
      this.#hosts.push(host);
    }
    const wanted = [...plan.keep, ...started];
    for (const host of started) this.#configure(host, target, resolved, wanted);
    const superseded = this.#changed.promise;
    await Promise.race([superseded, Promise.all(wanted.map((host) => host.supervisor.whenReady()))]);
    if (target !== this.#target) return;
    // While frames flow, `ready` is the first of two rounds over all nodes: nothing is switched before the second.
    if (target.desired === 'ready' && this.#hosts.some((host) => host.supervisor.state === 'running')) return;
    for (const host of plan.keep) this.#configure(host, target, resolved, wanted);
    if (target.desired === 'running') for (const host of wanted) host.supervisor.run();
    await this.#retire(this.#hosts.filter((host) => !wanted.includes(host)));
  }

  /** Where an earlier life of the agent left this session; one without a time of creation may be another one. */
  async #openCheckpoints(target: NodeSession): Promise<void> {
    if (this.#checkpoints !== null || target.created_at === undefined) return;
    this.#checkpoints = await Checkpoints.open(this.#outputDir(target));
    for (const [id, settled] of this.#checkpoints.sequences) {
      this.#settled.set(id, Math.max(this.#settled.get(id) ?? -1, settled));
    }
  }

  /** Sources first, so that what they emitted can pass through the others; then all the rest; then the processes end. */
  async #retire(hosts: readonly Host[]): Promise<void> {
    const drain = (some: readonly Host[]) => Promise.all(some.map((host) => host.supervisor.drain()));
    await drain(hosts.filter((host) => host.hasSource));
    await drain(hosts.filter((host) => !host.hasSource));
    await this.#stop(hosts);
  }

  /** Those that their successors wait for. What feeds a sink feeds it on, so there is no end of a drain to wait for. */
  async #end(hosts: readonly Host[]): Promise<void> {
    await Promise.all(hosts.filter((host) => host.hasSource).map((host) => host.supervisor.drain()));
    await this.#stop(hosts);
  }

  async #stop(hosts: readonly Host[]): Promise<void> {
    await Promise.all(hosts.map((host) => host.supervisor.stop()));
    for (const { handlers, supervisor } of hosts) {
      for (const id of handlers.keys()) {
        this.#settled.set(id, Math.max(this.#settled.get(id) ?? -1, supervisor.settled(id)));
        this.#accounted.set(id, Math.max(this.#accounted.get(id) ?? -1, supervisor.accounted(id)));
        const last = supervisor.status(id);
        if (last !== undefined) this.#lastStatus.set(id, last);
      }
    }
    this.#hosts = this.#hosts.filter((host) => !hosts.includes(host));
  }

  #newHost(group: HostGroup): Host {
    const { hostEntry, hostEnvironment, hostMemMbMax, confiner, bounds, spares, logger } = this.#context;
    const { clockCorrection, onReport, onLedger } = this.#context;
    const supervisor = new HostSupervisor({
      name: `session ${this.session_id} handlers ${[...group.handlers.keys()].join(', ')}`,
      entry: hostEntry,
      environment: hostEnvironment,
      memMbMax: hostMemMbMax,
      confiner,
      bounds,
      spares,
      logger,
      clockCorrection,
      openModel: (handler_id, choice, onFailed) =>
        this.#context.sharedModels.open(choice, { ...this.#holder(handler_id), onFailed }),
      onReport,
      onLedger,
      onSettled: (id, settled) => {
        if (group.hasSource) this.#checkpoints?.note(id, settled);
      },
    });
    const socketPath = this.#context.newSocketPath();
    return { ...group, session_id: this.session_id, socketPath, supervisor, threads: this.#chooseThreads(group) };
  }

  #holder(handler_id: number) {
    const cpuMs = this.#resolved.handlers.get(handler_id)?.type.cost.cpu_ms ?? 0;
    return { session_id: this.session_id, handler_id, cpuMs };
  }

  /** For the models that its host loads itself; 1 where there is none. */
  #chooseThreads(group: HostGroup): number {
    const loading = [...group.handlers.keys()]
      .map((id) => this.#resolved.handlers.get(id)!)
      .filter(({ type, handler }) => type.share !== undefined && handler.share !== true);
    if (loading.length === 0) return 1;
    const threads = this.#context.chooseThreads(Math.max(...loading.map(({ type }) => type.cost.cpu_ms)));
    const handlers = loading.map(({ handler }) => handler.handler_name).join(', ');
    const { session_id } = this;
    this.#context.logger.info({ session_id, threads }, `session ${session_id}: ${handlers}: threads of an inference`);
    return threads;
  }

  /** Tells `host` what is wanted of it; the first time this starts it. `hosts`: those that are to run together. */
  #configure(host: Host, target: NodeSession, resolved: ResolvedBlueprint, hosts: readonly Host[]): void {
    const { speed, cacheDir, allow, token, tlsCa, commands, hostEnvironment } = this.#context;
    const socketOf = (id: number) => hosts.find((one) => one.handlers.has(id))?.socketPath;
    const config: HostConfig = {
      session_id: target.session_id,
      node_id: target.node_id,
      generation: target.generation,
      delivery: target.delivery,
      latency_ms_max: target.latency_ms_max ?? null,
      handlers: hostHandlers(host, resolved, (id) => ({
        resume_after: this.#settled.get(id) ?? -1,
        accounted: this.#accounted.get(id) ?? -1,
      })),
      links: hostLinks(host, target, socketOf),
      ...{ threads: host.threads, speed, cacheDir, allow, token, tlsCa, commands, environment: hostEnvironment },
      nodeUrl: this.#context.nodeUrl(),
      outputDir: this.#outputDir(target),
      socketPath: host.socketPath,
    };
    host.supervisor.configure(config);
  }

  #outputDir(target: NodeSession): string {
    return join(this.#context.outputsDir, String(target.session_id));
  }
}

/** Two sources would both emit, two sinks would both write: their successor starts when they have ended. */
function isAlone(group: HostGroup): boolean {
  return group.hasSource || group.hasSink;
}

function figures(status: HostHandlerStatus | undefined): Pick<ObservedHandler, 'stats' | 'links' | 'note'> {
  if (status === undefined) return { links: [] };
  const { stats, links, note } = status;
  return { stats, links: [...links], ...(note === undefined ? {} : { note }) };
}
