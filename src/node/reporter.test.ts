import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import { createCollectorClient } from '../client/collector-client.js';
import { type ErrorCode, OrchestratorError } from '../contracts/errors.js';
import { type Report, ReportSchema } from '../contracts/report.js';
import { decodeReport, REPORT_COLUMNS_TYPE } from '../contracts/report-columns.js';
import { schemaFaults } from '../contracts/schema.js';
import { systemClock } from '../std/clock.js';
import { silentLogger } from '../std/logger.js';
import { share, startAgent, until, untilState } from './agent.testing.js';
import { Reporter, type ReporterOptions } from './reporter.js';

interface FakeCollector {
  readonly url: string;
  readonly attempts: Report[];
  /** Status of the next answers. */
  status: number;
  /** Content types that it says it reads; none: it is the reference's, without /v1/health. */
  types: string[];
  byColumns: number;
  stop(): Promise<void>;
}

const CODES: Record<number, ErrorCode> = { 429: 'COLLECTOR_BUSY', 503: 'DATABASE_UNAVAILABLE' };

async function startCollector(port = 0): Promise<FakeCollector> {
  const attempts: Report[] = [];
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (request.method === 'GET') {
        response.writeHead(collector.types.length > 0 ? 200 : 404);
        return response.end(JSON.stringify({ status: 'ok', report_types: collector.types }));
      }
      const body = gunzipSync(Buffer.concat(chunks));
      const isColumns = request.headers['content-type'] === REPORT_COLUMNS_TYPE;
      if (isColumns) collector.byColumns += 1;
      attempts.push((isColumns ? decodeReport(body) : JSON.parse(body.toString())) as Report);
      const code = CODES[collector.status] ?? 'REPORT_INVALID';
      response.writeHead(collector.status, { 'content-type': 'application/json' });
      if (collector.status === 200) response.end('{"result":"Succeeded"}');
      else response.end(JSON.stringify(new OrchestratorError(code, 'said why').toProblem()));
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const collector: FakeCollector = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    attempts,
    status: 200,
    types: [],
    byColumns: 0,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  onTestFinished(() => collector.stop());
  return collector;
}

function startReporter(url: string, options: Partial<ReporterOptions> = {}): Reporter {
  const reporter = new Reporter({
    collector: createCollectorClient({ url, token: null }),
    ...{ collectPeriodS: 100, sendPeriodS: 0.05, retryBaseMs: 20, gpu: null },
    ...{ clock: systemClock(), logger: silentLogger, nodeId: () => 4, hosts: () => [] },
    ...options,
  });
  onTestFinished(() => reporter.close());
  return reporter;
}

const row = (sequence: number) => ({
  ...{ timestamp: 1, session_id: 1, handler_id: 1, sequence, event: 'start' as const },
});

test('while the collector is away reports are kept, and sent again with the same report_id', async () => {
  const collector = await startCollector();
  const reporter = startReporter(collector.url);
  collector.status = 503;
  reporter.add({ packet_info: [row(1)] });
  await until(() => collector.attempts.length >= 3, 'attempts');
  const { port } = new URL(collector.url);
  await collector.stop();
  reporter.add({ packet_info: [row(2)] });
  await new Promise((resolve) => setTimeout(resolve, 150));
  const back = await startCollector(Number(port));
  await until(() => back.attempts.length === 2, 'both reports', 20_000);
  const ids = new Set(collector.attempts.map((report) => report.report_id));
  expect([...ids]).toEqual([back.attempts[0]!.report_id]);
  expect(back.attempts.map((report) => report.packet_info?.[0]?.sequence)).toEqual([1, 2]);
  expect(back.attempts[1]!.report_id).not.toBe(back.attempts[0]!.report_id);
  expect(back.attempts[0]!.node_id).toBe(4);
});

test('reports go by columns to a collector that reads them, and as JSON to any other', async () => {
  const collector = await startCollector();
  collector.types = ['application/json', REPORT_COLUMNS_TYPE];
  const reporter = startReporter(collector.url);
  reporter.add({ packet_info: [row(1)], sys_info: [{ timestamp: 2.5, gpu_info: [{ gpu_id: 0, gpu_util: 5 }] }] });
  await until(() => collector.attempts.length === 1, 'the first report');
  expect(collector.byColumns).toBe(1);
  expect(collector.attempts[0]).toMatchObject({ node_id: 4, packet_info: [row(1)], sys_info: [{ timestamp: 2.5 }] });
  const other = await startCollector();
  startReporter(other.url).add({ packet_info: [row(1)] });
  await until(() => other.attempts.length === 1, 'a report to the other');
  expect(other.byColumns).toBe(0);
});

