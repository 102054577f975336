import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { DatabaseSync } from '@photostructure/sqlite';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../../std/logger.js';
import { fullReport, reportInput, stateStoreConformance, telemetryStoreConformance } from '../conformance.testing.js';
import { rollupConformance } from '../rollup-conformance.testing.js';
import { SQL_ROWS_MAX, TELEMETRY_TABLES, type TelemetryStore } from '../store.js';
import { MIGRATIONS, migrate } from './migrations.js';
import { openSqliteStateStore } from './sqlite-state-store.js';
import { openSqliteTelemetryStore } from './sqlite-telemetry-store.js';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sqlite-store-'));
  path = join(directory, 'data', 'reports.db');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('sqlite', () => {
  stateStoreConformance(() => openSqliteStateStore({ path, logger: silentLogger }));
  telemetryStoreConformance(() => openSqliteTelemetryStore({ path, logger: silentLogger }));
  rollupConformance(() => openSqliteTelemetryStore({ path, logger: silentLogger }));
});

describe('sqlite file', () => {
  it('can be opened by several at once, and keeps what it was told', async () => {
    const options = { path, logger: silentLogger };
    const stores = await Promise.all([1, 2, 3, 4].map(() => openSqliteStateStore(options)));
    const telemetry = await openSqliteTelemetryStore(options);
    const epochs = await Promise.all(stores.map((store) => store.nextEpoch()));
    expect(epochs.sort()).toEqual([1, 2, 3, 4]);
    await telemetry.storeReports([reportInput(fullReport(), 1, 1)]);
    await Promise.all([...stores, telemetry].map((store) => store.close()));
    const reopened = await openSqliteStateStore(options);
    expect(await reopened.nextEpoch()).toBe(5);
    await reopened.close();
  });

  it('is refused when it cannot be opened, is no database, or is newer than the program', async () => {
    const open = (file: string) => openSqliteStateStore({ path: file, logger: silentLogger });
    writeFileSync(
      join(directory, 'file'),
      'this is no database at all, but it is long enough to be read as one'.repeat(20),
    );
    await expect(open(join(directory, 'file', 'x.db'))).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await expect(open(join(directory, 'file'))).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await (await open(path)).close();
    const db = new DatabaseSync(path);
    db.exec(`INSERT INTO schema_version VALUES (${MIGRATIONS.length + 1}, 'later')`);
    db.close();
    await expect(open(path)).rejects.toThrow(/newer program/);
  });

  it('is left as it was when a migration fails', () => {
    const db = new DatabaseSync(':memory:');
    expect(() => migrate(db, ['CREATE TABLE a (x)', 'CREATE TABLE b (y); nonsense'])).toThrow(/nonsense/);
    expect(db.prepare('SELECT name FROM sqlite_master').all()).toEqual([]);
    migrate(db, ['CREATE TABLE a (x)']);
    migrate(db, ['CREATE TABLE a (x)', 'CREATE TABLE b (y)']);
    expect(db.prepare('SELECT max(version) AS v FROM schema_version').get()).toEqual({ v: 2 });
    db.close();
  });

  it('keeps the rows of an older schema', async () => {
    mkdirSync(join(directory, 'data'));
    const db = new DatabaseSync(path);
    migrate(db, MIGRATIONS.slice(0, 2));
    db.exec('INSERT INTO link_info VALUES (1, 1, 0, 1, 2, 3, 10, 1000, 1.5)');
    db.close();
    const store = await openSqliteTelemetryStore({ path, logger: silentLogger });
    const [link] = await store.recent('link_info', { limit: 1 });
    expect(link).toMatchObject({ latency_ms: 1.5, rtt_ms: null, mbit_per_s: null });
    await store.close();
  });
});

