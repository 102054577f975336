/**
 * Tells the collector what this node uses and what its packets go through: samples each collectPeriod, reports each
 * sendPeriod. While the collector is away reports wait in the spool (then on disk too) and are sent again, the same bytes,
 * with backoff; what the collector refuses for good is dropped and said.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CollectorClient } from '../client/collector-client.js';
import { unreachableCause } from '../client/http.js';
import { toOrchestratorError } from '../contracts/errors.js';
import { REPORT_COLUMNS_TYPE } from '../contracts/report-columns.js';
import { Backoff } from '../std/backoff.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import type { GpuSampler } from './gpu.js';
import { ReportSpool, type Rows, type SealedReport } from './report-spool.js';
import { SpoolFiles } from './spool-files.js';
import { type SampledHost, type SampledModel, UsageSampler } from './usage-sampler.js';

const RETRY_BASE_MS = 1_000;
const RETRY_MAX_MS = 30_000;
/** For the last report when the agent closes, ms. */
const FLUSH_TIMEOUT_MS = 3_000;
/** Between two warnings of lost rows, ms. */
const LOSS_LOG_PERIOD_MS = 60_000;

export interface ReporterOptions {
  readonly collector: CollectorClient;
  readonly collectPeriodS: number;
  readonly sendPeriodS: number;
  readonly gpu: Pick<GpuSampler, 'sample'> | null;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where reports wait that the collector has not taken; null: in memory only. */
  readonly spoolDir?: string | null;
  readonly spoolRowsMax?: number;
  readonly retryBaseMs?: number;
  nodeId(): number | null;
  hosts(): readonly SampledHost[];
  models?(): readonly SampledModel[];
}

export class Reporter {
  readonly #options: ReporterOptions;
  readonly #spool: ReportSpool;
  readonly #loaded: Promise<void>;
  readonly #sampler: UsageSampler;
  readonly #backoff: Backoff;
  readonly #closing = new AbortController();
  readonly #timers: NodeJS.Timeout[];
  #pump: Promise<void> | null = null;
  #lossLoggedMs = Number.NEGATIVE_INFINITY;
  #lostRows = 0;
  #unreachable = false;
  /** Null: not known. */
  #columns: boolean | null = null;

  constructor(options: ReporterOptions) {
    this.#options = options;
    const { spoolDir = null, spoolRowsMax: rowsMax, logger } = options;
    const files = spoolDir === null ? null : new SpoolFiles(spoolDir, logger);
    this.#spool = new ReportSpool({ files, ...(rowsMax === undefined ? {} : { rowsMax }) });
    this.#loaded = this.#load();
    this.#sampler = new UsageSampler({ gpu: options.gpu, clock: options.clock });
    this.#backoff = new Backoff({ baseMs: options.retryBaseMs ?? RETRY_BASE_MS, maxMs: RETRY_MAX_MS });
    this.#timers = [
      setInterval(() => this.#sample(), options.collectPeriodS * 1000),
      setInterval(() => void this.#send(), options.sendPeriodS * 1000),
    ];
  }

  /** Rows that a handler host hands over; `lostRows` did not fit there. */
  add(rows: Rows, lostRows = 0): void {
    this.#spool.add(rows, lostRows);
  }

  /** Sends what there is, within a bound, and stops. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#closing.abort();
    const deadline = sleep(FLUSH_TIMEOUT_MS, undefined, { ref: false });
    await Promise.race([this.#pump?.then(() => this.#send()) ?? this.#send(), deadline]);
    await this.#spool.keep();
    await this.#options.collector.close();
    const left = this.#spool.rows;
    const kept = this.#options.spoolDir == null ? 'are lost' : 'wait on disk for the next start';
    if (left > 0) this.#options.logger.warn({ rows: left }, `rows that were not reported before the end ${kept}`);
  }

  async #load(): Promise<void> {
    try {
      await this.#spool.load();
      const left = this.#spool.rows;
      if (left > 0) this.#options.logger.info({ rows: left }, 'rows of an earlier start wait for the collector');
    } catch (error) {
      this.#options.logger.error({ err: error }, 'unsent reports of an earlier start cannot be read');
    }
  }

  #sample(): void {
    this.#spool.add(this.#sampler.sample(this.#options.hosts(), this.#options.models?.()));
  }

  async #send(): Promise<void> {
    await this.#loaded;
    await this.#spool.seal(this.#options.nodeId(), await this.#readsColumns());
    this.#sayLost();
    this.#pump ??= this.#sendAll().finally(() => {
      this.#pump = null;
    });
    await this.#pump;
  }

  /** Asked once, and again after the collector was away: it may come back as another version, or as the reference's. */
  async #readsColumns(): Promise<boolean> {
    if (this.#columns === null && !this.#closing.signal.aborted) {
      try {
        const { report_types = [] } = await this.#options.collector.health();
        this.#columns = report_types.includes(REPORT_COLUMNS_TYPE);
      } catch (error) {
        // It answered, though not as ours does: a collector of the reference.
        if ((unreachableCause(error) ?? 'answer') === 'answer') this.#columns = false;
      }
    }
    return this.#columns ?? false;
  }

  async #sendAll(): Promise<void> {
    for (let report = this.#spool.peek(); report !== undefined; report = this.#spool.peek()) {
      const waitMs = await this.#sendOne(report);
      if (waitMs === null) {
        this.#spool.remove(report);
        this.#backoff.reset();
      } else {
        await this.#spool.keep();
        if (this.#closing.signal.aborted) return;
        await sleep(waitMs, undefined, { signal: this.#closing.signal }).catch(() => {});
      }
    }
  }

  /** Null when the collector is done with it, else how long to wait before it is sent again, ms. */
  async #sendOne({ report_id, rows, bytes, type }: SealedReport): Promise<number | null> {
    const { collector, logger } = this.#options;
    try {
      await collector.report({ bytes, type, gzip: true });
      if (this.#unreachable) logger.info({ url: collector.url }, 'the collector takes reports again');
      this.#unreachable = false;
      return null;
    } catch (thrown) {
      const error = toOrchestratorError(thrown);
      const status = typeof error.context.status === 'number' ? error.context.status : error.status;
      if (status < 500 && status !== 429 && status !== 408) {
        logger.error({ report_id, rows, code: error.code }, `a report was refused and is dropped: ${error.message}`);
        return null;
      }
      const asked = error.context.retry_after_s;
      const waitMs = Math.max(this.#backoff.nextMs(), typeof asked === 'number' ? asked * 1000 : 0);
      this.#columns = null;
      if (!this.#unreachable) logger.warn({ code: error.code, rows: this.#spool.rows }, error.message);
      this.#unreachable = true;
      return waitMs;
    }
  }

  #sayLost(): void {
    this.#lostRows += this.#spool.takeLostRows();
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#lostRows === 0 || nowMs - this.#lossLoggedMs < LOSS_LOG_PERIOD_MS) return;
    this.#options.logger.warn(
      { rows: this.#lostRows },
      'rows for the collector were lost: more than the spool may hold',
    );
    this.#lossLoggedMs = nowMs;
    this.#lostRows = 0;
  }
}
