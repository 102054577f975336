/**
 * The collector: takes reports of nodes over HTTP (`POST /`, the reference's wire), writes them together (group commit), and
 * answers each only once it is stored, so that "Succeeded" means durable and a reporter may forget the report.
 * Invariant: rows accepted and not yet stored never exceed `rowsPendingMax` by more than one report; beyond that reporters
 * are told to come again, and their spools hold what the database cannot take now.
 */
import type { NodeFile } from '../contracts/node.js';
import {
  createHttpServer,
  type HttpServer,
  type ListenAddress,
  listen,
  type TlsIdentity,
} from '../http-server/http-server.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import { TELEMETRY_RETENTION, type TelemetryRetention, type TelemetryStore } from '../store/store.js';
import { Ingest } from './ingest.js';
import { CollectorMetrics } from './metrics.js';
import { nodeDirectory } from './node-directory.js';
import { startRetention } from './retention.js';
import { collectorRoutes } from './routes.js';

/** Rows that may wait for the database: two reports of the largest size, about 50 MB. */
export const ROWS_PENDING_MAX = 200_000;

export interface CollectorOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** The nodes whose reports are taken. */
  readonly nodes: readonly NodeFile[];
  /** Stays open when the collector is closed: whoever opened it closes it. */
  readonly store: TelemetryStore;
  readonly token: string | null;
  /** Shown to who dials the collector; null: it serves plain http. */
  readonly tls?: TlsIdentity | null;
  /** Listening off loopback without a token is what the operator wants. */
  readonly insecure?: boolean;
  readonly retention?: TelemetryRetention;
  readonly rowsPendingMax?: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Collector {
  readonly address: ListenAddress;
  /** Finishes the reports that are being stored; later ones are refused. */
  close(): Promise<void>;
}

/** Starts to listen. Throws TOKEN_REQUIRED, ADDRESS_IN_USE or CONFIG_INVALID. */
export async function createCollector(options: CollectorOptions): Promise<Collector> {
  const { host, port, token, insecure, nodes, store, clock, logger, rowsPendingMax = ROWS_PENDING_MAX } = options;
  const metrics = new CollectorMetrics();
  const ingest = new Ingest({ directory: nodeDirectory(nodes), store, clock, metrics, rowsPendingMax, logger });
  const app: HttpServer = createHttpServer({
    ...{ token, open: ['GET /v1/health'], logger },
    tls: options.tls ?? null,
  });
  collectorRoutes(app, { ingest, store, metrics, clock });
  const address = await listen(app, { host, port, token, insecure });
  const retention = startRetention({ store, clock, logger, retention: options.retention ?? TELEMETRY_RETENTION });
  logger.info({ url: address.url, nodes: nodes.length }, 'collector listens');
  return {
    address,
    close: async () => {
      retention.stop();
      await app.close();
    },
  };
}