describe('sqlite thread', () => {
  it('rejects what was pending when it ends, and is started again', async () => {
    const workers: Worker[] = [];
    const onWorker = (worker: Worker) => workers.push(worker);
    process.on('worker', onWorker);
    const store = await openSqliteStateStore({ path, logger: silentLogger });
    process.off('worker', onWorker);
    expect(await store.nextEpoch()).toBe(1);
    // Asked after it was told to end and before anybody knows that it has: nobody is left to answer.
    const ended = workers[0]!.terminate();
    await expect(store.nextEpoch()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await ended;
    await vi.waitFor(async () => expect(await store.nextEpoch()).toBeGreaterThan(1), 20_000);
    await store.close();
    await expect(store.nextEpoch()).rejects.toThrow(/closed/);
  });
});

describe('sql', () => {
  let store: TelemetryStore;
  const own = mkdtempSync(join(tmpdir(), 'sqlite-sql-'));
  const file = join(own, 'reports.db');
  beforeAll(async () => {
    store = await openSqliteTelemetryStore({ path: file, logger: silentLogger });
    await store.storeReports([reportInput(fullReport(), 1, 1)]);
  });
  afterAll(async () => {
    await store.close();
    rmSync(own, { recursive: true, force: true });
  });

  it('answers queries with the columns as they are named, twice the same name included', async () => {
    expect(await store.sql('SELECT session_ID, Event, event, size AS "Bytes" FROM packet_info; -- the end')).toEqual({
      columns: ['session_id', 'event', 'event', 'Bytes'],
      rows: [[1, 'recv', 'recv', 1234]],
      truncated: false,
    });
    for (const [table, columns] of Object.entries(TELEMETRY_TABLES)) {
      expect((await store.sql(`select * from ${table}`)).columns).toEqual(columns);
    }
    expect((await store.sql("values (9007199254740993, 1.5, null, 9e999), (1, x'0aff', 2, 3)")).rows).toEqual([
      ['9007199254740993', 1.5, null, 'Infinity'],
      [1, '0aff', 2, 3],
    ]);
    expect((await store.sql('pragma table_info(packet_info)')).rows).toHaveLength(6);
  });

  it.each([
    ['insert into sys_info (timestamp, node_id) values (1, 1)', /not authorized/],
    ['delete from packet_info', /not authorized/],
    ['update packet_info set size = 0', /not authorized/],
    ['drop table packet_info', /not authorized/],
    ['create temp table t (x)', /not authorized/],
    ["attach 'other.db' as other", /not authorized/],
    ["vacuum into 'copy.db'", /authoriz/],
    ['pragma journal_mode = delete', /not authorized/],
    ['begin', /not authorized/],
    ["select load_extension('x')", /not authorized/],
    ['select 1; select 2', /one statement/],
    ["select ';' /* ; */; delete from packet_info", /one statement/],
    ['select 1\u0000; delete from packet_info', /./],
    ['select ? + :a', /parameters/],
    ['', /empty/],
    ['selec 1', /syntax error/],
    ['select colour from packet_info', /no such column: colour/],
    ['select zeroblob(100000000)', /too big/],
  ])('refuses %j', async (statement, message) => {
    const refused = store.sql(statement);
    await expect(refused).rejects.toMatchObject({ code: 'SQL_REFUSED' });
    await expect(refused).rejects.toThrow(message);
    expect(await store.recent('packet_info', { limit: 5 })).toHaveLength(1);
  });

  it('cuts long answers', async () => {
    const count = (n: number) =>
      `with recursive c(x) as (select 1 union all select x + 1 from c where x < ${n}) select x`;
    const exact = await store.sql(`${count(SQL_ROWS_MAX)} from c`);
    expect([exact.rows.length, exact.truncated]).toEqual([SQL_ROWS_MAX, false]);
    const over = await store.sql(`${count(SQL_ROWS_MAX + 1)} from c`);
    expect([over.rows.length, over.truncated]).toEqual([SQL_ROWS_MAX, true]);
    const wide = await store.sql(`${count(100)}, printf('%.*c', 1000000, 'x') from c`);
    expect([wide.rows.length, wide.truncated]).toEqual([16, true]);
  });

  it('ends a statement that takes too long, and answers the next', async () => {
    const hurried = await openSqliteTelemetryStore({ path: file, logger: silentLogger, sqlTimeMsMax: 3000 });
    const endless = hurried.sql(
      'with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c',
    );
    const next = hurried.sql('select 1');
    const report = hurried.storeReports([reportInput({ sys_info: [] }, 1, 1)]);
    await expect(report).resolves.toMatchObject([{ stored: true }]);
    await expect(endless).rejects.toThrow(/longer than 3000 ms/);
    expect((await next).rows).toEqual([[1]]);
    await hurried.close();
  });

  it('bounds the statements that wait', async () => {
    const settled = await Promise.allSettled(Array.from({ length: 30 }, () => store.sql('select 1')));
    const refused = settled.filter((result) => result.status === 'rejected');
    expect(refused).toHaveLength(30 - 17);
  });

  it('leaves no trace of a query in the log of the database', async () => {
    await store.sql('select * from packet_info');
    const bytes = readFileSync(`${file}-wal`).length;
    await store.sql('select * from packet_info');
    expect(readFileSync(`${file}-wal`).length).toBe(bytes);
  });
});