test('a busy collector is asked again, a report that it refuses is dropped and the reason is logged', async () => {
  const errors: string[] = [];
  const logger = { ...silentLogger, error: (_: object, message: string) => void errors.push(message) };
  const collector = await startCollector();
  collector.status = 429;
  const reporter = startReporter(collector.url, { logger });
  reporter.add({ packet_info: [row(1)] });
  await until(() => collector.attempts.length >= 2, 'sent again');
  collector.status = 400;
  await until(() => errors.length > 0, 'error logged');
  expect(errors).toEqual(['a report was refused and is dropped: said why']);
  collector.status = 200;
  reporter.add({ packet_info: [row(2)] });
  await until(() => collector.attempts.at(-1)?.packet_info?.[0]?.sequence === 2, 'the next report');
});

test('close sends what is left, and does not wait for a collector that is away', async () => {
  const collector = await startCollector();
  const reporter = startReporter(collector.url, { sendPeriodS: 100 });
  reporter.add({ packet_info: [row(1)] });
  await reporter.close();
  expect(collector.attempts).toHaveLength(1);
  await collector.stop();
  const other = startReporter(collector.url, { sendPeriodS: 100 });
  other.add({ packet_info: [row(1)] });
  await other.close();
});

test('an agent reports its machine, every handler, and the rows of its hosts', async () => {
  const collector = await startCollector();
  const agent = await startAgent({ collector: { url: collector.url, collectPeriodS: 0.1, sendPeriodS: 0.2 } });
  await agent.client.putSession(share());
  await untilState(agent, 5, 'running');
  const enough = (report: Report) => (report.proc_info ?? []).some((one) => typeof one.cpu_util === 'number');
  await until(() => collector.attempts.some(enough), 'a report with processes');
  await until(() => collector.attempts.some((report) => (report.packet_info?.length ?? 0) > 0), 'packets');
  for (const report of collector.attempts) expect(schemaFaults(ReportSchema, report)).toEqual([]);
  const report = collector.attempts.find(enough)!;
  expect(report.node_id).toBe(1);
  expect(report.sys_info?.[0]).toMatchObject({ mem_total: expect.any(Number), mem_util: expect.any(Number) });
  expect(new Set(report.proc_info?.map((one) => one.handler_id))).toEqual(new Set([1, 2, 3, 4]));
});

test('reports that the collector has not taken outlive the agent, and go first, as they were', async () => {
  const spoolDir = mkdtempSync(join(tmpdir(), 'spool-'));
  onTestFinished(() => rmSync(spoolDir, { recursive: true, force: true }));
  const collector = await startCollector();
  collector.status = 503;
  const first = startReporter(collector.url, { spoolDir });
  first.add({ packet_info: [row(1)] });
  await until(() => collector.attempts.length >= 1, 'an attempt');
  // Killed: nothing of it closes. Its files are what is left.
  const files = () => readdirSync(spoolDir).filter((name) => name.endsWith('.gz'));
  await until(() => files().length === 1, 'its file');
  writeFileSync(join(spoolDir, '000000000000-broken.json.gz'), 'no report at all');
  const copy = mkdtempSync(join(tmpdir(), 'spool-'));
  onTestFinished(() => rmSync(copy, { recursive: true, force: true }));
  cpSync(spoolDir, copy, { recursive: true });
  const id = collector.attempts[0]!.report_id;
  const other = await startCollector();
  const second = startReporter(other.url, { spoolDir: copy });
  second.add({ packet_info: [row(2)] });
  await until(() => other.attempts.length === 2, 'both reports');
  expect(other.attempts.map((report) => report.packet_info?.[0]?.sequence)).toEqual([1, 2]);
  expect(other.attempts[0]!.report_id).toBe(id);
  await until(() => readdirSync(copy).every((name) => name.endsWith('.unreadable')), 'no file left but the broken one');
});
