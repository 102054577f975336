/** What a node agent is given, and its bounds with the reason for each. Read once; nothing here changes later. */
import type { HandlerTypeRegistry } from '../contracts/handler-type.js';
import { PREPARE_TIMEOUT_MS } from '../contracts/limits.js';
import type { TlsIdentity } from '../http-server/http-server.js';
import { LINK_HANDSHAKE_MS } from '../links/link.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';

export interface CollectorOptions {
  /** `http://host:port` of the collector. */
  readonly url: string;
  /** Between two samples of the machine and its handlers, s. */
  readonly collectPeriodS: number;
  /** Between two reports, s. */
  readonly sendPeriodS: number;
}

export interface NodeAgentOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Null: told by the coordinator with the first session. */
  readonly nodeId: number | null;
  readonly nodeName: string;
  /** Of the program, told in the facts. */
  readonly version: string;
  readonly labels: readonly string[];
  /** Bearer token that requests must carry, and that this node's requests to other nodes and the collector carry. */
  readonly token: string | null;
  /** Shown to who dials this agent; null: it serves plain http. */
  readonly tls?: TlsIdentity | null;
  /** PEM certificates that other nodes' and the collector's must be signed by; the system's when absent. */
  readonly tlsCa?: string | undefined;
  /** True: listening off loopback without a token is what the operator wants. */
  readonly insecure: boolean;
  readonly types: HandlerTypeRegistry;
  /** The built entry file of a handler host; it is forked. */
  readonly hostEntry: string;
  /** Environment of handler hosts, nothing else reaches them. Main picks HOST_ENVIRONMENT from its own. */
  readonly hostEnvironment?: Readonly<Record<string, string>>;
  /** Outputs of sinks are under `outputs/SESSION_ID/`. */
  readonly dataDir: string;
  readonly cacheDir: string;
  /** Directories in which parameters may name files. */
  readonly allow: readonly string[];
  /** Command lines that external handlers may start, each word for word; none when absent. */
  readonly commands?: readonly string[];
  /** Cores that this agent promises; null: all of the machine. */
  readonly cpuCores: number | null;
  /** Memory that this agent promises, MiB; null: all of the machine. */
  readonly memMb?: number | null;
  /** Emulated speed of one core, (0, 1]; 1 = as it is. */
  readonly speed?: number;
  /** Emulated error of the machine's clock, ms; 0 = as it is. */
  readonly clockSkewMs?: number;
  /** Threads of one inference; null: by cores and handlers (threads.ts). */
  readonly threads: number | null;
  /** The built entry file of a model process, which serves a model to several sessions. */
  readonly modelEntry: string;
  /** Pictures of one inference of a shared model, where it takes several. */
  readonly shareBatchMax?: number;
  /** How long such an inference may wait for more of them, ms. */
  readonly shareWaitMs?: number;
  /** Resident memory of one handler host, MiB; above it the host is killed and started again. */
  readonly hostMemMbMax?: number;
  /** Cores that one handler host may use; null: all. Refused where the kernel cannot keep it. */
  readonly hostCpusMax?: number | null;
  /** Outputs of all sessions, MiB; above it the oldest are removed. */
  readonly outputsMbMax?: number;
  /** Handler hosts that are kept started without a session; none when absent. */
  readonly spareHosts?: number;
  /** Null: nothing is reported. */
  readonly collector: CollectorOptions | null;
  readonly bounds?: Partial<HostBounds>;
  /** Speed of one core of this machine; measured when absent. */
  readonly measureSpeed?: () => number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Names of environment variables that a handler host may see: where libraries and GPUs are, language, time zone. */
export const HOST_ENVIRONMENT = [
  ...['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR'],
  ...['LD_LIBRARY_PATH', 'CUDA_VISIBLE_DEVICES', 'NVIDIA_VISIBLE_DEVICES'],
] as const;

export interface HostBounds {
  /** From fork until every handler has loaded its model, ms. */
  readonly prepareTimeoutMs: number;
  readonly pingPeriodMs: number;
  /**
   * Unanswered pings after which a host counts as hung. With 500 ms: 5 s, longer than the longest synchronous inference
   * (a CNN detector on a large picture took 2 s). Pings are counted and not time, so that a stall of the agent itself
   * kills nobody.
   */
  readonly pingsMissedMax: number;
  /** For what is in flight when a handler is stopped, ms: the neighbours may be gone. */
  readonly drainTimeoutMs: number;
  /** From a soft stop to SIGKILL, ms. */
  readonly stopGraceMs: number;
  /**
   * A handler that does not end a packet in `stallTimes` its own p95 hangs, but never in less than `stallFloorMs` (as long
   * as for unanswered pings), nor in less than `firstPacketMs` while it has ended none (a GPU may warm up in it).
   */
  readonly stallTimes: number;
  readonly stallFloorMs: number;
  readonly firstPacketMs: number;
  /** Restarts in a row for that before it is said to have failed here: what hangs twice hangs again. */
  readonly stallRestartsMax: number;
  /** First and longest wait before a host is started again, ms. */
  readonly restartBaseMs: number;
  readonly restartMaxMs: number;
  /** Exits in a row after which a host is not started again: with the backoff above about 8 s of trying. */
  readonly failuresMax: number;
  /** A host that ran this long before it ended starts the count anew, ms. */
  readonly stableAfterMs: number;
  /** From the start of the agent, or of the last host, to that of a spare, ms: who is needed now starts first. */
  readonly spareRefillMs: number;
  /** How long a link waits at the agent for a host that is being made, ms: less than who dials it waits for an answer. */
  readonly linkHoldMs: number;
}

export const DEFAULT_HOST_BOUNDS: HostBounds = {
  prepareTimeoutMs: PREPARE_TIMEOUT_MS,
  pingPeriodMs: 500,
  pingsMissedMax: 10,
  stallTimes: 20,
  stallFloorMs: 5_000,
  firstPacketMs: 30_000,
  stallRestartsMax: 1,
  drainTimeoutMs: 5_000,
  stopGraceMs: 3_000,
  restartBaseMs: 250,
  restartMaxMs: 10_000,
  failuresMax: 5,
  stableAfterMs: 30_000,
  spareRefillMs: 3_000,
  linkHoldMs: 0.8 * LINK_HANDSHAKE_MS,
};

/** A model handler with its runtime takes 150 to 900 MiB; four times that is a leak. */
export const HOST_MEM_MB_MAX = 4_096;

/** Some two days of annotated pictures of one camera at 10 fps and 12 kB. */
export const OUTPUTS_MB_MAX = 20_480;

/** Pictures of one inference of a shared model: as many faces as a recogniser takes at a time. */
export const SHARE_BATCH_MAX = 16;

/** Sessions on one node: each has at least one subprocess; beyond this the machine is gone anyway. */
export const NODE_SESSIONS_MAX = 256;
