/**
 * The node agent: one listening port, the sessions of this node in their handler hosts, and the reporter. Frames do not
 * pass through it. Invariant: when close() has resolved, no subprocess, socket file or timer of it is left.
 */
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { httpUrl } from '../client/addresses.js';
import { createCollectorClient } from '../client/collector-client.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { LinkInfo } from '../contracts/report.js';
import { type ListenAddress, listen } from '../http-server/http-server.js';
import type { Clock } from '../std/clock.js';
import { findFacts } from './facts.js';
import { GpuSampler } from './gpu.js';
import { HeldUpgrades } from './held-upgrades.js';
import { Hints } from './hints.js';
import { openConfiner } from './host-limits.js';
import { HostSpares } from './host-spares.js';
import type { HostReport } from './host-supervisor.js';
import { createListener } from './listener.js';
import { FRAMES_ENVIRONMENT } from './memory-environment.js';
import { NodeClock } from './node-clock.js';
import {
  DEFAULT_HOST_BOUNDS,
  HOST_MEM_MB_MAX,
  type NodeAgentOptions,
  OUTPUTS_MB_MAX,
  SHARE_BATCH_MAX,
} from './options.js';
import { OutputSpace } from './output-space.js';
import { Reporter } from './reporter.js';
import { SessionManager } from './session-manager.js';
import { SharedModels } from './shared-models.js';
import { chooseThreads } from './threads.js';
import type { SampledHost } from './usage-sampler.js';

export interface NodeAgent {
  readonly address: ListenAddress;
  /** Ends every session and every subprocess, and sends the last report. */
  close(): Promise<void>;
}

/** sun_path of a Unix socket: 108 bytes on Linux, 104 on macOS, the final zero included. */
const SOCKET_PATH_BYTES_MAX = 103;

