/**
 * Messages between the node agent and a handler host (its subprocess), over the IPC channel of fork(). The agent never
 * touches frames: link sockets that it accepts are sent along with a `link` message, and each host also listens on a
 * Unix socket of its own (HTTP: links of hosts on the same node, posted packets, pages).
 */
import type { BlueprintHandler, BlueprintLink } from '../contracts/blueprint.js';
import type { Problem } from '../contracts/errors.js';
import type { ModelChoice } from '../contracts/model-process.js';
import type { HandlerState, HandlerStats, LinkStats } from '../contracts/node.js';
import type { Delivery } from '../contracts/packet.js';
import type { LedgerRow, LinkInfo, PacketInfo, ProfileSample } from '../contracts/report.js';
import type { ClockCorrection } from '../std/corrected-clock.js';

/** Where the receiving end of a link dials its source. */
export type LinkAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'http'; readonly url: string };

/**
 * A link that touches this host. Both ends here: packets pass by reference. Target here only: `dial` says where, or the
 * source's host dials (`awaited`). Source here only: the target's host dials, unless `push` says where to dial it.
 */
export interface HostLink extends BlueprintLink {
  readonly source_node: number;
  readonly target_node: number;
  readonly dial?: LinkAddress;
  readonly awaited?: boolean;
  readonly push?: LinkAddress;
}

export interface HostHandler extends BlueprintHandler {
  /** Sources: the highest sequence known to be settled everywhere, -1 at first. */
  readonly resume_after: number;
  /** Sources and sinks: highest sequence in the ledger rows of its earlier processes, -1 when there is none. */
  readonly accounted: number;
}

