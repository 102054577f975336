/** From a body to stored rows: check, attribute to a node, bound, hand over to the group commit; and the figures about that. */
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import { type Report, ReportSchema } from '../contracts/report.js';
import { schemaFaults } from '../contracts/schema.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import { reportRows, reportRowsPending } from '../store/report-rows.js';
import type { ReportInput, StoredReport, TelemetryStore } from '../store/store.js';
import { GroupCommit } from './group-commit.js';
import type { CollectorMetrics } from './metrics.js';
import type { NodeDirectory } from './node-directory.js';

export interface IngestOptions {
  readonly directory: NodeDirectory;
  readonly store: TelemetryStore;
  readonly clock: Clock;
  readonly metrics: CollectorMetrics;
  readonly rowsPendingMax: number;
  readonly logger: Logger;
}

export interface IngestHealth {
  /** ok: the newest store succeeded, or there was none. */
  readonly status: 'ok' | 'failing';
  readonly rows_stored: number;
  readonly reports_stored: number;
  readonly rows_pending: number;
  readonly last_error: string | null;
}

export class Ingest {
  readonly #options: IngestOptions;
  readonly #commits: GroupCommit;
  #rowsStored = 0;
  #reportsStored = 0;
  #rowsPending = 0;
  #failing = false;
  #lastError: string | null = null;

  constructor(options: IngestOptions) {
    this.#options = options;
    this.#commits = new GroupCommit(options);
  }

  health(): IngestHealth {
    return {
      status: this.#failing ? 'failing' : 'ok',
      rows_stored: this.#rowsStored,
      reports_stored: this.#reportsStored,
      rows_pending: this.#rowsPending,
      last_error: this.#lastError,
    };
  }

  /** Before a body is read: COLLECTOR_BUSY while as much is waiting as may wait. */
  refuseWhenFull(): void {
    if (this.#rowsPending >= this.#options.rowsPendingMax) throw this.#busy(0);
  }

  /**
   * Resolves once the report is in the database, or was there before. Throws an error of the catalogue.
   * Surprising: it is not async, because a suspended function would keep `body` until the commit. What is left of 5000 rows
   * are 240 KB of numbers, where 5000 objects would outlive the young generation and cost more than reading them did.
   */
  take(body: unknown, peerAddress: string): Promise<StoredReport> {
    const report = checkedReport(body);
    const now = this.#options.clock.now();
    refuseFuture(report, now);
    const nodeId = this.#options.directory.resolve(report.node_id, peerAddress);
    const rows = reportRowsPending(report);
    // A report larger than the bound would never fit; alone it may go.
    if (this.#rowsPending > 0 && this.#rowsPending + rows > this.#options.rowsPendingMax) throw this.#busy(rows);
    const reportId = report.report_id ?? null;
    return this.#put({ nodeId, reportId, receivedAt: now, rows: reportRows(nodeId, report) }, rows);
  }

  async #put(input: ReportInput, rows: number): Promise<StoredReport> {
    this.#pend(rows);
    try {
      const stored = await this.#store(input);
      this.#rowsStored += stored.rows;
      if (stored.stored) this.#reportsStored += 1;
      return stored;
    } finally {
      this.#pend(-rows);
    }
  }

  /** Something about a report went wrong; kept for /v1/health, which is where an operator looks first. */
  failed(thrown: unknown): void {
    const { code, message } = toOrchestratorError(thrown);
    this.#lastError = `${code}: ${message}`;
    this.#options.metrics.reports.inc({ result: code });
  }

  async #store(input: ReportInput): Promise<StoredReport> {
    const { metrics } = this.#options;
    try {
      const stored = await this.#commits.put(input);
      this.#becomes(false);
      metrics.reports.inc({ result: stored.stored ? 'stored' : 'duplicate' });
      metrics.rows.inc(stored.rows);
      return stored;
    } catch (error) {
      const { status, message } = toOrchestratorError(error);
      this.#becomes(status >= 500, message);
      throw error;
    }
  }

  /** Said once when it begins and once when it ends: every reporter tries again all the while. */
  #becomes(failing: boolean, why = ''): void {
    if (failing === this.#failing) return;
    this.#failing = failing;
    const { logger } = this.#options;
    if (failing) logger.error({ why }, 'reports cannot be stored; nodes keep them and send them again');
    else logger.info({}, 'reports are stored again');
  }

  #pend(rows: number): void {
    this.#rowsPending += rows;
    this.#options.metrics.rowsPending.set(this.#rowsPending);
  }

  #busy(rows: number): OrchestratorError {
    const { rowsPendingMax } = this.#options;
    const more = rows === 0 ? '' : `, ${rows} more would come`;
    const message = `${this.#rowsPending} rows wait for the database${more}, the bound is ${rowsPendingMax}: send again later`;
    return new OrchestratorError('COLLECTOR_BUSY', message, {
      rows_pending: this.#rowsPending,
      rows_max: rowsPendingMax,
    });
  }
}

function checkedReport(body: unknown): Report {
  const faults = schemaFaults(ReportSchema, body);
  if (faults.length === 0) return body as Report;
  throw new OrchestratorError('REPORT_INVALID', `nothing of the report is stored: ${faults.slice(0, 5).join('; ')}`, {
    faults: faults.slice(0, 20),
  });
}

/**
 * A clock that is a day ahead is set wrong, and not merely off: its rows would be the newest for all that time, and
 * retention would never come to them. A clock that is behind does no harm. s.
 */
const AHEAD_S_MAX = 24 * 3600;

function refuseFuture(report: Report, now: number): void {
  for (const [table, rows] of Object.entries(report)) {
    if (!Array.isArray(rows)) continue;
    const index = rows.findIndex(({ timestamp }) => timestamp > now + AHEAD_S_MAX);
    if (index < 0) continue;
    const aheadS = Math.round(rows[index]!.timestamp - now);
    const place = `/${table}/${index}/timestamp is ${aheadS} s ahead of the collector's clock`;
    const message = `nothing of the report is stored: ${place}, the bound is ${AHEAD_S_MAX} s; set the clock of the node`;
    throw new OrchestratorError('REPORT_INVALID', message, { ahead_s: aheadS });
  }
}
