/** The collector's figures for Prometheus, in a registry of its own so that several collectors fit into one process. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export class CollectorMetrics {
  readonly registry = new Registry();

  readonly reports = new Counter({
    name: 'orchestrator_collector_reports_total',
    help: 'Reports by result: stored, duplicate, or the code of the refusal',
    labelNames: ['result'],
    registers: [this.registry],
  });

  readonly rows = new Counter({
    name: 'orchestrator_collector_rows_total',
    help: 'Rows stored',
    registers: [this.registry],
  });

  readonly rowsPending = new Gauge({
    name: 'orchestrator_collector_rows_pending',
    help: 'Rows accepted and not yet stored',
    registers: [this.registry],
  });

  readonly batchReports = new Histogram({
    name: 'orchestrator_collector_batch_reports',
    help: 'Reports that shared one commit',
    buckets: [1, 2, 5, 10, 20, 50, 100, 500],
    registers: [this.registry],
  });

  readonly storeSeconds = new Histogram({
    name: 'orchestrator_collector_store_seconds',
    help: 'Time of one group commit',
    buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10],
    registers: [this.registry],
  });
}
