/**
 * `npm run soak -- [--seconds 600] [--rows 20000]`: reporters send rows at a set rate to a collector (a process of its own)
 * on a MariaDB server that is killed with -9 and started again twice. It passes when every acknowledged row is in the
 * database exactly once and the collector's memory stays flat. Reporters behave as ours do: what is refused or unanswered is
 * sent again, the same bytes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import type { RowDataPacket } from 'mysql2';
import { createCollectorClient } from '#src/client/collector-client.js';
import { iniText } from '#src/config/ini.js';
import { encodeReport, REPORT_COLUMNS_TYPE } from '#src/contracts/report-columns.js';
import { freePorts } from '#src/main/child-daemon.js';
import { cliEntry } from '#src/main/package-facts.js';
import { quantile } from '#src/std/quantile.js';
import { withConnection } from '#src/store/mysql/connection.js';
import { startMariadb } from '../src/store/mysql/mariadb.testing.js';

const REPORTERS = 10;
const KILLS = 2;
const DOWN_MS = 5_000;
const RETRY_MS = 500;
const SAMPLE_MS = 1_000;
/** Growth of the collector's memory from the first quarter to the last that still counts as flat. */
const GROWTH_MAX = 1.25;

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '600' }, rows: { type: 'string', default: '20000' } },
});
const [seconds, rate] = [Number(values.seconds), Number(values.rows)];
const rowsPerReport = Math.round(rate / REPORTERS);
const events = ['start', 'end', 'sent', 'recv'] as const;

interface Reporter {
  readonly session_id: number;
  acknowledged: number;
  resent: number;
}

const dir = mkdtempSync(join(tmpdir(), 'orchestrator-soak-'));
const server = await startMariadb(['--innodb-log-file-size=256M', '--innodb-buffer-pool-size=512M']);
const options = server.options('reports');
const [port] = (await freePorts(1)) as [number];
const collector = startCollector();
const client = createCollectorClient({ url: `http://127.0.0.1:${port}`, token: null });
const memoryMib: number[] = [];
const startedAt = performance.now();
const elapsedS = () => (performance.now() - startedAt) / 1000;
let over = false;

try {
  await untilUp();
  const reporters = Array.from(
    { length: REPORTERS },
    (_, index): Reporter => ({ session_id: index + 1, acknowledged: 0, resent: 0 }),
  );
  const sampler = sample();
  const killer = killAndRestart();
  await Promise.all(reporters.map(report));
  const tookS = elapsedS();
  over = true;
  await Promise.all([sampler, killer]);
  process.exitCode = await verdict(reporters, tookS);
} finally {
  over = true;
  collector.kill('SIGTERM');
  await client.close();
  await server.stop();
  rmSync(dir, { recursive: true, force: true });
}

function startCollector(): ChildProcess {
  mkdirSync(join(dir, 'nodes'));
  for (let node = 1; node <= REPORTERS; node++) {
    const file = {
      node_id: node,
      node_name: `n${node}`,
      node_type: 'server',
      node_addr: `10.0.0.${node}`,
      node_port: 9000,
    };
    writeFileSync(join(dir, 'nodes', `${node}.json`), JSON.stringify(file));
  }
  const { host, port: db_port, user, password, schema } = options;
  const conf = join(dir, 'collector.conf');
  writeFileSync(
    conf,
    iniText({
      collector: { collector_addr: '127.0.0.1', collector_port: port, node_path: join(dir, 'nodes') },
      database: { db_addr: host, db_port, db_user: user, db_passwd: password, db_schema: schema },
    }),
  );
  const args = [cliEntry(), 'collector', conf, '--until-stdin-ends', '--log-level', 'error'];
  return spawn(process.execPath, args, { stdio: ['pipe', 'ignore', 'ignore'] });
}

async function untilUp(): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await client.health();
      return;
    } catch (error) {
      if (attempt > 100) throw error;
      await sleep(100);
    }
  }
}

