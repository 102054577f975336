/**
 * Rows of packet_info per second, on SQLite and on a MariaDB server of its own, everything with the keys of our schema and
 * an empty table: the engine's own bulk limit, our store called directly, the same while retention adds as many old rows to
 * the aggregates and deletes them, the whole collector over HTTP, and the reference's way (a statement per row, a commit per
 * report). On MariaDB also LOAD DATA LOCAL from this process, which is what our multi-row statements are chosen against.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { createPool, type QueryOptions } from 'mysql2/promise';
import { createCollector } from '#src/collector/collector.js';
import type { Report } from '#src/contracts/report.js';
import { encodeReport, REPORT_COLUMNS_TYPE } from '#src/contracts/report-columns.js';
import { systemClock } from '#src/std/clock.js';
import { silentLogger } from '#src/std/logger.js';
import { driverOptions, withConnection } from '#src/store/mysql/connection.js';
import { openMysqlTelemetryStore } from '#src/store/mysql/mysql-telemetry-store.js';
import { reportRows, unpackPackets } from '#src/store/report-rows.js';
import { openDatabase } from '#src/store/sqlite/connection.js';
import { openSqliteTelemetryStore } from '#src/store/sqlite/sqlite-telemetry-store.js';
import { type ReportInput, type SqlValue, TELEMETRY_RETENTION, type TelemetryStore } from '#src/store/store.js';
import { hasMariadb, startMariadb, type TestServer } from '../src/store/mysql/mariadb.testing.js';
import { type BenchCase, type BenchRow, runCases } from './harness.js';
import type { BenchContext } from './run.js';

const REPORTS = 20;
const ROWS_PER_REPORT = 5000;
/** Reporters that send at the same time. */
const REPORTERS = 8;
/** Rows of one commit where the bench commits by itself. */
const COMMIT_ROWS = 20_000;
const REFERENCE_ROWS = 5000;
const SQLITE_STATEMENT_ROWS = 256;

/** About when the rows of this bench are, s since the epoch. */
const OLDEST_S = 1_764_077_707;

const COLUMNS = 'timestamp, session_id, handler_id, sequence, event, size';

function reports(): Report[] {
  const events = ['start', 'end', 'sent', 'recv'] as const;
  return Array.from({ length: REPORTS }, (_, report) => ({
    node_id: 1 + (report % REPORTERS),
    report_id: `r${report}`,
    packet_info: Array.from({ length: ROWS_PER_REPORT }, (_, row) => {
      const index = report * ROWS_PER_REPORT + row;
      return {
        ...{ timestamp: 1764077707.1234567 + index / 1171, session_id: 1 + (report % REPORTERS), handler_id: row % 7 },
        ...{
          sequence: index >> 4,
          event: events[row & 3]!,
          size: row % 2 === 0 ? 40_000 + ((row * 7919) % 1000) : null,
        },
      };
    }),
  }));
}

const ALL = reports();
const INPUTS = () =>
  ALL.map((report) => ({
    nodeId: report.node_id!,
    reportId: report.report_id!,
    receivedAt: 1.7e9,
    rows: reportRows(1, report),
  }));
const ROWS: SqlValue[][] = INPUTS().flatMap(({ rows }) =>
  Array.from({ length: ROWS_PER_REPORT }, (_, row) => unpackPackets(rows.packets, row, row + 1)),
);

interface Engine {
  readonly name: string;
  /** Into an empty table; ms. */
  bulk(): Promise<number>;
  rowByRow(): Promise<number>;
  /** The engine's own way for bulk from a client, where it has one that we do not use; ms. */
  bulkFromHere?(): Promise<number>;
  /** An empty one. */
  openStore(): Promise<TelemetryStore>;
}

