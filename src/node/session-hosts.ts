/** The handler hosts of one session: makes one for a group of handlers, and tells each what is wanted of it. */
import { join } from 'node:path';
import type { NodeSession, ResolvedBlueprint } from '../contracts/blueprint.js';
import type { HostConfig } from '../handler-kit/host-protocol.js';
import type { HandlerFigures } from './handler-figures.js';
import { type HostReport, HostSupervisor } from './host-supervisor.js';
import { inferenceOf, threadsMax } from './inference.js';
import { FRAMES_ENVIRONMENT } from './memory-environment.js';
import type { SessionContext } from './session-context.js';
import { type HostGroup, hostHandlers, hostLinks } from './session-plan.js';
import type { Threads } from './threads.js';

export interface Host extends HostGroup {
  readonly session_id: number;
  /** Where it listens for links of its neighbours, posted packets and pages. */
  readonly socketPath: string;
  readonly supervisor: HostSupervisor;
  /** Of each inference of the models that it loads itself; null where it loads none. */
  readonly threads: Threads | null;
}

export interface SessionHostsOptions {
  readonly session_id: number;
  readonly context: SessionContext;
  /** How far the handlers of ended hosts have come: where those of new ones begin. */
  readonly ended: Pick<HandlerFigures, 'settled' | 'accounted'>;
  /** With every answered ping of a host that has a source: how far that is settled. */
  onSourceSettled(handler_id: number, settled: number): void;
}

export class SessionHosts {
  readonly #options: SessionHostsOptions;

  constructor(options: SessionHostsOptions) {
    this.#options = options;
  }

  /** `target`'s directory for what its sinks write. */
  outputDir(target: NodeSession): string {
    return join(this.#options.context.outputsDir, String(target.session_id));
  }

  /** A host that is started by its first `configure`. */
  make(group: HostGroup, resolved: ResolvedBlueprint): Host {
    const { session_id, context, onSourceSettled } = this.#options;
    const { hostMemMbMax, confiner, bounds, spares, logger, newSocketPath } = context;
    const { clockCorrection, onChange, onSuspect, onReport, onLedger } = context;
    const threads = this.#chooseThreads(group, resolved);
    const supervisor = new HostSupervisor({
      name: `session ${session_id} handlers ${[...group.handlers.keys()].join(', ')}`,
      ...{ entry: context.hostEntry, memMbMax: hostMemMbMax },
      environment: { ...FRAMES_ENVIRONMENT, ...context.hostEnvironment },
      ...{ confiner, bounds, spares, logger, clockCorrection, onSuspect, onLedger },
      onReport: (report) => onReport(this.#withThreads(report, resolved, threads)),
      onState: onChange,
      openModel: (handler_id, choice, onFailed) => {
        const cpuMs = resolved.handlers.get(handler_id)?.type.cost.cpu_ms ?? 0;
        return context.sharedModels.open(choice, { session_id, handler_id, cpuMs, onFailed });
      },
      onSettled: (id, settled) => {
        if (group.hasSource) onSourceSettled(id, settled);
      },
    });
    return { ...group, session_id, socketPath: newSocketPath(), supervisor, threads };
  }

  /** Tells `host` what is wanted of it; the first time this starts it. `hosts`: those that are to run together. */
  configure(host: Host, target: NodeSession, resolved: ResolvedBlueprint, hosts: readonly Host[]): void {
    const { context, ended } = this.#options;
    const { speed, cacheDir, allow, token, tlsCa, commands, hostEnvironment } = context;
    const socketOf = (id: number) => hosts.find((one) => one.handlers.has(id))?.socketPath;
    const config: HostConfig = {
      session_id: target.session_id,
      node_id: target.node_id,
      generation: target.generation,
      delivery: target.delivery,
      latency_ms_max: target.latency_ms_max ?? null,
      handlers: hostHandlers(host, resolved, (id) => ({
        resume_after: ended.settled(id),
        accounted: ended.accounted(id),
      })),
      links: hostLinks(host, target, socketOf),
      ...{
        threads: host.threads?.count ?? 1,
        speed,
        cacheDir,
        allow,
        token,
        tlsCa,
        commands,
        environment: hostEnvironment,
      },
      nodeUrl: context.nodeUrl(),
      outputDir: this.outputDir(target),
      socketPath: host.socketPath,
    };
    host.supervisor.configure(config);
  }

  /** What a handler needed is told with the threads that it had for it. */
  #withThreads(report: HostReport, resolved: ResolvedBlueprint, threads: Threads | null): HostReport {
    const { session_id, context } = this.#options;
    const models = context.sharedModels.views();
    const profile = report.profile.map((row) => {
      const { handler_id } = row;
      return { ...row, threads: threadsMax(inferenceOf({ session_id, handler_id, resolved, threads, models })) };
    });
    return { ...report, profile };
  }

  /** For the models that its host loads itself; null where there is none. */
  #chooseThreads(group: HostGroup, resolved: ResolvedBlueprint): Threads | null {
    const { session_id, context } = this.#options;
    const loading = [...group.handlers.keys()]
      .map((id) => resolved.handlers.get(id)!)
      .filter(({ type, handler }) => type.share !== undefined && handler.share !== true);
    if (loading.length === 0) return null;
    const threads = context.chooseThreads(Math.max(...loading.map(({ type }) => type.cost.cpu_ms)));
    const handlers = loading.map(({ handler }) => handler.handler_name).join(', ');
    const { count, why } = threads;
    context.logger.info(
      { session_id, threads: count, why },
      `session ${session_id}: ${handlers}: threads of an inference`,
    );
    return threads;
  }
}
