import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OrchestratorError } from '../contracts/errors.js';
import type { NodeFile } from '../contracts/node.js';
import type { Report } from '../contracts/report.js';
import { encodeReport, REPORT_COLUMNS_TYPE } from '../contracts/report-columns.js';
import { systemClock } from '../std/clock.js';
import { type Deferred, deferred } from '../std/deferred.js';
import { silentLogger } from '../std/logger.js';
import { arbitraryReport, fullReport, reportInput } from '../store/conformance.testing.js';
import { openSqliteTelemetryStore } from '../store/sqlite/sqlite-telemetry-store.js';
import {
  TELEMETRY_RETENTION,
  TELEMETRY_TABLE_NAMES,
  type TelemetryStore,
  type TelemetryTable,
} from '../store/store.js';
import { type Collector, type CollectorOptions, createCollector } from './collector.js';
import { normalAddress } from './node-directory.js';

const node = (node_id: number, node_addr: string): NodeFile => ({
  ...{ node_id, node_name: `node${node_id}`, node_type: 'edge', node_addr, node_port: 9000 },
  ...{ labels: [], rtt_ms: 0.5, bandwidth_mbit: 1000 },
});

let directory: string;
let store: TelemetryStore;
let collector: Collector | undefined;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'collector-'));
  store = await openSqliteTelemetryStore({ path: join(directory, 'reports.db'), logger: silentLogger });
});
afterEach(async () => {
  await collector?.close();
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Node 1 is at this test's own address, 2 and 3 share one. */
async function start(options: Partial<CollectorOptions> = {}): Promise<string> {
  collector = await createCollector({
    ...{ host: '127.0.0.1', port: 0, token: null, store, clock: systemClock(), logger: silentLogger },
    // The rows of these tests are years old.
    retention: { ...TELEMETRY_RETENTION, rowsS: Number.POSITIVE_INFINITY },
    nodes: [node(1, '127.0.0.1'), node(2, '10.0.0.2'), node(3, '10.0.0.2')],
    ...options,
  });
  return collector.address.url;
}

async function ask(url: string, init?: RequestInit) {
  const response = await fetch(url, init);
  const body = (await response.json()) as Record<string, unknown>;
  return { status: response.status, headers: response.headers, body };
}

const report = (url: string, body: unknown, headers: Record<string, string> = {}) =>
  ask(`${url}/`, { method: 'POST', headers, body: body instanceof Uint8Array ? body : JSON.stringify(body) });

const sql = (url: string, statement: string) =>
  ask(`${url}/v1/sql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ statement }),
  });

const countOf = async (table: TelemetryTable) => (await store.recent(table, { limit: 100_000 })).length;

describe('reports', () => {
  it('takes what a reference reporter sends, knowing it by its address', async () => {
    const url = await start();
    const { sys_info, proc_info, packet_info } = fullReport();
    const answer = await report(url, { sys_info, proc_info, packet_info });
    expect([answer.status, answer.body]).toEqual([200, { result: 'Succeeded' }]);
    expect((await sql(url, 'select node_ID, cpu_util, gpu_power from sys_info')).body).toEqual({
      columns: ['node_id', 'cpu_util', 'gpu_power'],
      rows: [[1, 12.5, 70]],
      truncated: false,
    });
    const noGpu = {
      sys_info: [
        { timestamp: 5, cpu_util: null, gpu_info: [] },
        { timestamp: 6, gpu_info: null },
      ],
    };
    expect((await report(url, noGpu)).body).toEqual({ result: 'Succeeded' });
    expect((await sql(url, 'select gpu_util from sys_info where timestamp < 10')).body.rows).toEqual([[null], [null]]);
    expect((await ask(`${url}/v1/health`)).body).toEqual({
      ...{ status: 'ok', rows_stored: 8, reports_stored: 2, rows_pending: 0, last_error: null },
      report_types: expect.any(Array),
    });
  });

  it('refuses reporters that no node file names, or that several do', async () => {
    const nodes = [node(2, '127.0.0.1'), node(3, '127.0.0.1'), node(4, '10.0.0.4')];
    const url = await start({ nodes });
    const ambiguous = await report(url, fullReport());
    expect([ambiguous.status, ambiguous.body]).toEqual([
      403,
      { result: 'Failed', code: 'REPORT_UNKNOWN_NODE', reason: expect.stringMatching(/nodes 2, 3: send node_id/) },
    ]);
    expect((await report(url, { ...fullReport(), node_id: 3 })).body).toEqual({ result: 'Succeeded' });
    expect((await report(url, { ...fullReport(), node_id: 9 })).body.reason).toContain('node_id 9');
    await collector!.close();
    const elsewhere = await start({ nodes: [node(4, '10.0.0.4')] });
    expect((await report(elsewhere, fullReport())).body.reason).toContain('node_addr 127.0.0.1');
    expect((await ask(`${elsewhere}/v1/health`)).body.last_error).toMatch(/^REPORT_UNKNOWN_NODE: /);
  });

  it('reads gzip, and refuses a small body that would become a large one', async () => {
    const url = await start();
    const gzip = { 'content-encoding': 'gzip' };
    expect((await report(url, gzipSync(JSON.stringify(fullReport())), gzip)).body).toEqual({ result: 'Succeeded' });
    const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024, ' '));
    expect(bomb.length).toBeLessThan(1024 * 1024);
    const refused = await report(url, bomb, gzip);
    expect([refused.status, refused.body.code]).toEqual([413, 'REQUEST_TOO_LARGE']);
    const large = await report(url, Buffer.alloc(17 * 1024 * 1024, ' ')).catch((error: Error) => error);
    // The server answers and closes while the body is still being sent: the client may see either.
    if (!(large instanceof Error)) expect(large.status).toBe(413);
  });

  it('reads reports by columns, says so, and checks them like any other', async () => {
    const url = await start();
    expect((await ask(`${url}/v1/health`)).body.report_types).toEqual(['application/json', REPORT_COLUMNS_TYPE]);
    const columns = { 'content-type': REPORT_COLUMNS_TYPE };
    const packed = { ...columns, 'content-encoding': 'gzip' };
    expect((await report(url, gzipSync(encodeReport(fullReport())), packed)).body).toEqual({ result: 'Succeeded' });
    expect((await report(url, encodeReport(fullReport()), columns)).body).toEqual({ result: 'Succeeded' });
    expect(await countOf('packet_info')).toBe(2);
    const bad = { packet_info: [{ ...fullReport().packet_info![0]!, session_id: -1 }] };
    const refused = await report(url, encodeReport(bad), columns);
    expect([refused.status, refused.body.code]).toEqual([400, 'REPORT_INVALID']);
    expect(refused.body.reason).toMatch(/\/packet_info\/0\/session_id must be >= 0 \(is -1\)/);
    expect((await report(url, encodeReport(fullReport()).subarray(0, 50), columns)).body.code).toBe('REPORT_INVALID');
  });

  it('stores a report that is sent again once, also when both arrive at once', async () => {
    const url = await start();
    const body = { ...fullReport(), report_id: 'b1' };
    const answers = await Promise.all([1, 2, 3].map(() => report(url, body)));
    expect(answers.map(({ body: { result } }) => result)).toEqual(['Succeeded', 'Succeeded', 'Succeeded']);
    expect(await countOf('packet_info')).toBe(1);
    expect((await ask(`${url}/v1/health`)).body).toMatchObject({ reports_stored: 1, rows_stored: 9 });
  });

  it.each<[string, string, RegExp]>([
    ['a negative id', '"session_id": -1', /\/packet_info\/1\/session_id must be >= 0 \(is -1\)/],
    ['a huge time', '"timestamp": 1e300', /\/packet_info\/1\/timestamp must be <= 1e\+?11|100000000000/],
    ['a number that is none', '"timestamp": 1e999', /\/packet_info\/1\/timestamp/],
    ['a fraction', '"sequence": 1.5', /\/packet_info\/1\/sequence must be integer \(is 1.5\)/],
    ['a word', '"size": "big"', /\/packet_info\/1\/size/],
    ['an unknown event', '"event": "begin"', /\/packet_info\/1\/event/],
    ['an unknown key', '"colour": 3', /\/packet_info\/1 has unknown key colour/],
  ])('refuses a report with %s, naming the place, and stores nothing of it', async (_, fault, place) => {
    const url = await start();
    const good = JSON.stringify(fullReport().packet_info![0]);
    const body = Buffer.from(
      `{"sys_info": [{"timestamp": 1}], "packet_info": [${good}, ${good.slice(0, -1)}, ${fault}}]}`,
    );
    const refused = await report(url, body);
    expect([refused.status, refused.body.result, refused.body.code]).toEqual([400, 'Failed', 'REPORT_INVALID']);
    expect(refused.body.reason).toMatch(place);
    expect(await countOf('sys_info')).toBe(0);
  });

  it.each(['', '{', '[]', '3', 'null', '{"packet_info": {}}', '{"packet_info": [null]}'])(
    'refuses %j',
    async (text) => {
      const url = await start();
      const refused = await report(url, Buffer.from(text));
      expect([refused.status, refused.body.result]).toEqual([400, 'Failed']);
    },
  );

  it('stores as many rows as any valid report has', async () => {
    const url = await start({ clock: { ...systemClock(), now: () => 1e11 } });
    let [rows, packets] = [0, 0];
    const property = async (body: Report) => {
      expect((await report(url, body, { 'content-type': 'application/json' })).body).toEqual({ result: 'Succeeded' });
      rows = Number((await ask(`${url}/v1/health`)).body.rows_stored);
      packets += body.packet_info?.length ?? 0;
    };
    await fc.assert(fc.asyncProperty(arbitraryReport, property), { numRuns: 20, endOnFailure: true });
    expect(await countOf('packet_info')).toBe(packets);
    const counts = await Promise.all(TELEMETRY_TABLE_NAMES.map(countOf));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(rows);
  });
});

describe('hostile reports are refused with a reason, and what came before and after is stored', () => {
  const HOSTILE_NAME = 'timestamp) VALUES (1); DROP TABLE sys_info; --';
  const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
  const packets = (rows: string) => `{"packet_info": [${rows}]}`;
  const row = (more: string) =>
    `{"timestamp": 1, "session_id": 1, "handler_id": 1, "sequence": 1, "event": "end"${more === '' ? '' : `, ${more}`}}`;

  it.each<[string, string | (() => string), number, RegExp]>([
    ['SQL as a column', packets(row(`"${HOSTILE_NAME}": 1`)), 400, /has unknown key timestamp\) VALUES/],
    ['SQL as a table', `{"sys_info; DROP TABLE sys_info; --": [{"timestamp": 1}]}`, 400, /unknown key sys_info; DROP/],
    ['SQL as an event', packets(row('"event": "end\'); DROP TABLE sys_info; --"')), 400, /packet_info\/0\/event/],
    ['SQL as a number', packets(row('"size": "1); DROP TABLE sys_info; --"')), 400, /packet_info\/0\/size/],
    ['a prototype as a key', packets(row('"__proto__": {"size": 5}')), 400, /./],
    ['a million levels', () => `{"packet_info": ${deep(1_000_000)}}`, 400, /packet_info\/0/],
    ['a deep column', () => packets(row(`"size": ${deep(500_000)}`)), 400, /packet_info\/0\/size/],
    ['NaN', packets(row('"size": NaN')), 400, /not JSON/],
    ['a huge number', packets(row('"size": 1e308')), 400, /packet_info\/0\/size/],
    ['a number without bound', packets(row('"size": 1e999')), 400, /packet_info\/0\/size/],
    ['a sequence beyond what is exact', packets(row('"sequence": 9007199254740993')), 400, /sequence/],
    ['a time before the epoch', packets(row('"timestamp": -1')), 400, /timestamp must be >= 0/],
    ['a time of another age', packets(row('"timestamp": 1e12')), 400, /timestamp must be <= 1/],
    ['a day ahead', () => packets(row(`"timestamp": ${Date.now() / 1000 + 90_000}`)), 400, /ahead of the collector/],
    ['a hundred thousand bad rows', () => packets(new Array(100_000).fill(row('"x": 1')).join()), 400, /unknown key x/],
    ['more rows than one report has', () => packets(new Array(100_001).fill(row('')).join()), 400, /packet_info/],
  ])('%s', async (_, body, status, reason) => {
    const url = await start();
    const good = (id: string) => report(url, { ...fullReport(), report_id: id });
    expect((await good('before')).status).toBe(200);
    const refused = await report(url, Buffer.from(typeof body === 'string' ? body : body()));
    expect([refused.status, refused.body.result]).toEqual([status, 'Failed']);
    expect(refused.body.reason).toMatch(reason);
    expect((await good('after')).status).toBe(200);
    expect(await countOf('sys_info')).toBe(2);
    expect(await countOf('packet_info')).toBe(2);
  });

  it('a hundred megabytes, with their length said or not', async () => {
    const url = await start();
    const piece = Buffer.alloc(1024 * 1024, ' ');
    async function* pieces() {
      for (let sent = 0; sent < 100; sent++) yield piece;
    }
    for (const headers of [{ 'content-length': String(100 * piece.length) }, { 'transfer-encoding': 'chunked' }]) {
      const status = await new Promise<number | string>((resolve) => {
        const sending = request(`${url}/`, { method: 'POST', headers }, (answer) => resolve(answer.statusCode ?? 0));
        // The server answers and closes while the body is still being sent: the client may see either.
        sending.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
        Readable.from(pieces()).pipe(sending);
      });
      expect([413, 'EPIPE', 'ECONNRESET']).toContain(status);
    }
    expect((await report(url, fullReport())).body).toEqual({ result: 'Succeeded' });
    expect((await ask(`${url}/v1/health`)).body).toMatchObject({ status: 'ok', rows_pending: 0, reports_stored: 1 });
  });
});

describe('a database that cannot keep up', () => {
  it('makes reporters wait with 429 and retry-after, and takes them again later', async () => {
    const gates: Deferred<void>[] = [];
    const slow: TelemetryStore = Object.assign(Object.create(store), {
      prune: async () => 0,
      storeReports: async (reports: unknown[]) => {
        const gate = deferred<void>();
        gates.push(gate);
        await gate.promise;
        return reports.map(() => ({ stored: true, rows: 6 }));
      },
    });
    const url = await start({ store: slow, rowsPendingMax: 10 });
    const sixRows = { sys_info: Array.from({ length: 6 }, () => ({ timestamp: 1 })) };
    const first = report(url, sixRows);
    await expect.poll(() => gates.length).toBe(1);
    const refused = await report(url, sixRows);
    expect([refused.status, refused.body.code, refused.headers.get('retry-after')]).toEqual([
      429,
      'COLLECTOR_BUSY',
      '1',
    ]);
    expect(refused.body.reason).toContain('6 rows wait for the database, 6 more would come, the bound is 10');
    const second = report(url, { sys_info: sixRows.sys_info.slice(0, 4) });
    await expect.poll(() => gates.length).toBe(2);
    expect((await report(url, {})).status).toBe(429);
    expect((await ask(`${url}/v1/health`)).body.rows_pending).toBe(10);
    for (const gate of gates) gate.resolve();
    expect([(await first).status, (await second).status]).toEqual([200, 200]);
    const alone = report(url, { sys_info: Array.from({ length: 50 }, () => ({ timestamp: 1 })) });
    await expect.poll(() => gates.length).toBe(3);
    gates[2]!.resolve();
    expect((await alone).status).toBe(200);
  });

  it('answers 503 while it is away, and says so', async () => {
    const away: TelemetryStore = Object.assign(Object.create(store), {
      prune: async () => 0,
      storeReports: async () => {
        throw new OrchestratorError('DATABASE_UNAVAILABLE', 'database reports.db: disk is full');
      },
    });
    const url = await start({ store: away });
    const failed = await report(url, fullReport());
    expect([failed.status, failed.body.code, failed.headers.get('retry-after')]).toEqual([
      503,
      'DATABASE_UNAVAILABLE',
      '1',
    ]);
    expect((await ask(`${url}/v1/health`)).body).toMatchObject({
      ...{ status: 'failing', rows_pending: 0, last_error: 'DATABASE_UNAVAILABLE: database reports.db: disk is full' },
    });
  });
});

describe('retention', () => {
  it('deletes what is too old, from the start on', async () => {
    await store.storeReports([reportInput(fullReport(), 1, 1)]);
    const young = { sys_info: [{ timestamp: Date.now() / 1000 }] };
    await store.storeReports([reportInput(young, 1, 1)]);
    await start({ retention: TELEMETRY_RETENTION });
    await expect.poll(() => countOf('link_info')).toBe(0);
    expect(await countOf('sys_info')).toBe(1);
  });
});

describe('queries', () => {
  it('answers read-only SQL and refuses anything else as problem+json', async () => {
    const url = await start();
    await report(url, fullReport());
    for (const statement of ['insert into sys_info values (1)', "attach 'x.db' as x", 'pragma user_version = 3']) {
      const refused = await sql(url, statement);
      expect([refused.status, refused.body.code]).toEqual([400, 'SQL_REFUSED']);
      expect(refused.headers.get('content-type')).toContain('application/problem+json');
      expect(refused.body.detail).toContain('not authorized');
    }
    expect((await ask(`${url}/v1/sql`, { method: 'POST' })).body).toMatchObject({ code: 'REQUEST_INVALID' });
    expect(await countOf('packet_info')).toBe(1);
  });

  it('answers series, and says what is not valid about a request for one', async () => {
    const url = await start();
    await report(url, { node_id: 1, sys_info: [0, 1, 2].map((at) => ({ timestamp: 6000 + at, cpu_util: 10 * at })) });
    const series = (query: string) => ask(`${url}/v1/series?table=sys_info&column=cpu_util&${query}`);
    expect((await series('from=6000&to=6002.5&step=2')).body).toEqual({
      ...{ table: 'sys_info', column: 'cpu_util', step_s: 2, from_rows_of: 'row', truncated: false },
      lines: [{ key: { node_id: 1 }, points: [[6000, 5], [6002, 20]] }], // biome-ignore format: a point a pair
    });
    expect((await series('from=6000&to=9000')).body).toMatchObject({ step_s: 10 });
    expect((await series('from=0&step=1')).body).toMatchObject({ status: 400, code: 'REQUEST_INVALID' });
    expect((await series('from=0&colour=red')).body).toMatchObject({ status: 400, code: 'REQUEST_INVALID' });
    expect((await ask(`${url}/v1/series?table=x%27&column=y&from=0&to=9`)).body.detail).toContain(
      'there are: sys_info',
    );
  });

  it('answers profiles, metrics, and 404', async () => {
    const url = await start();
    await report(url, fullReport());
    const profiles = await ask(`${url}/v1/profiles?since=100`);
    expect(profiles.body).toMatchObject([{ handler_type: 7, key: 'model=a', node_id: 1, samples: 1, service_ms: 1 }]);
    expect((await ask(`${url}/v1/profiles?since=1900000000`)).body).toEqual([]);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toContain('orchestrator_collector_rows_total 9');
    expect(metrics).toContain('orchestrator_collector_reports_total{result="stored"} 1');
    expect((await ask(`${url}/v2`)).body).toMatchObject({ status: 404, code: 'ROUTE_NOT_FOUND' });
  });
});

describe('token', () => {
  it('is needed for everything but health', async () => {
    const url = await start({ token: 's3cret' });
    const missing = await report(url, fullReport());
    expect([missing.status, missing.body]).toMatchObject([401, { result: 'Failed', code: 'TOKEN_MISSING' }]);
    const wrong = await report(url, fullReport(), { authorization: 'Bearer other' });
    expect([wrong.status, wrong.body.code]).toEqual([403, 'TOKEN_INVALID']);
    expect((await sql(url, 'select 1')).status).toBe(401);
    expect((await fetch(`${url}/metrics`)).status).toBe(401);
    expect((await fetch(`${url}/v1/health`)).status).toBe(200);
    expect((await report(url, fullReport(), { authorization: 'Bearer s3cret' })).status).toBe(200);
  });

  it('is needed to listen off loopback', async () => {
    await expect(start({ host: '0.0.0.0' })).rejects.toMatchObject({ code: 'TOKEN_REQUIRED' });
  });
});

describe('normalAddress', () => {
  it.each([
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:10.0.0.1', '10.0.0.1'],
    ['2001:0DB8:0:0::1', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['localhost', '127.0.0.1'],
    ['Edge.Local', 'edge.local'],
  ])('%s is %s', (address, normal) => expect(normalAddress(address)).toBe(normal));
});