export async function run({ rounds, rawFile }: BenchContext): Promise<BenchRow[]> {
  const dir = mkdtempSync(join(tmpdir(), 'orchestrator-bench-'));
  const server = hasMariadb()
    ? await startMariadb(['--innodb-log-file-size=256M', '--innodb-buffer-pool-size=512M'])
    : null;
  try {
    const engines = [sqlite(dir), ...(server === null ? [] : [mariadb(dir, server)])];
    const rows: BenchRow[] = [];
    for (const engine of engines) {
      const cases = casesOf(engine);
      const reference = cases[0]!.name;
      rows.push(...(await runCases({ bench: 'store', cases, reference, units: { rows: 'rows/s' }, rounds, rawFile })));
    }
    return rows;
  } finally {
    await server?.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

function casesOf(engine: Engine): BenchCase[] {
  const { name } = engine;
  const per = (rows: number, ms: number) => ({ rows: (rows * 1000) / ms });
  const json = ALL.map((report) => Buffer.from(JSON.stringify(report)));
  const columns = ALL.map((report) => gzipSync(encodeReport(report), { level: 1 }));
  const packed = { 'content-type': REPORT_COLUMNS_TYPE, 'content-encoding': 'gzip' };
  return [
    { name: `${name}: the engine's own bulk limit`, measure: async () => per(ROWS.length, await engine.bulk()) },
    ...(engine.bulkFromHere === undefined
      ? []
      : [{ name: `${name}: LOAD DATA LOCAL`, measure: async () => per(ROWS.length, await engine.bulkFromHere!()) }]),
    { name: `${name}: our store, called directly`, measure: async () => per(ROWS.length, await direct(engine)) },
    {
      name: `${name}: the same during retention`,
      measure: async () => per(ROWS.length, await duringRetention(engine)),
    },
    {
      name: `${name}: collector over HTTP, columns`,
      measure: async () => per(ROWS.length, await overHttp(engine, columns, packed)),
    },
    {
      name: `${name}: collector over HTTP, JSON`,
      measure: async () => per(ROWS.length, await overHttp(engine, json, { 'content-type': 'application/json' })),
    },
    {
      name: `${name}: row by row, the reference's way`,
      measure: async () => per(REFERENCE_ROWS, await engine.rowByRow()),
    },
  ];
}

async function direct(engine: Engine): Promise<number> {
  const store = await engine.openStore();
  const ms = await storeAll(store, INPUTS());
  await store.close();
  return ms;
}

async function storeAll(store: TelemetryStore, inputs: readonly ReportInput[]): Promise<number> {
  const perBatch = COMMIT_ROWS / ROWS_PER_REPORT;
  const start = performance.now();
  for (let at = 0; at < inputs.length; at += perBatch) await store.storeReports(inputs.slice(at, at + perBatch));
  return performance.now() - start;
}

/** As many rows are too old as come in, which is what a collector meets day after day. */
async function duringRetention(engine: Engine): Promise<number> {
  const store = await engine.openStore();
  await storeAll(store, INPUTS());
  const again = INPUTS().map((input) => ({ ...input, reportId: `again ${input.reportId}` }));
  const pruning = store.prune(OLDEST_S + 365 * 86_400, { ...TELEMETRY_RETENTION, minutesS: 1e9, hoursS: 1e9 });
  const ms = await storeAll(store, again);
  await pruning;
  await store.close();
  return ms;
}

async function overHttp(engine: Engine, bodies: readonly Buffer[], headers: Record<string, string>): Promise<number> {
  const store = await engine.openStore();
  const node = { node_name: 'n', node_type: 'edge', node_addr: '127.0.0.1', node_port: 9000 } as const;
  const nodes = Array.from({ length: REPORTERS }, (_, index) => ({
    ...{ ...node, node_id: index + 1, labels: [], rtt_ms: 0.5, bandwidth_mbit: 1000 },
  }));
  const collector = await createCollector({
    ...{ host: '127.0.0.1', port: 0, token: null, insecure: false, logger: silentLogger, clock: systemClock() },
    ...{ store, nodes, retention: { ...TELEMETRY_RETENTION, rowsS: Number.POSITIVE_INFINITY } },
  });
  const url = `http://127.0.0.1:${collector.address.port}/`;
  const waiting = [...bodies];
  const reporter = async () => {
    for (let body = waiting.shift(); body !== undefined; body = waiting.shift()) {
      const answer = await fetch(url, { method: 'POST', headers, body });
      if (!answer.ok) throw new Error(`collector answered ${answer.status}: ${await answer.text()}`);
      await answer.arrayBuffer();
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: REPORTERS }, reporter));
  const ms = performance.now() - start;
  await collector.close();
  await store.close();
  return ms;
}

/** In this thread, with values that are flat already: what is left is SQLite. */
function sqlite(dir: string): Engine {
  let file = 0;
  const path = () => join(dir, `${file++}.db`);
  const timed = async (work: (db: ReturnType<typeof openDatabase>) => void) => {
    const db = openDatabase(path());
    const start = performance.now();
    work(db);
    const ms = performance.now() - start;
    db.close();
    return ms;
  };
  const insert = (rows: number) =>
    `INSERT INTO packet_info (${COLUMNS}) VALUES ${new Array(rows).fill('(?,?,?,?,?,?)').join(',')}`;
  return {
    name: 'SQLite',
    bulk: () => {
      const flat: SqlValue[][] = [];
      for (let at = 0; at < ROWS.length; at += SQLITE_STATEMENT_ROWS)
        flat.push(ROWS.slice(at, at + SQLITE_STATEMENT_ROWS).flat());
      return timed((db) => {
        const [full, last] = [SQLITE_STATEMENT_ROWS, ROWS.length % SQLITE_STATEMENT_ROWS].map((rows) =>
          db.prepare(insert(rows || 1)),
        );
        let rows = 0;
        db.exec('BEGIN IMMEDIATE');
        for (const values of flat) {
          (values.length === 6 * SQLITE_STATEMENT_ROWS ? full : last)!.run(...values);
          rows += values.length / 6;
          if (rows < COMMIT_ROWS) continue;
          db.exec('COMMIT; BEGIN IMMEDIATE');
          rows = 0;
        }
        db.exec('COMMIT');
      });
    },
    rowByRow: () =>
      timed((db) => {
        db.exec('BEGIN IMMEDIATE');
        for (const row of ROWS.slice(0, REFERENCE_ROWS)) db.prepare(insert(1)).run(...row);
        db.exec('COMMIT');
      }),
    openStore: () => openSqliteTelemetryStore({ path: path(), logger: silentLogger }),
  };
}

const linesOf = (rows: readonly (readonly SqlValue[])[]): string =>
  rows.map((row) => `${row.map((value) => value ?? '\\N').join('\t')}\n`).join('');

/** LOAD DATA of files that are there: what is left is the server. */
function mariadb(dir: string, server: TestServer): Engine {
  const options = server.options('reports');
  const empty = async () => {
    await withConnection(options, (connection) => connection.query('DROP DATABASE reports'));
    return openMysqlTelemetryStore(options);
  };
  const timed = async (work: (pool: ReturnType<typeof createPool>) => Promise<void>, flags: readonly string[] = []) => {
    await (await empty()).close();
    const pool = createPool({ ...driverOptions(options), connectionLimit: 1, flags: [...flags] });
    await pool.query('SELECT 1');
    const start = performance.now();
    await work(pool);
    const ms = performance.now() - start;
    await pool.end();
    return ms;
  };
  const files: string[] = [];
  for (let at = 0; at < ROWS.length; at += COMMIT_ROWS) {
    const file = join(dir, `${at}.txt`);
    writeFileSync(file, linesOf(ROWS.slice(at, at + COMMIT_ROWS)));
    files.push(file);
  }
  return {
    name: 'MariaDB',
    bulk: () =>
      timed(async (pool) => {
        for (const file of files) await pool.query(`LOAD DATA INFILE ? INTO TABLE packet_info (${COLUMNS})`, [file]);
      }),
    bulkFromHere: () =>
      timed(
        async (pool) => {
          for (let at = 0; at < ROWS.length; at += COMMIT_ROWS) {
            const sql = `LOAD DATA LOCAL INFILE 'rows' INTO TABLE packet_info (${COLUMNS})`;
            const infileStreamFactory = () => Readable.from([Buffer.from(linesOf(ROWS.slice(at, at + COMMIT_ROWS)))]);
            await pool.query({ sql, infileStreamFactory } as QueryOptions);
          }
        },
        ['+LOCAL_FILES'],
      ),
    rowByRow: () =>
      timed(async (pool) => {
        await pool.query('START TRANSACTION');
        for (const row of ROWS.slice(0, REFERENCE_ROWS)) {
          await pool.query(`INSERT INTO packet_info (${COLUMNS}) VALUES (?)`, [row]);
        }
        await pool.query('COMMIT');
      }),
    openStore: empty,
  };
}
