/** What every session of an agent is given: the node's options, and whom to tell what. */
import type { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { LedgerRow } from '../contracts/report.js';
import type { ClockCorrection } from '../std/corrected-clock.js';
import type { Logger } from '../std/logger.js';
import type { HostConfiner } from './host-limits.js';
import type { HostSpares } from './host-spares.js';
import type { HostReport } from './host-supervisor.js';
import type { HostBounds } from './options.js';
import type { SharedModels } from './shared-models.js';
import type { Threads } from './threads.js';

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
  chooseThreads(cpuMs: number): Threads;
  /** `http://host:port` of the agent. */
  nodeUrl(): string;
  /** A path that no other host of this agent has. */
  newSocketPath(): string;
  /** A session has changed its state. */
  onChange(): void;
  /** A link of a session to another node was cut, or that node does not answer on it. */
  onSuspect(nodeId: number): void;
  onReport(report: HostReport): void;
  onLedger(rows: readonly LedgerRow[]): void;
}
