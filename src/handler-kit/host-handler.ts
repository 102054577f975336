/**
 * One handler as its host keeps it: created from its manifest, run by a HandlerRunner or a SourceRunner, with the
 * receiving ends of its input links.
 */
import { mkdir } from 'node:fs/promises';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import { HandlerTypeRegistry, parseParams } from '../contracts/handler-type.js';
import type { ModelChoice } from '../contracts/model-process.js';
import type { HandlerState, LinkStats } from '../contracts/node.js';
import { profileKey } from '../contracts/plan.js';
import type { LedgerRow, LinkInfo, ProfileSample } from '../contracts/report.js';
import type { LinkReceiver } from '../links/link-receiver.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import { Account } from './account.js';
import { allowedCommand } from './allowed-command.js';
import { allowedPath, allowedUrl } from './allowed-path.js';
import type { CpuUse } from './cpu-meter.js';
import { Deadlines } from './deadlines.js';
import type { Handler, HandlerContext, HandlerManifest, ModelSharing } from './define.js';
import {
  type HostConfig,
  type HostHandler,
  type HostHandlerStatus,
  type HostLink,
  handlerPath,
} from './host-protocol.js';
import { HandlerRunner } from './runner.js';
import { SourceRunner } from './source-runner.js';
import type { Telemetry } from './telemetry.js';

export interface CreateOptions {
  readonly manifests: readonly HandlerManifest[];
  readonly config: HostConfig;
  readonly spec: HostHandler;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  onProgress(message: string): void;
  onSourceFailed(error: unknown): void;
  onLedger(rows: readonly LedgerRow[]): void;
  /** Asks the agent for a model of a process of its own. */
  openModel(choice: ModelChoice): ReturnType<ModelSharing['open']>;
}

/** What the runtime keeps of a handler's work for its models in other processes. */
interface Work {
  readonly deadlines: Deadlines;
  /** CPU time spent there, ms, not yet reported. */
  cpuMs: number;
}

type Params = Record<string, unknown>;

/** An input link: `dialled` says where to, so that a changed address is seen. */
export interface InputLink {
  readonly link: HostLink;
  readonly receiver: LinkReceiver;
  readonly dialled: string;
}

export class HostedHandler {
  readonly handlerId: number;
  readonly manifest: HandlerManifest;
  readonly handler: Handler;
  readonly runner: HandlerRunner | SourceRunner;
  readonly inputs = new Map<string, InputLink>();
  readonly #account: Account;
  readonly #profileKey: string;
  readonly #work: Work;
  readonly #speed: number;
  #reportedBusyMs = 0;

  constructor(
    options: CreateOptions,
    { manifest, handler, params, work }: { manifest: HandlerManifest; handler: Handler; params: Params; work: Work },
  ) {
    const { config, spec, clock, telemetry } = options;
    this.#work = work;
    this.handlerId = spec.handler_id;
    this.manifest = manifest;
    this.handler = handler;
    this.#profileKey = profileKey(params);
    const { delivery, speed, latency_ms_max } = config;
    this.#speed = speed;
    const logger = options.logger;
    const account = new Account({
      sessionId: config.session_id,
      handlerId: spec.handler_id,
      accounted: spec.accounted,
      clock,
      send: options.onLedger,
    });
    this.#account = account;
    const common = {
      ...{ handlerId: spec.handler_id, manifest, delivery, latencyMsMax: latency_ms_max, speed },
      ...{ clock, logger, telemetry, account },
    };
    this.runner =
      handler.kind === 'processing'
        ? new HandlerRunner({ ...common, handler, deadlines: work.deadlines })
        : new SourceRunner({
            ...common,
            handler,
            resumeAfter: spec.resume_after,
            onFailed: options.onSourceFailed,
          });
  }

  status(state: HandlerState): HostHandlerStatus {
    return {
      handler_id: this.handlerId,
      state,
      stats: this.runner.stats(),
      links: [...this.inputs.values()].map(linkStats),
      settled: this.runner.settled,
      busy_ms: this.runner.meter.busyMs,
      at_work: this.runner instanceof HandlerRunner ? this.runner.atWork : null,
      note: this.handler.note?.(),
    };
  }

  /** Time at work since the last call, ms: the share of the host's CPU that is this handler's. */
  takeBusyMs(): number {
    const busyMs = this.runner.meter.busyMs - this.#reportedBusyMs;
    this.#reportedBusyMs = this.runner.meter.busyMs;
    return busyMs;
  }