/** Throws TOKEN_REQUIRED, ADDRESS_IN_USE or CONFIG_INVALID, and then leaves nothing behind. */
export async function createNodeAgent(options: NodeAgentOptions): Promise<NodeAgent> {
  const facts = await findFacts({
    ...options,
    memMb: options.memMb ?? null,
    speed: options.speed ?? 1,
    measureSpeed: options.measureSpeed,
  });
  const outputsDir = join(resolve(options.dataDir), 'outputs');
  await mkdir(outputsDir, { recursive: true });
  const hostMemMbMax = options.hostMemMbMax ?? HOST_MEM_MB_MAX;
  const limits = { memMb: hostMemMbMax, cpus: options.hostCpusMax ?? null };
  const confiner = await openConfiner({ limits, logger: options.logger });
  const socketDir = await makeSocketDir();
  let sockets = 0;
  let reporter: Reporter | null = null;
  const hints = new Hints();
  const clock = new NodeClock({ clock: options.clock, skewMs: options.clockSkewMs ?? 0 });
  let nodeUrl = '';
  const newSocketPath = () => {
    sockets += 1;
    return join(socketDir, `${sockets}.sock`);
  };
  const environment = options.hostEnvironment ?? {};
  const bounds = { ...DEFAULT_HOST_BOUNDS, ...options.bounds };
  const spares = new HostSpares({
    ...{ entry: options.hostEntry, environment: { ...FRAMES_ENVIRONMENT, ...environment }, logger: options.logger },
    ...{ confiner, count: options.spareHosts ?? 0, refillMs: bounds.spareRefillMs },
  });
  const threadsOf = (cpuMs: number, inferences: number) =>
    chooseThreads({ setting: options.threads, cores: facts.cores, inferences, cpuMs: cpuMs / facts.speed });
  const sharedModels = new SharedModels({
    ...{ entry: options.modelEntry, environment, cacheDir: resolve(options.cacheDir) },
    ...{ memMbMax: hostMemMbMax, confiner, bounds, newSocketPath },
    batchMax: options.shareBatchMax ?? SHARE_BATCH_MAX,
    batchWaitMs: options.shareWaitMs ?? 0,
    logger: options.logger,
    chooseThreads: (cpuMs) => threadsOf(cpuMs, sessions.inferences() + sharedModels.size + 1),
  });
  const sessions: SessionManager = new SessionManager({
    nodeId: options.nodeId,
    clock: clock.corrected,
    logger: options.logger,
    context: {
      types: options.types,
      hostEntry: options.hostEntry,
      hostEnvironment: environment,
      ...{ hostMemMbMax, confiner, bounds, spares, sharedModels, newSocketPath },
      clockCorrection: () => clock.hostCorrection,
      chooseThreads: (cpuMs) => threadsOf(cpuMs, sessions.inferences() + sharedModels.size),
      speed: options.speed ?? 1,
      cacheDir: resolve(options.cacheDir),
      outputsDir,
      allow: options.allow,
      token: options.token,
      tlsCa: options.tlsCa,
      commands: options.commands ?? [],
      logger: options.logger,
      nodeUrl: () => nodeUrl,
      onChange() {
        sessions.changed();
        hints.changed();
      },
      onSuspect: (nodeId) => hints.suspect(nodeId),
      onReport: ({ packet_info, profile, link_info, lost_rows }: HostReport) =>
        reporter?.add({ packet_info, profile, link_info }, lost_rows),
      onLedger: (ledger) => reporter?.add({ ledger }),
    },
  });
  const { types, token, tls, tlsCa, logger } = options;
  const space = new OutputSpace({
    directory: outputsDir,
    mbMax: options.outputsMbMax ?? OUTPUTS_MB_MAX,
    running: () => new Set(sessions.observe().map(({ session_id }) => session_id)),
    logger,
  });
  const held = new HeldUpgrades({ holdMs: bounds.linkHoldMs, watch: (listener) => sessions.watch(listener) });
  const report = (row: LinkInfo) => reporter?.add({ link_info: [row] });
  const app = await createListener({
    ...{ facts, sessions, held, hints, types, outputsDir, token, tls, tlsCa, clock, logger, report },
  });
  const gpu = options.collector !== null && facts.gpus > 0 ? newGpuSampler(options) : null;
  let closed: Promise<void> | null = null;
  const close = async () => {
    await sessions.close();
    await sharedModels.close();
    await space.close();
    await spares.close();
    await confiner.close();
    gpu?.close();
    hints.close();
    await reporter?.close();
    app.server.closeAllConnections();
    await app.close();
    await rm(socketDir, { recursive: true, force: true });
  };
  try {
    reporter = newReporter(options, clock.corrected, gpu, { sessions, sharedModels });
    const address = await listen(app, options);
    nodeUrl = reachableUrl(address);
    space.start();
    return {
      address,
      close: () => {
        closed ??= close();
        return closed;
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** An agent that listens on every address is told by the machine's name. */
function reachableUrl({ host, port, url }: ListenAddress): string {
  return host === '0.0.0.0' || host === '::' ? httpUrl(hostname(), port, url.startsWith('https:')) : url;
}

/** Short and readable by this user only: a longer data directory would not fit the address of a socket. */
async function makeSocketDir(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'vo-'));
  await chmod(directory, 0o700);
  const longest = join(directory, '999999.sock');
  if (Buffer.byteLength(longest) <= SOCKET_PATH_BYTES_MAX) return directory;
  await rm(directory, { recursive: true, force: true });
  throw new OrchestratorError(
    'CONFIG_INVALID',
    `TMPDIR = ${tmpdir()} is too long: ${longest} has ${Buffer.byteLength(longest)} bytes, a socket's address at most ${SOCKET_PATH_BYTES_MAX}`,
  );
}

function newGpuSampler({ collector, logger }: NodeAgentOptions): GpuSampler {
  return new GpuSampler({ periodS: collector?.collectPeriodS ?? 1, logger });
}

function newReporter(
  options: NodeAgentOptions,
  clock: Clock,
  gpu: GpuSampler | null,
  { sessions, sharedModels }: { sessions: SessionManager; sharedModels: SharedModels },
): Reporter | null {
  const { collector, token, tlsCa, logger } = options;
  if (collector === null) return null;
  return new Reporter({
    collector: createCollectorClient({ url: collector.url, token, tlsCa }),
    collectPeriodS: collector.collectPeriodS,
    sendPeriodS: collector.sendPeriodS,
    spoolDir: join(resolve(options.dataDir), 'spool'),
    ...{ gpu, clock, logger },
    nodeId: () => sessions.nodeId,
    hosts: () => sampledHosts(sessions),
    models: () => sharedModels.views().flatMap(({ pid, ...model }) => (pid === null ? [] : [{ ...model, pid }])),
  });
}

function sampledHosts(sessions: SessionManager): SampledHost[] {
  return sessions.hosts().flatMap(({ session_id, handlers, supervisor }) => {
    if (supervisor.pid === null) return [];
    const busyMs = new Map([...handlers.keys()].map((id) => [id, supervisor.status(id)?.busy_ms ?? 0]));
    return [{ session_id, pid: supervisor.pid, busyMs }];
  });
}
