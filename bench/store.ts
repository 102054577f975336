/** Rows of packet_info per second: the whole collector over HTTP against the store called directly, in one run. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCollector } from '#src/collector/collector.js';
import type { Report } from '#src/contracts/report.js';
import { systemClock } from '#src/std/clock.js';
import { silentLogger } from '#src/std/logger.js';
import { reportRows } from '#src/store/report-rows.js';
import { openSqliteTelemetryStore } from '#src/store/sqlite/sqlite-telemetry-store.js';
import { type BenchRow, runCases } from './harness.js';
import type { BenchContext } from './run.js';

const REPORTS = 20;
const ROWS_PER_REPORT = 5000;

function report(id: string): Report {
  const events = ['start', 'end', 'sent', 'recv'] as const;
  const packet_info = Array.from({ length: ROWS_PER_REPORT }, (_, index) => ({
    ...{ timestamp: 1.7e9 + index / 1000, session_id: 1, handler_id: 2, sequence: index >> 2 },
    event: events[index & 3]!,
    size: 1000,
  }));
  return { node_id: 1, report_id: id, packet_info };
}

export async function run({ rounds, rawFile }: BenchContext): Promise<BenchRow[]> {
  const dir = mkdtempSync(join(tmpdir(), 'orchestrator-bench-'));
  const logger = silentLogger;
  const direct = await openSqliteTelemetryStore({ path: join(dir, 'direct.db'), logger });
  const behind = await openSqliteTelemetryStore({ path: join(dir, 'behind.db'), logger });
  const node = { node_id: 1, node_name: 'n', node_type: 'edge', node_addr: '127.0.0.1', node_port: 9000 } as const;
  const collector = await createCollector({
    ...{ host: '127.0.0.1', port: 0, token: null, insecure: false, logger, clock: systemClock(), store: behind },
    nodes: [{ ...node, labels: [], rtt_ms: 0.5, bandwidth_mbit: 1000 }],
  });
  const url = `http://127.0.0.1:${collector.address.port}/`;
  let sent = 0;
  const rate = async (send: (one: Report) => Promise<unknown>) => {
    const reports = Array.from({ length: REPORTS }, () => report(`r${sent++}`));
    const start = performance.now();
    for (const one of reports) await send(one);
    return { rows: (REPORTS * ROWS_PER_REPORT * 1000) / (performance.now() - start) };
  };
  try {
    return await runCases({
      bench: 'store',
      reference: 'store, called directly',
      units: { rows: 'rows/s' },
      cases: [
        {
          name: 'store, called directly',
          measure: () =>
            rate((one) =>
              direct.storeReports([
                { nodeId: 1, reportId: one.report_id!, receivedAt: 1.7e9, rows: reportRows(1, one) },
              ]),
            ),
        },
        { name: 'collector, over HTTP', measure: () => rate((one) => post(url, one)) },
      ],
      rounds,
      rawFile,
    });
  } finally {
    await collector.close();
    await Promise.all([direct.close(), behind.close()]);
    rmSync(dir, { recursive: true, force: true });
  }
}

async function post(url: string, body: Report): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`collector answered ${answer.status}: ${await answer.text()}`);
}
