/** What a coordinator is given, and its bounds with the reason for each. Read once; nothing here changes later. */
import type { Allocator } from '../allocation/fleet/allocator.js';
import type { LoopRules } from '../allocation/fleet/loop-rules.js';
import type { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { NodeFile } from '../contracts/node.js';
import type { Service } from '../contracts/service.js';
import type { HttpServer, ListenAddress, TlsIdentity } from '../http-server/http-server.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import type { StateStore, TelemetryStore } from '../store/store.js';

export interface CoordinatorOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Bearer token that requests must carry, and that requests to nodes carry. */
  readonly token: string | null;
  /** Shown to who dials the coordinator; null: it serves plain http. */
  readonly tls?: TlsIdentity | null;
  /** PEM certificates that nodes' must be signed by; the system's when absent. */
  readonly tlsCa?: string | undefined;
  /** True: listening off loopback without a token is what the operator wants. */
  readonly insecure?: boolean;
  readonly nodes: readonly NodeFile[];
  readonly services: readonly Service[];
  readonly types: HandlerTypeRegistry;
  readonly state: StateStore;
  /** What nodes reported: profiles are read back from it, and what became of packets; null: declared costs only. */
  readonly telemetry: Pick<TelemetryStore, 'profiles' | 'ledger' | 'packets' | 'recent'> | null;
  /** Absent: it leads as long as it runs. */
  readonly lead?: Leadership;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Decides about many sessions, and, when it is not ours, about each new one. */
  readonly allocator?: Allocator;
  /** When running sessions may be moved, where it differs from the defaults. */
  readonly loopRules?: Partial<LoopRules>;
  readonly bounds?: Partial<CoordinatorBounds>;
}

/** In whose name a coordinator decides that shares its store with others. */
export interface Leadership {
  /** Of the lease. */
  readonly holder: string;
  /** Where clients reach it. */
  readonly url: string;
  /** Whether it may still tell nodes anything: false before another one can lead. */
  holds(): boolean;
  /** Answers requests by this API from now on; it listens on nothing itself. */
  serve(app: HttpServer): Promise<ListenAddress>;
}

export interface CoordinatorBounds {
  /** Between two heartbeats of a node, ms. */
  readonly heartbeatPeriodMs: number;
  /** Silence after a question that makes a node lost, ms: twenty times the slowest heartbeat of a busy agent. */
  readonly heartbeatTimeoutMs: number;
  /**
   * Silence that makes a node lost although its machine still takes connections, ms: its agent hangs. Less is waited out,
   * because a machine whose cores are all taken answers late, and re-placing its sessions would only add to the load.
   */
  readonly hungTimeoutMs: number;
  /** Time in which a machine that is there takes a connection (its kernel does, not the agent), ms. */
  readonly connectTimeoutMs: number;
  /** A question unanswered for so long has the machine looked at, ms: many times what a busy agent takes. */
  readonly suspectMs: number;
  /** Between two heartbeats while something on the node is about to change, ms: shortens starts and recoveries. */
  readonly hurryPeriodMs: number;
  /**
   * A node that has just come up is asked often for so long, ms: its first answers come from cold code and a busy start,
   * and a round trip measured on them alone would look like a slow link to the allocator.
   */
  readonly greetingMs: number;
  /** A node that never answered counts as missing after this, ms: after a power cut nodes and coordinator start together. */
  readonly unknownGraceMs: number;
  /**
   * In it every node measures its path to one other, ms; 0 = to none. A probe sends at most 5.25 MiB, and only where the
   * path takes that in half a second: about 1 % of its time.
   */
  readonly linkProbePeriodMs: number;
  /** Between two looks at the profiles in the database, ms. */
  readonly profilePeriodMs: number;
  /** Profiles older than this do not count, s. */
  readonly profileWindowS: number;
  /** A session without a placement is tried again after this, ms, even when no node has changed: load may have. */
  readonly suspendedRetryMs: number;
  /** Between two looks of the planning loop, ms: what has happened meanwhile is decided together. */
  readonly planPeriodMs: number;
  /** From a stop to the end of waiting for packets in flight, ms: the nodes' own drain bound (5 s) on two hops, and slack. */
  readonly stopTimeoutMs: number;
  /** A DELETE is repeated after this, ms: a node drains (5 s) and ends its hosts (3 s) before it forgets a session. */
  readonly deleteRepeatMs: number;
  /** How long heartbeats stay hurried and frames are waited for after a re-placement, ms. */
  readonly recoveryWatchMs: number;
  /** Between two removals of old sessions and events from the store, ms. */
  readonly prunePeriodMs: number;
}

export const DEFAULT_COORDINATOR_BOUNDS: CoordinatorBounds = {
  heartbeatPeriodMs: 500,
  heartbeatTimeoutMs: 1_000,
  hungTimeoutMs: 3_000,
  connectTimeoutMs: 250,
  suspectMs: 300,
  hurryPeriodMs: 100,
  greetingMs: 1_500,
  unknownGraceMs: 3_000,
  linkProbePeriodMs: 30_000,
  profilePeriodMs: 5_000,
  profileWindowS: 600,
  suspendedRetryMs: 5_000,
  planPeriodMs: 1_000,
  stopTimeoutMs: 15_000,
  deleteRepeatMs: 10_000,
  recoveryWatchMs: 60_000,
  prunePeriodMs: 3_600_000,
};

/** Sessions that have not ended: beyond it answers of the API and plans take longer than a heartbeat. */
export const SESSIONS_MAX = 10_000;