/** Sends what is due until the time is over, and then what is left. */
async function report(reporter: Reporter): Promise<void> {
  for (let count = 0; count < seconds; count++) {
    const dueS = count + reporter.session_id / REPORTERS;
    if (dueS > elapsedS()) await sleep((dueS - elapsedS()) * 1000);
    const from = count * rowsPerReport;
    const packet_info = Array.from({ length: rowsPerReport }, (_, row) => ({
      ...{ timestamp: Date.now() / 1000 + row / rowsPerReport, session_id: reporter.session_id, handler_id: 1 },
      ...{ sequence: from + row, event: events[row & 3]!, size: row & 1 ? 40_000 : null },
    }));
    const body = { node_id: reporter.session_id, report_id: `${reporter.session_id}-${count}`, packet_info };
    const bytes = gzipSync(encodeReport(body), { level: 1 });
    while (!(await sent(bytes))) {
      reporter.resent += 1;
      await sleep(RETRY_MS);
    }
    reporter.acknowledged += rowsPerReport;
  }
}

async function sent(bytes: Buffer): Promise<boolean> {
  try {
    await client.report({ bytes, gzip: true, type: REPORT_COLUMNS_TYPE });
    return true;
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (['COLLECTOR_BUSY', 'DATABASE_UNAVAILABLE', 'SERVICE_UNREACHABLE'].includes(code ?? '')) return false;
    throw new Error(`a report was refused: ${message}`);
  }
}

async function killAndRestart(): Promise<void> {
  for (let kill = 1; kill <= KILLS; kill++) {
    const atS = (kill * seconds) / (KILLS + 1);
    await sleep(Math.max(0, atS - elapsedS()) * 1000);
    await server.kill();
    console.log(`${elapsedS().toFixed(1)} s  mariadbd killed with -9`);
    await sleep(DOWN_MS);
    await server.start();
    console.log(`${elapsedS().toFixed(1)} s  mariadbd is back`);
  }
}

async function sample(): Promise<void> {
  while (!over) {
    const rss = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${collector.pid}/status`, 'utf8'))?.[1];
    memoryMib.push(Number(rss) / 1024);
    await sleep(SAMPLE_MS);
  }
}

async function verdict(reporters: readonly Reporter[], tookS: number): Promise<number> {
  const stored = await withConnection(options, async (connection) => {
    const sql = `SELECT session_id, count(*) AS stored, count(DISTINCT sequence) AS different, max(sequence) AS highest
      FROM packet_info WHERE handler_id = 1 GROUP BY session_id`;
    return (await connection.query<RowDataPacket[]>(sql))[0];
  });
  const acknowledged = reporters.reduce((sum, one) => sum + one.acknowledged, 0);
  const exact = reporters.every(({ session_id, acknowledged: rows }) => {
    const found = stored.find((one) => one.session_id === session_id);
    return found?.stored === rows && found.different === rows && found.highest === rows - 1;
  });
  const quarter = Math.max(1, Math.floor(memoryMib.length / 4));
  const [first, last] = [memoryMib.slice(quarter, 2 * quarter), memoryMib.slice(-quarter)].map((part) =>
    quantile(part, 0.5),
  );
  const flat = last! <= first! * GROWTH_MAX;
  console.log(
    `acknowledged        ${acknowledged} rows in ${tookS.toFixed(0)} s (${Math.round(acknowledged / tookS)} rows/s)`,
  );
  console.log(
    `in the database     ${stored.reduce((sum, one) => sum + one.stored, 0)} rows, each acknowledged one once: ${exact ? 'yes' : 'NO'}`,
  );
  console.log(
    `sent again          ${reporters.reduce((sum, one) => sum + one.resent, 0)} reports, after refusals and lost answers`,
  );
  console.log(
    `collector's memory  ${first!.toFixed(0)} MiB in the second quarter, ${last!.toFixed(0)} MiB in the last, ${Math.max(...memoryMib).toFixed(0)} MiB at most: ${flat ? 'flat' : 'GROWING'}`,
  );
  return exact && flat ? 0 : 1;
}
