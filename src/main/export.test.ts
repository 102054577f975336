/** Export of real databases, read back: every row and every figure, from both engines and in both formats. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { iniText } from '../config/ini.js';
import type { Report } from '../contracts/report.js';
import { silentLogger } from '../std/logger.js';
import { fullReport, reportInput } from '../store/conformance.testing.js';
import { hasMariadb, startMariadb, type TestServer } from '../store/mysql/mariadb.testing.js';
import { openMysqlTelemetryStore } from '../store/mysql/mysql-telemetry-store.js';
import { openSqliteTelemetryStore } from '../store/sqlite/sqlite-telemetry-store.js';
import { TELEMETRY_RETENTION, TELEMETRY_TABLE_NAMES, TELEMETRY_TABLES, type TelemetryStore } from '../store/store.js';
import { csvValue, type ExportOptions, exportTable } from './export.js';

const T0 = 1_700_000_000;
/** More than two pages. */
const PACKETS = 25_000;
const NOW = T0 + PACKETS;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'export-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function fill(store: TelemetryStore): Promise<void> {
  const packet_info = Array.from({ length: PACKETS }, (_, sequence) => ({
    ...{ timestamp: T0 + sequence + 0.25, session_id: 1 + (sequence % 2), handler_id: 3, sequence },
    ...{ event: 'sent' as const, size: sequence === 7 ? null : Number.MAX_SAFE_INTEGER - sequence },
  }));
  const reports: Report[] = [{ ...fullReport(), packet_info: [] }, { packet_info }];
  await store.storeReports(reports.map((report) => reportInput(report, 1, T0)));
  await store.prune(NOW, { ...TELEMETRY_RETENTION, rowsS: 1e9, minutesS: 1e9 });
  await store.close();
}

const to = (options: Partial<ExportOptions> & Pick<ExportOptions, 'table' | 'format'>) => {
  const out = join(dir, `${options.table}.${options.format}`);
  const rows = exportTable({ out, now: NOW, onSource() {}, onRows() {}, ...options });
  return { out, rows };
};
const parquet = async (file: string) => parquetReadObjects({ file: await asyncBufferFromFile(file) });

function exports(database: () => { database?: string; config?: string }): void {
  test('csv', async () => {
    const { out, rows } = to({ ...database(), table: 'packet_info', format: 'csv' });
    expect(await rows).toBe(PACKETS);
    const lines = readFileSync(out, 'utf8').split('\r\n');
    expect(lines.length).toBe(PACKETS + 2);
    expect([lines[0], lines[1], lines[8], lines.at(-2)]).toEqual([
      'timestamp,session_id,handler_id,sequence,event,size',
      `${T0}.25,1,3,0,sent,${Number.MAX_SAFE_INTEGER}`,
      `${T0 + 7}.25,2,3,7,sent,`,
      `${T0 + PACKETS - 1}.25,2,3,${PACKETS - 1},sent,${Number.MAX_SAFE_INTEGER - PACKETS + 1}`,
    ]);
  });

  test('parquet, of lately and of one session', async () => {
    const { out, rows } = to({ ...database(), table: 'packet_info', format: 'parquet', lastS: 100, session_id: 2 });
    expect(await rows).toBe(50);
    const found = await parquet(out);
    expect(found.length).toBe(50);
    expect(found[49]).toEqual({
      ...{ timestamp: NOW - 0.75, session_id: 2n, handler_id: 3n, sequence: BigInt(PACKETS - 1), event: 'sent' },
      size: BigInt(Number.MAX_SAFE_INTEGER - PACKETS + 1),
    });
  });

  test('parquet of every row, of every table, and of aggregates', async () => {
    const whole = to({ ...database(), table: 'packet_info', format: 'parquet' });
    expect(await whole.rows).toBe(PACKETS);
    expect(new Set((await parquet(whole.out)).map(({ sequence }) => sequence)).size).toBe(PACKETS);
    for (const table of TELEMETRY_TABLE_NAMES.filter((name) => name !== 'packet_info')) {
      const { out, rows } = to({ ...database(), table, format: 'parquet' });
      const written = await rows;
      const found = await parquet(out);
      expect([written, found.length, Object.keys(found[0]!)]).toEqual([
        ...[found.length, table === 'gpu_info' ? 3 : 1, TELEMETRY_TABLES[table]],
      ]);
    }
    const { out, rows } = to({ ...database(), table: 'packet_info_minute', format: 'parquet' });
    const written = await rows;
    const minutes = await parquet(out);
    expect(written).toBe(minutes.length);
    expect(minutes.reduce((sum, row) => sum + Number(row.packets), 0)).toBe(PACKETS);
  });

  test('an empty choice is a file without rows', async () => {
    const { out, rows } = to({ ...database(), table: 'sys_info', format: 'parquet', lastS: 1 });
    expect([await rows, await parquet(out)]).toEqual([0, []]);
  });
}

describe('sqlite', () => {
  const path = () => join(dir, 'reports.db');
  beforeAll(async () => fill(await openSqliteTelemetryStore({ path: path(), logger: silentLogger })));
  exports(() => ({ database: path() }));

  test('what cannot be exported is refused, and no half file is left', async () => {
    const at = { database: path(), format: 'csv' } as const;
    await expect(to({ ...at, table: 'packet_info; drop' }).rows).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    await expect(to({ ...at, table: 'sys_info', session_id: 1 }).rows).rejects.toThrow(/sys_info has no session_id/);
    const out = join(dir, 'no', 'such.csv');
    await expect(to({ ...at, table: 'sys_info', out }).rows).rejects.toMatchObject({ code: 'FILE_UNWRITABLE' });
    const gone = { ...at, database: join(dir, 'gone.db') };
    await expect(to({ ...gone, table: 'sys_info' }).rows).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    expect([existsSync(out), readdirSync(dir).filter((name) => name.endsWith('.part'))]).toEqual([false, []]);
  });
});

describe.runIf(hasMariadb())('mariadb', () => {
  let server: TestServer;
  const config = () => join(dir, 'collector.conf');
  beforeAll(async () => {
    server = await startMariadb();
    const options = server.options('reports');
    await fill(await openMysqlTelemetryStore(options));
    const { host, port, user, password } = options;
    const database = { db_addr: host, db_port: port, db_user: user, db_passwd: password };
    writeFileSync(config(), iniText({ collector: { node_path: dir }, database }));
  });
  afterAll(() => server?.stop());
  exports(() => ({ config: config() }));
});

test('csv quotes what needs it', () => {
  expect(['a,b', 'it is "x"', 'two\nlines', 'plain', null, 1.5].map(csvValue)).toEqual([
    ...['"a,b"', '"it is ""x"""', '"two\nlines"', 'plain', '', '1.5'],
  ]);
});
