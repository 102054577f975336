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
import type { NodeSession, ResolvedBlueprint } from '../contracts/blueprint.js';
import { type OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import type { ObservedSession } from '../contracts/node.js';
import { type Deferred, deferred } from '../std/deferred.js';
import { Checkpoints } from './checkpoints.js';
import { HandlerFigures } from './handler-figures.js';
import { prepareOutputs } from './outputs.js';
import type { SessionContext } from './session-context.js';
import { type Host, SessionHosts } from './session-hosts.js';
import { canonical, type HostGroup, planHosts, resolveShare } from './session-plan.js';
import { observeSession } from './session-view.js';

export class Session {
  readonly #context: SessionContext;
  readonly #maker: SessionHosts;
  /** Of the handlers of ended hosts. */
  readonly #ended = new HandlerFigures();
  /** Oldest first; a handler that is being replaced is in two of them. */
  #hosts: Host[] = [];
  #target: NodeSession;
  #resolved: ResolvedBlueprint;
  #applied: NodeSession | null = null;
  #problem: OrchestratorError | null = null;
  #checkpoints: Checkpoints | null = null;
  /** The session whose outputs are prepared. */
  #preparedFor: { readonly createdAt: number | undefined } | null = null;
  #changed: Deferred<void> = deferred();
  #loop: Promise<void> | null = null;

  /** Throws when the share cannot be run here at all (types, parameters, links). */
  constructor(target: NodeSession, context: SessionContext) {
    this.#context = context;
    this.#target = target;
    this.#resolved = resolveShare(target, context.types);
    this.#maker = new SessionHosts({
      ...{ session_id: target.session_id, context, ended: this.#ended },
      onSourceSettled: (id, settled) => this.#checkpoints?.note(id, settled),
    });
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

  /**
   * Handlers that are wanted here with work of their own: their models, or their programs. Shared models are counted by
   * themselves. A handler that is being replaced counts once, and all of a session before the first of them has its threads.
   */
  get inferences(): number {
    const { desired, handlers } = this.#target;
    if (desired === 'stopped') return 0;
    return handlers.filter(({ handler_id }) => {
      const { type, handler } = this.#resolved.handlers.get(handler_id)!;
      return type.host === 'own' && type.inputs.length > 0 && handler.share !== true;
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
    return observeSession({
      ...{ target: this.#target, resolved: this.#resolved, hosts: this.#hosts, problem: this.#problem },
      ...{ isBusy: this.#applied !== this.#target, ended: this.#ended, sharedModels: this.#context.sharedModels },
    });
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
      this.#context.onChange();
      const { session_id, generation } = target;
      if (problem === null) {
        this.#context.logger.info({ session_id, generation }, `session ${session_id} is ${this.observe().state}`);
      } else this.#context.logger.error({ session_id, generation, code: problem.code }, problem.message);
    }
  }

  async #make(target: NodeSession, resolved: ResolvedBlueprint): Promise<void> {
    if (target.desired === 'stopped') return this.#retire(this.#hosts, false);
    await this.#prepareOutputs(target);
    const usable = this.#hosts.filter(
      ({ supervisor }) => !['failed', 'stopped', 'draining'].includes(supervisor.state),
    );
    const plan = planHosts(target, resolved, usable);
    const startIds = new Set(plan.start.flatMap((group) => [...group.handlers.keys()]));
    const isReplaced = (host: Host) => [...host.handlers.keys()].some((id) => startIds.has(id));
    await this.#end(this.#hosts.filter((host) => !plan.keep.includes(host) && isAlone(host) && isReplaced(host)));
    const started: Host[] = [];
    for (const group of plan.start) {
      const host = this.#maker.make(group, resolved);
      started.push(host);
      this.#hosts.push(host);
    }
    const wanted = [...plan.keep, ...started];
    for (const host of started) this.#maker.configure(host, target, resolved, wanted);
    const superseded = this.#changed.promise;
    await Promise.race([superseded, Promise.all(wanted.map((host) => host.supervisor.whenReady()))]);
    if (target !== this.#target) return;
    // While frames flow, `ready` is the first of two rounds over all nodes: nothing is switched before the second.
    if (target.desired === 'ready' && this.#hosts.some((host) => host.supervisor.state === 'running')) return;
    for (const host of plan.keep) this.#maker.configure(host, target, resolved, wanted);
    if (target.desired === 'running') for (const host of wanted) host.supervisor.run();
    await this.#retire(
      this.#hosts.filter((host) => !wanted.includes(host)),
      true,
    );
  }

  /** Once for each time of creation: a change of plan that waits for a busy disk is a pause of frames. */
  async #prepareOutputs(target: NodeSession): Promise<void> {
    if (this.#preparedFor !== null && this.#preparedFor.createdAt === target.created_at) return;
    await prepareOutputs(this.#maker.outputDir(target), target.created_at);
    await this.#openCheckpoints(target);
    this.#preparedFor = { createdAt: target.created_at };
  }

  /** Where an earlier life of the agent left this session; one without a time of creation may be another one. */
  async #openCheckpoints(target: NodeSession): Promise<void> {
    if (this.#checkpoints !== null || target.created_at === undefined) return;
    this.#checkpoints = await Checkpoints.open(this.#maker.outputDir(target));
    for (const [id, settled] of this.#checkpoints.sequences) this.#ended.settledBefore(id, settled);
  }

  /**
   * Sources first, so that what they emitted can pass through the others; then all the rest; then the processes end.
   * `replaced`: their handlers are in other hosts now, here or elsewhere.
   */
  async #retire(hosts: readonly Host[], replaced: boolean): Promise<void> {
    const drain = (some: readonly Host[]) => Promise.all(some.map((host) => host.supervisor.drain(replaced)));
    await drain(hosts.filter((host) => host.hasSource));
    await drain(hosts.filter((host) => !host.hasSource));
    await this.#stop(hosts);
  }

  /** Those that their successors wait for. What feeds a sink feeds it on, so there is no end of a drain to wait for. */
  async #end(hosts: readonly Host[]): Promise<void> {
    await Promise.all(hosts.filter((host) => host.hasSource).map((host) => host.supervisor.drain(true)));
    await this.#stop(hosts);
  }

  async #stop(hosts: readonly Host[]): Promise<void> {
    await Promise.all(hosts.map((host) => host.supervisor.stop()));
    for (const { handlers, supervisor } of hosts) {
      for (const id of handlers.keys()) this.#ended.keep(id, supervisor);
    }
    this.#hosts = this.#hosts.filter((host) => !hosts.includes(host));
  }
}

/** Two sources would both emit, two sinks would both write: their successor starts when they have ended. */
function isAlone(group: HostGroup): boolean {
  return group.hasSource || group.hasSink;
}
