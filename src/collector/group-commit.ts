/**
 * Group commit over all reporters: what arrives while batches are being written forms the next one, so that a commit is
 * shared by the more reports the more of them come. Invariant: every report settles once, with its own outcome, and only
 * after the commit that it was part of.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { Clock } from '../std/clock.js';
import { type Deferred, deferred } from '../std/deferred.js';
import type { ReportInput, StoredReport, TelemetryStore } from '../store/store.js';
import type { CollectorMetrics } from './metrics.js';

/** Rows of one transaction: a few tenths of a second, so that a short report behind it does not wait for long. */
export const BATCH_ROWS_MAX = 50_000;

/** One batch is taken apart and sent while the database writes the one before. */
export const BATCHES_IN_FLIGHT = 2;

export interface GroupCommitOptions {
  readonly store: Pick<TelemetryStore, 'storeReports'>;
  readonly clock: Clock;
  readonly metrics: CollectorMetrics;
}

interface Waiting {
  readonly report: ReportInput;
  readonly outcome: Deferred<StoredReport>;
}

export class GroupCommit {
  readonly #options: GroupCommitOptions;
  readonly #waiting: Waiting[] = [];
  #inFlight = 0;

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  /** Resolves once the report is in the database, or was there before. Rejects with an error of the catalogue. */
  put(report: ReportInput): Promise<StoredReport> {
    const outcome = deferred<StoredReport>();
    this.#waiting.push({ report, outcome });
    this.#writeNext();
    return outcome.promise;
  }

  #writeNext(): void {
    while (this.#inFlight < BATCHES_IN_FLIGHT && this.#waiting.length > 0) {
      this.#inFlight += 1;
      void this.#write(this.#nextBatch()).finally(() => {
        this.#inFlight -= 1;
        this.#writeNext();
      });
    }
  }

  /** At least one report, however large. */
  #nextBatch(): Waiting[] {
    let rows = this.#waiting[0]!.report.rows.count;
    let reports = 1;
    for (; reports < this.#waiting.length; reports++) {
      rows += this.#waiting[reports]!.report.rows.count;
      if (rows > BATCH_ROWS_MAX) break;
    }
    return this.#waiting.splice(0, reports);
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    const { store, clock, metrics } = this.#options;
    const startMs = clock.monotonicMs();
    try {
      const outcomes = await store.storeReports(batch.map(({ report }) => report));
      for (const [index, { outcome }] of batch.entries()) {
        const result = outcomes[index]!;
        if (result instanceof OrchestratorError) outcome.reject(result);
        else outcome.resolve(result);
      }
    } catch (error) {
      for (const { outcome } of batch) outcome.reject(error);
    } finally {
      metrics.batchReports.observe(batch.length);
      metrics.storeSeconds.observe((clock.monotonicMs() - startMs) / 1000);
    }
  }
}
