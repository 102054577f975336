import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { OrchestratorError } from '../../contracts/errors.js';
import { fullReport, reportInput, stateStoreConformance, telemetryStoreConformance } from '../conformance.testing.js';
import { rollupConformance } from '../rollup-conformance.testing.js';
import { SQL_ROWS_MAX, TELEMETRY_TABLES, type TelemetryStore } from '../store.js';
import { type MysqlStoreOptions, withConnection } from './connection.js';
import { hasMariadb, startMariadb, type TestServer } from './mariadb.testing.js';
import { MYSQL_MIGRATIONS, migrate, schemaVersion } from './migrations.js';
import { openMysqlStateStore } from './mysql-state-store.js';
import { openMysqlTelemetryStore } from './mysql-telemetry-store.js';

describe.runIf(hasMariadb())('mysql', () => {
  let server: TestServer;
  let options: MysqlStoreOptions;
  beforeAll(async () => {
    server = await startMariadb();
  });
  afterAll(() => server.stop());
  beforeEach(() => {
    options = server.options(`reports-${randomUUID()}`);
  });
  afterEach(() => statements(options, [`DROP DATABASE IF EXISTS \`${options.schema}\``]));

  stateStoreConformance(() => openMysqlStateStore(options));
  telemetryStoreConformance(() => openMysqlTelemetryStore(options));
  rollupConformance(() => openMysqlTelemetryStore(options));

  describe('schema', () => {
    it('can be opened by several at once, and keeps what it was told', async () => {
      const stores = await Promise.all([1, 2, 3, 4].map(() => openMysqlStateStore(options)));
      const telemetry = await openMysqlTelemetryStore(options);
      const epochs = await Promise.all(stores.map((store) => store.nextEpoch()));
      expect(epochs.sort()).toEqual([1, 2, 3, 4]);
      const ids = await Promise.all(stores.map((store) => store.nextSessionId()));
      expect(ids.sort()).toEqual([1, 2, 3, 4]);
      await telemetry.storeReports([reportInput(fullReport(), 1, 1)]);
      await Promise.all([...stores, telemetry].map((store) => store.close()));
      await expect(stores[0]!.nextEpoch()).rejects.toThrow(/closed/);
      const reopened = await openMysqlStateStore(options);
      expect(await reopened.nextEpoch()).toBe(5);
      await reopened.close();
    });

    it('takes over a schema that the reference made, and keeps its rows', async () => {
      await statements(options, [...REFERENCE_SQL, ...REFERENCE_ROWS]);
      const store = await openMysqlTelemetryStore(options);
      onTestFinished(() => store.close());
      const gpu = { gpu_util: null, gpu_mem_util: null };
      expect(await store.recent('sys_info', { limit: 9 })).toEqual([
        {
          timestamp: 1.5,
          node_id: 7,
          cpu_util: 12.5,
          mem_total: 16000,
          mem_util: 40,
          ...gpu,
          gpu_clock: null,
          gpu_power: 70,
        },
      ]);
      expect(await store.recent('proc_info', { limit: 9 })).toEqual([
        { timestamp: 1.5, session_id: 3, handler_id: 4, cpu_util: 99.5, mem_util: null, ...gpu },
      ]);
      const packets = [1, 2].map((sequence) => ({
        timestamp: 2,
        session_id: 3,
        handler_id: 4,
        sequence,
        event: 'start',
        size: null,
      }));
      expect(await store.recent('packet_info', { limit: 9 })).toEqual(packets);
      // What the reference's primary key refused.
      const twice = { timestamp: 2, session_id: 3, handler_id: 4, sequence: 1, event: 'end' as const };
      await store.storeReports([reportInput({ packet_info: [twice, twice] }, 7, 2)]);
      expect((await store.sql('select * from packet_info')).columns).toEqual([...TELEMETRY_TABLES.packet_info]);
      expect((await store.sql('select count(*) from packet_info')).rows).toEqual([[4]]);
      expect((await store.sql('select node_ID from sys_info')).rows).toEqual([[7]]);
    });

    it('has the reference’s types, and an index for every query of the program', async () => {
      const store = await openMysqlTelemetryStore(options);
      onTestFinished(() => store.close());
      const types = async (table: string) =>
        (await store.sql(`show columns from ${table}`)).rows.map(
          ([name, type]) => `${name} ${String(type).replace(/\(\d+\)/, '')}`,
        );
      expect((await types('sys_info')).slice(0, -1)).toEqual([
        ...['timestamp double', 'node_id int', 'cpu_util float', 'mem_total int', 'mem_util float', 'gpu_util int'],
        ...['gpu_mem_util int', 'gpu_clock int', 'gpu_power int'],
      ]);
      expect((await types('packet_info')).slice(0, -1)).toEqual([
        ...['timestamp double', 'session_id int', 'handler_id int', 'sequence bigint', 'event varchar', 'size bigint'],
      ]);
      for (const query of [
        'select * from packet_info where timestamp >= 5 order by timestamp desc limit 5',
        'select * from packet_info where session_id = 1 and handler_id = 2 and sequence = 3',
        'select * from proc_info where session_id = 1 and handler_id = 2 order by timestamp desc limit 1',
      ]) {
        const { columns, rows } = await store.sql(`explain ${query}`);
        expect(rows[0]![columns.indexOf('possible_keys')], query).not.toBeNull();
      }
    });

    it('is refused when it is newer than the program, and finished when a migration was cut off', async () => {
      const [first, second] = MYSQL_MIGRATIONS as [never, never];
      const broken = () => Promise.reject(new Error('cut off'));
      await expect(
        withConnection(options, (db, flavour) => migrate(db, flavour, { ...options, steps: [first, broken] })),
      ).rejects.toThrow(/cut off/);
      expect(await withConnection(options, (db) => schemaVersion(db))).toBe(1);
      await withConnection(options, (db, flavour) => migrate(db, flavour, { ...options, steps: [first, second] }));
      await statements(options, [`INSERT INTO schema_version VALUES (${MYSQL_MIGRATIONS.length + 1}, 'later')`]);
      await expect(openMysqlStateStore(options)).rejects.toThrow(/newer program/);
    });
  });

  it('gives the lease to one at a time, and an epoch to nobody else', async () => {
    const stores = await Promise.all([1, 2, 3].map(() => openMysqlStateStore(options)));
    const claim = (index: number, leaseMs = 60_000) =>
      stores[index]!.lease!.claim({ holder: `h${index}`, url: `http://c${index}`, leaseMs });
    const answers = await Promise.all([0, 1, 2].map((index) => claim(index)));
    const first = answers.findIndex(({ held }) => held);
    expect(answers.filter(({ held }) => held)).toHaveLength(1);
    const [second, third] = [0, 1, 2].filter((index) => index !== first) as [number, number];
    expect(await claim(second)).toEqual({ held: false, leader: `http://c${first}` });
    expect(await claim(first)).toEqual({ held: true, leader: `http://c${first}` });
    expect(await stores[first]!.nextEpoch(`h${first}`)).toBe(1);
    await expect(stores[second]!.nextEpoch(`h${second}`)).rejects.toMatchObject({ code: 'NOT_LEADER' });

    await stores[second]!.lease!.release(`h${second}`);
    expect(await claim(second)).toMatchObject({ held: false });
    await stores[first]!.lease!.release(`h${first}`);
    expect(await claim(second, 1)).toMatchObject({ held: true });
    await vi.waitFor(async () => expect(await claim(third)).toMatchObject({ held: true }), 20_000);
    expect(await stores[third]!.nextEpoch(`h${third}`)).toBe(2);
    expect(await stores[third]!.nextEpoch()).toBe(3);
    await Promise.all(stores.map((store) => store.close()));
  });

  it('says which server it cannot reach and why, and never the password', async () => {
    for (const wrong of [
      { ...options, port: 1 },
      { ...options, password: 'wr0ng-secret' },
      { ...options, host: '/nowhere/s' },
    ]) {
      const error = (await openMysqlStateStore(wrong).catch((thrown) => thrown)) as OrchestratorError;
      expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
      expect(error.message).toContain(options.schema);
      expect(JSON.stringify([error, error.message, error.stack])).not.toContain(wrong.password);
    }
  });

  it('goes on when the server comes back', async () => {
    const store = await openMysqlTelemetryStore(options);
    onTestFinished(() => store.close());
    const put = (id: string) => store.storeReports([reportInput({ ...fullReport(), report_id: id }, 1, 1)]);
    await put('a');
    await server.kill();
    await expect(put('b')).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await server.start();
    await vi.waitFor(() => put('b'), 20_000);
    expect(await put('a')).toEqual([{ stored: false, rows: 0 }]);
    expect(await store.recent('packet_info', { limit: 9 })).toHaveLength(2);
  });

  describe('sql', () => {
    let store: TelemetryStore;
    beforeEach(async () => {
      store = await openMysqlTelemetryStore(options);
      await store.storeReports([reportInput(fullReport(), 1, 1)]);
    });
    afterEach(() => store.close());

    it('answers queries with the columns as they are named, twice the same name included', async () => {
      expect(await store.sql('SELECT session_ID, event, event, size AS "Bytes" FROM packet_info; -- the end')).toEqual({
        columns: ['session_ID', 'event', 'event', 'Bytes'],
        rows: [[1, 'recv', 'recv', 1234]],
        truncated: false,
      });
      for (const [table, columns] of Object.entries(TELEMETRY_TABLES)) {
        expect((await store.sql(`select * from ${table}`)).columns).toEqual([...columns]);
      }
      expect((await store.sql("values (9007199254740993, 1.5, null), (1, x'0aff', 2)")).rows[0]).toEqual([
        '9007199254740993',
        expect.anything(),
        null,
      ]);
      expect((await store.sql('with a as (select 1 as x) (select * from a)')).rows).toEqual([[1]]);
      expect((await store.sql("select 'into; --' as `into`, ';' as \"mysql.user\" # ;")).rows).toEqual([
        ['into; --', ';'],
      ]);
    });

    it.each([
      ['insert into sys_info (timestamp, node_id) values (1, 1)', /not INSERT/],
      ['delete from packet_info', /not DELETE/],
      ['with a as (select 1) delete from packet_info', /./],
      ['explain delete from packet_info; select 1', /one statement/],
      ['update packet_info set size = 0', /not UPDATE/],
      ['drop table packet_info', /not DROP/],
      ['truncate packet_info', /not TRUNCATE/],
      ['set session transaction read write', /not SET/],
      ['start transaction read write', /not START/],
      ['commit', /not COMMIT/],
      ['call anything()', /not CALL/],
      ["load data infile '/etc/passwd' into table sys_info", /not LOAD/],
      ["select * from packet_info into outfile 'x.txt'", /INTO/],
      ['select 1 into @x', /INTO/],
      ["select load_file('/etc/passwd')", /LOAD_FILE/],
      ['select sleep(100)', /wait or lock/],
      ["select benchmark (1e9, md5('x'))", /wait or lock/],
      ['select * from packet_info for update', /locking/],
      ['select * from mysql.global_priv', /accounts/],
      ['select * from `mysql`.`user`', /accounts/],
      ['select/**/*/**/from/**/mysql . user', /accounts/],
      ['show grants', /accounts/],
      ['select @@datadir', /variables/],
      ['select 1 /*! into outfile "x" */', /executes/],
      ['select 1 /*M!100000 + 1 */', /executes/],
      ['select 1; delete from packet_info', /one statement/],
      ["select ';' /* ; */; delete from packet_info", /one statement/],
      ["select 'a\\'; delete from packet_info; -- '", /unreachable/],
      ['', /empty/],
      ['-- nothing', /empty/],
      ['selec 1', /not SELEC/],
      ['select colour from packet_info', /colour/],
    ])('refuses %j', async (statement, message) => {
      if (message.source === 'unreachable') {
        expect((await store.sql(statement)).rows).toEqual([["a'; delete from packet_info; -- "]]);
      } else {
        const refused = store.sql(statement);
        await expect(refused).rejects.toMatchObject({ code: 'SQL_REFUSED' });
        await expect(refused).rejects.toThrow(message);
      }
      expect(await store.recent('packet_info', { limit: 5 })).toHaveLength(1);
    });

    it('cuts long answers', async () => {
      const exact = await store.sql(`select seq from seq_1_to_${SQL_ROWS_MAX}`);
      expect([exact.rows.length, exact.truncated]).toEqual([SQL_ROWS_MAX, false]);
      const over = await store.sql('select seq from seq_1_to_1000000');
      expect([over.rows.length, over.truncated]).toEqual([SQL_ROWS_MAX, true]);
      const wide = await store.sql("select repeat('x', 1000000) from seq_1_to_100");
      expect([wide.rows.length, wide.truncated]).toEqual([16, true]);
    });

    it('ends a statement that takes too long, and answers the next', async () => {
      const hurried = await openMysqlTelemetryStore({ ...options, sqlTimeMsMax: 3000 });
      onTestFinished(() => hurried.close());
      const endless = hurried.sql(
        'select count(*) from seq_1_to_100000000 a, seq_1_to_100000000 b where a.seq * b.seq < 0',
      );
      const next = hurried.sql('select 1');
      await expect(hurried.storeReports([reportInput({}, 1, 1)])).resolves.toMatchObject([{ stored: true }]);
      await expect(endless).rejects.toThrow(/longer than 3000 ms/);
      expect((await next).rows).toEqual([[1]]);
    });
  });
});