/** Everything a host needs. Sent again (same handlers, changed links) when a plan changes around it. */
export interface HostConfig {
  readonly session_id: number;
  readonly node_id: number;
  readonly generation: number;
  readonly delivery: Delivery;
  readonly latency_ms_max: number | null;
  readonly handlers: readonly HostHandler[];
  readonly links: readonly HostLink[];
  readonly threads: number;
  /** Emulated speed of one core, (0, 1]: below 1 each packet takes 1/speed as long (demos of unequal nodes). */
  readonly speed: number;
  readonly cacheDir: string;
  readonly outputDir: string;
  /** Directories that parameters may name files in. */
  readonly allow: readonly string[];
  /** Unix socket that the host listens on. */
  readonly socketPath: string;
  /** Bearer token for links to other nodes; null when none is configured. */
  readonly token: string | null;
  /** PEM certificates that other nodes' must be signed by; the system's when absent. */
  readonly tlsCa?: string | undefined;
  /** `http://host:port` of the node agent, for people and programs. */
  readonly nodeUrl: string;
  /** Command lines that handlers may start, and what those see of the environment. */
  readonly commands: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

export type ToHost =
  | { readonly type: 'configure'; readonly config: HostConfig }
  /** A host without a session loads what it will need, whatever session it gets. */
  | { readonly type: 'preload' }
  /** Sources begin to emit. */
  | { readonly type: 'run' }
  /**
   * Sources stop; what is in flight is processed; then `drained` is answered. `replaced`: other hosts take its handlers'
   * links over, so what it has lost it does not dial again, and who reads from it is let go as soon as it is empty.
   */
  | { readonly type: 'drain'; readonly replaced: boolean }
  /** Close handlers and exit 0. */
  | { readonly type: 'stop' }
  | { readonly type: 'ping'; readonly id: number }
  /** First of all, and when it changes: what this process subtracts from the machine's clock. */
  | { readonly type: 'clock'; readonly correction: ClockCorrection }
  /** Answer to `model`: where the process with it listens, or why it cannot be loaded. */
  | { readonly type: 'model'; readonly id: number; readonly socketPath: string }
  | { readonly type: 'no_model'; readonly id: number; readonly problem: Problem }
  /** Comes with a socket: an accepted `GET` with `Upgrade: orchestrator-link/1` for an output or a worker of a handler here. */
  | { readonly type: 'link'; readonly url: string; readonly headers: Record<string, string>; readonly head: string };

export interface HostHandlerStatus {
  readonly handler_id: number;
  readonly state: HandlerState;
  readonly stats: HandlerStats;
  readonly links: readonly LinkStats[];
  /** Sources: highest sequence settled everywhere. The agent keeps it for `resume_after`. */
  readonly settled: number;
  /** Oldest sequence inside the handler; null when there is none, or when the handler has a bound of its own for it. */
  readonly at_work: number | null;
  /** What the handler says of itself. */
  readonly note?: string | undefined;
  /** Milliseconds spent in process() since start: shares a host's CPU out to its handlers. */
  readonly busy_ms: number;
}

export type FromHost =
  /** Every handler is created and the Unix socket listens. */
  | { readonly type: 'ready' }
  /** A handler could not be created; the host exits after it. */
  | { readonly type: 'failed'; readonly handler_id: number; readonly problem: Problem }
  | { readonly type: 'progress'; readonly handler_id: number; readonly message: string }
  | { readonly type: 'drained' }
  /** A link to another node was cut, or that node does not answer on it. */
  | { readonly type: 'suspect'; readonly node_id: number }
  /** A handler wants a model that is loaded once for all sessions of the node; `id` is this process's own. */
  | { readonly type: 'model'; readonly id: number; readonly handler_id: number; readonly choice: ModelChoice }
  /** It does not need that one any more. What a process holds when it ends counts as given back. */
  | { readonly type: 'model_released'; readonly id: number }
  | { readonly type: 'pong'; readonly id: number; readonly handlers: readonly HostHandlerStatus[] }
  /** Rows for the collector, at most every REPORT_FLUSH_MS and at most HOST_REPORT_ROWS_MAX rows. */
  | {
      readonly type: 'report';
      readonly packet_info: readonly PacketInfo[];
      readonly profile: readonly ProfileSample[];
      readonly link_info: readonly LinkInfo[];
      /** Rows that did not fit since the last report. */
      readonly lost_rows: number;
    }
  /** Rows of sources and sinks for the ledger, as soon as they are known. */
  | { readonly type: 'ledger'; readonly rows: readonly LedgerRow[] };

/** How often a host hands its rows to the agent, ms. */
export const REPORT_FLUSH_MS = 500;
/** Rows in one report message; beyond it rows are counted as lost. 20 handlers at 100 packets/s with 4 events fit. */
export const HOST_REPORT_ROWS_MAX = 20_000;

/** Path of the upgrade request for a link: the same on the agent's port and on a host's Unix socket. */
export function linkPath(session_id: number, link: BlueprintLink): string {
  return `${handlerPath(session_id, link.source_handler)}/outputs/${link.source_output}/links/${link.target_handler}.${link.target_input}`;
}

/** Path under which a handler is served: pages, inputs, outputs and, for programs that work for it, `/worker`. */
export function handlerPath(session_id: number, handler_id: number): string {
  return `/v1/sessions/${session_id}/handlers/${handler_id}`;
}

/** What an upgrade request asks of a handler. */
export interface UpgradeTarget {
  readonly session_id: number;
  readonly handler_id: number;
  /** `worker`: a program joins; `tap`: reads `output`; `link`: the path is a linkPath. */
  readonly kind: 'worker' | 'tap' | 'link';
  readonly output: number;
  /** The other end of a link; `handler_id` itself where there is none. */
  readonly target_handler: number;
}

const UPGRADE_PATH =
  /^\/v1\/sessions\/(\d{1,15})\/handlers\/(\d{1,15})\/(?:(worker)|outputs\/(\d{1,3})\/(?:(tap)|links\/(\d{1,15})\.\d{1,3}))$/;

/** Null when `path` (without query) is none that takes upgrades. */
export function upgradeTargetOf(path: string): UpgradeTarget | null {
  const match = UPGRADE_PATH.exec(path);
  if (match === null) return null;
  const [, session, handler, worker, output = '0', tap, target = handler] = match;
  const kind = worker !== undefined ? 'worker' : tap !== undefined ? 'tap' : 'link';
  const [session_id, handler_id, target_handler] = [Number(session), Number(handler), Number(target)];
  return { session_id, handler_id, kind, output: Number(output), target_handler };
}