  /**
   * What a packet needed in this period, in which `use` was the handler's part of what its process used and `busyMs` its
   * time at work; null when nothing was processed in it but what warms it up.
   */
  profile(config: HostConfig, timestamp: number, use: CpuUse, busyMs: number): ProfileSample | null {
    const period = this.runner.meter.period();
    if (period === null) return null;
    const cpuMs = busyMs > 0 ? use.cpuMs * Math.min(1, period.busyMs / busyMs) : use.cpuMs;
    const serviceMs = Math.max(0, period.serviceMs - (period.busyMs * use.waiting) / this.#speed);
    const elsewhereMs = this.#work.cpuMs;
    this.#work.cpuMs = 0;
    return {
      timestamp,
      session_id: config.session_id,
      handler_id: this.handlerId,
      handler_type: this.manifest.handler_type_id,
      profile_key: this.#profileKey,
      packets: period.packets,
      service_ms: serviceMs / period.packets,
      service_ms_p95: period.serviceMsP95,
      queue_ms: period.queueMs / period.packets,
      cpu_ms: (cpuMs + elsewhereMs) / period.packets,
      out_bytes: period.emitted === 0 ? 0 : period.outBytes / period.emitted,
    };
  }

  /** Links from other hosts over this period. */
  linkInfo(config: HostConfig, timestamp: number): LinkInfo[] {
    return [...this.inputs.values()].flatMap(({ link, receiver }) => {
      const { packets, bytes, latencyMs, rttMs, mbitPerS } = receiver.period();
      if (receiver.transport === 'in_host' || packets === 0) return [];
      const { source_handler, target_handler, source_node, target_node } = link;
      const ends = { session_id: config.session_id, source_handler, target_handler, source_node, target_node };
      return [{ timestamp, ...ends, packets, bytes, latency_ms: latencyMs, rtt_ms: rttMs, mbit_per_s: mbitPerS }];
    });
  }

  /** Hands over what its account has not told yet. */
  flushAccount(): void {
    this.#account.flush();
  }

  async close(): Promise<void> {
    for (const { receiver } of this.inputs.values()) receiver.close();
    await this.runner.close();
  }
}

function linkStats({ link, receiver }: InputLink): LinkStats {
  const { source_handler, source_output, target_handler, target_input, source_node } = link;
  const { packets, bytes, reconnects, duplicates, latencyMs, rttMs, mbitPerS } = receiver.meter;
  return {
    ...{ source_handler, source_output, target_handler, target_input, source_node },
    transport: receiver.transport,
    connected: receiver.connected,
    ...{ packets, bytes, reconnects, duplicates },
    latency_ms_p50: latencyMs.quantile(0.5),
    latency_ms_p95: latencyMs.quantile(0.95),
    rtt_ms: rttMs.quantile(0),
    mbit_per_s: mbitPerS.quantile(0.5),
  };
}

/** Loads the code and creates the handler; throws an OrchestratorError that says which and why. */
export async function createHandler(options: CreateOptions): Promise<HostedHandler> {
  const { manifests, config, spec } = options;
  const where = `handler ${spec.handler_id} ${spec.handler_name}`;
  const type = new HandlerTypeRegistry(manifests).get(spec.handler_type, where);
  const manifest = manifests.find((one) => one.handler_type_id === type.handler_type_id)!;
  const { params } = parseParams(type, spec.params, where);
  try {
    await mkdir(config.outputDir, { recursive: true });
    const module = await manifest.load();
    const work = { deadlines: new Deadlines(options.clock), cpuMs: 0 };
    const handler = await module.create(contextOf(options, params, work) as HandlerContext<never>);
    return new HostedHandler(options, { manifest, handler, params, work });
  } catch (thrown) {
    const error = toOrchestratorError(thrown);
    const code = error.code === 'INTERNAL' ? 'HANDLER_FAILED' : error.code;
    const context = { ...error.context, handler_id: spec.handler_id };
    throw new OrchestratorError(code, `${where}: ${error.message}`, context, { cause: thrown });
  }
}

function sharingOf({ openModel }: CreateOptions, work: Work): ModelSharing {
  return {
    open: openModel,
    leftMs: () => work.deadlines.leftMs(),
    spent(cpuMs) {
      work.cpuMs += cpuMs;
    },
  };
}

function contextOf(options: CreateOptions, params: Params, work: Work): HandlerContext<Params> {
  const { config, spec, clock, logger } = options;
  return {
    session_id: config.session_id,
    handler_id: spec.handler_id,
    handler_name: spec.handler_name,
    node_id: config.node_id,
    params,
    delivery: config.delivery,
    clock,
    logger,
    threads: config.threads,
    sharing: spec.share === true ? sharingOf(options, work) : null,
    cacheDir: config.cacheDir,
    outputDir: config.outputDir,
    allowedPath: (path) => allowedPath(path, config.allow),
    url: config.nodeUrl + handlerPath(config.session_id, spec.handler_id),
    allowedCommand: (command) => allowedCommand(command, config, spec.handler_id),
    allowedUrl: (url) => allowedUrl(url, config.allow),
    progress: options.onProgress,
  };
}