/** The reference's schema as its own SQL makes it. */
const REFERENCE_SQL = [
  `CREATE TABLE sys_info (timestamp DOUBLE, node_ID INT, cpu_util FLOAT, mem_total INT, mem_util FLOAT, gpu_util INT,
    gpu_mem_util INT, gpu_clock INT, gpu_power INT, PRIMARY KEY (timestamp, node_ID))`,
  `CREATE TABLE proc_info (timestamp DOUBLE, session_ID INT, handler_ID INT, cpu_util FLOAT, mem_util FLOAT, gpu_util INT,
    gpu_mem_util INT, PRIMARY KEY (timestamp, session_ID, handler_ID))`,
  `CREATE TABLE packet_info (timestamp DOUBLE, session_ID INT, handler_ID INT, sequence INT, event VARCHAR(16),
    PRIMARY KEY (timestamp, session_ID, handler_ID, sequence)) ENGINE = MyISAM`,
];
const REFERENCE_ROWS = [
  'INSERT INTO sys_info VALUES (1.5, 7, 12.5, 16000, 40, NULL, NULL, NULL, 70)',
  'INSERT INTO proc_info VALUES (1.5, 3, 4, 99.5, NULL, NULL, NULL)',
  "INSERT INTO packet_info VALUES (2, 3, 4, 1, 'start'), (2, 3, 4, 2, 'start')",
];

async function statements(options: MysqlStoreOptions, sql: readonly string[]): Promise<void> {
  await withConnection(options, async (connection) => {
    for (const one of sql) await connection.query(one);
  });
}
