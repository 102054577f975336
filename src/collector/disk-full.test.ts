/** A disk that fills while reports come in: refused with the cause, said, nothing acknowledged lost, and on when there is room. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { NodeFile } from '../contracts/node.js';
import type { Report } from '../contracts/report.js';
import { systemClock } from '../std/clock.js';
import { type Logger, silentLogger } from '../std/logger.js';
import { reportInput } from '../store/conformance.testing.js';
import { hasMariadb, startMariadb } from '../store/mysql/mariadb.testing.js';
import { openMysqlTelemetryStore } from '../store/mysql/mysql-telemetry-store.js';
import { databaseError, openDatabase } from '../store/sqlite/connection.js';
import { openSqliteTelemetryStore } from '../store/sqlite/sqlite-telemetry-store.js';
import { telemetryOperations } from '../store/sqlite/telemetry-operations.js';
import { TELEMETRY_RETENTION, type TelemetryStore } from '../store/store.js';
import { createCollector } from './collector.js';

const ROWS = 2000;
/** Reports that are tried at most: 100 MB of rows. */
const REPORTS_MAX = 800;
const NODE: NodeFile = {
  ...{ node_id: 1, node_name: 'n', node_type: 'edge', node_addr: '127.0.0.1', node_port: 9000 },
  ...{ labels: [], rtt_ms: 0.5, bandwidth_mbit: 1000 },
};
const MIB = 1024 * 1024;

function reportOf(number: number): Report {
  const place = { timestamp: Date.now() / 1000, session_id: number, handler_id: 1 };
  const packet_info = Array.from({ length: ROWS }, (_, sequence) => ({ ...place, sequence, event: 'end' as const }));
  return { node_id: 1, report_id: `r${number}`, packet_info };
}

/** Reports until the store is full, then makes room and sends the refused one again; what the log said. */
async function fillAndGoOn(store: TelemetryStore, makeRoom: () => Promise<void> | void): Promise<string[]> {
  const said: string[] = [];
  const tell = (fields: object, message: string) => void said.push(`${message} ${JSON.stringify(fields)}`);
  const logger = { debug() {}, info: tell, warn: tell, error: tell, child: () => logger } as unknown as Logger;
  const collector = await createCollector({
    ...{ host: '127.0.0.1', port: 0, token: null, store, nodes: [NODE], clock: systemClock(), logger },
    retention: { ...TELEMETRY_RETENTION, rowsS: 1e9 },
  });
  const { url } = collector.address;
  const send = async (number: number) => {
    const answer = await fetch(`${url}/`, { method: 'POST', body: JSON.stringify(reportOf(number)) });
    return { status: answer.status, body: (await answer.json()) as { code?: string; reason?: string } };
  };
  const health = async () => (await (await fetch(`${url}/v1/health`)).json()) as Record<string, unknown>;
  try {
    let number = 0;
    let answer = await send(number);
    while (answer.status === 200 && number < REPORTS_MAX) answer = await send(++number);
    expect([answer.status, answer.body.code]).toEqual([503, 'DATABASE_UNAVAILABLE']);
    expect(answer.body.reason).toMatch(/full/);
    expect(await health()).toMatchObject({ status: 'failing', last_error: expect.stringContaining('full') });
    expect((await send(number)).status).toBe(503);
    await makeRoom();
    await expect.poll(async () => (await send(number)).status).toBe(200);
    expect(await health()).toMatchObject({ status: 'ok' });
    const { rows } = await store.sql('select session_id, count(*) from packet_info group by 1 order by 1');
    expect(rows).toEqual(Array.from({ length: number + 1 }, (_, session) => [session, ROWS]));
  } finally {
    await collector.close();
    await store.close();
  }
  return said;
}

const mount = (directory: string) =>
  spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${12 * MIB}`, 'tmpfs', directory]).status === 0;
const unmount = (directory: string) => spawnSync('umount', ['-l', directory]);

/** Without the right to mount, the test with a quota of pages says the same of the engine. */
function canMount(): boolean {
  const directory = mkdtempSync(join(tmpdir(), 'mount-'));
  const mounted = mount(directory);
  if (mounted) unmount(directory);
  rmdirSync(directory);
  return mounted;
}

describe('a full disk', () => {
  it.runIf(canMount())('is survived and said by a collector on SQLite', async () => {
    const disk = mkdtempSync(join(tmpdir(), 'disk-full-'));
    mount(disk);
    try {
      const ballast = join(disk, 'ballast');
      const store = await openSqliteTelemetryStore({ path: join(disk, 'reports.db'), logger: silentLogger });
      writeFileSync(ballast, Buffer.alloc(6 * MIB));
      const said = await fillAndGoOn(store, () => unlinkSync(ballast));
      expect(said.filter((line) => line.startsWith('reports cannot be stored'))).toEqual([
        expect.stringContaining('full'),
      ]);
      expect(said.filter((line) => line.startsWith('reports are stored again'))).toHaveLength(1);
    } finally {
      unmount(disk);
      rmdirSync(disk);
    }
  });

  it('undoes the report that did not fit, all of it, and no other', () => {
    const own = mkdtempSync(join(tmpdir(), 'disk-quota-'));
    const path = join(own, 'reports.db');
    const db = openDatabase(path);
    const pagesMax = (pages: number) => db.prepare(`PRAGMA max_page_count = ${pages}`).get();
    try {
      pagesMax(500);
      const { storeReports } = telemetryOperations(db);
      const store = (number: number) => storeReports([reportInput(reportOf(number), 1, 1)]);
      let stored = 0;
      let fault: unknown = null;
      while (fault === null && stored < REPORTS_MAX) {
        try {
          store(stored);
          stored += 1;
        } catch (error) {
          fault = error;
        }
      }
      expect(databaseError(fault, path)).toMatchObject({
        code: 'DATABASE_UNAVAILABLE',
        message: expect.stringContaining('full'),
      });
      const rows = () => (db.prepare('SELECT count(*) AS n FROM packet_info').get() as { n: number }).n;
      expect([stored > 0, rows()]).toEqual([true, stored * ROWS]);
      pagesMax(5000);
      expect(store(stored)).toEqual([{ stored: true, rows: ROWS }]);
      expect(rows()).toBe((stored + 1) * ROWS);
    } finally {
      db.close();
      rmSync(own, { recursive: true, force: true });
    }
  });

  it.runIf(hasMariadb())('is survived and said by a collector on MariaDB', async () => {
    const server = await startMariadb([
      ...['--innodb-file-per-table=0', '--innodb-data-file-path=ibdata1:12M;ibdata2:12M'],
    ]);
    try {
      const options = server.options('reports');
      const ballast = await openMysqlTelemetryStore({ ...options, schema: 'ballast' });
      for (let number = 0; number < 10; number++) await ballast.storeReports([reportInput(reportOf(number), 1, 1)]);
      const store = await openMysqlTelemetryStore(options);
      await fillAndGoOn(store, async () => {
        await ballast.prune(Date.now() / 1000, { ...TELEMETRY_RETENTION, rowsS: -1000 });
      });
      await ballast.close();
    } finally {
      await server.stop();
    }
  });
});
