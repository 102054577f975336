/** The whole system on a MariaDB server of its own: sessions, profiles and SQL, from processes that know it by their files. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cliEntry } from '../src/main/package-facts.js';
import { awaitSession } from '../src/main/session-wait.js';
import { hasMariadb, startMariadb, type TestServer } from '../src/store/mysql/mariadb.testing.js';
import { eventually, spreadFaceService, startSystem, type TestSystem } from './support/system.js';

const run = promisify(execFile);

describe.runIf(hasMariadb())('on MariaDB', () => {
  let server: TestServer;
  let system: TestSystem;
  let conf: string;
  let secret: string;
  beforeAll(async () => {
    server = await startMariadb();
    const { host, port, user, password, schema } = server.options('reports');
    secret = password;
    system = await startSystem({
      services: [spreadFaceService({ service_id: 1, service_name: 'spread' })],
      databaseSection: { db_addr: host, db_port: port, db_user: user, db_passwd: password, db_schema: schema },
    });
    conf = join(system.dir, 'data', 'config', 'collector.conf');
  });
  afterAll(async () => {
    await system?.close();
    await server?.stop();
  });

  const cli = async (...args: string[]) => (await run(process.execPath, [cliEntry(), ...args])).stdout;
  const sql = async (statement: string) =>
    JSON.parse(await cli('sql', '--json', '--config', conf, statement)) as Record<string, unknown>[];

  test('a session runs, and everything about it is in the schema', async () => {
    const source = system.pictures('all', 12);
    const request = { service: 'spread', source, delivery: 'all', source_node: 'client' } as const;
    const session_id = (await system.coordinator.createSession(request)).session_id!;
    await awaitSession(system.coordinator, session_id, ({ observed }) => observed === 'stopped');
    expect(system.journal(session_id).map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: 12 }, (_, at) => at),
    );
    const ends = `select count(*) as ends from packet_info where session_id = ${session_id} and handler_id = 8 and event = 'end'`;
    await eventually(
      'the end of every frame at the sink',
      async () => Number((await sql(ends))[0]?.ends) === 12 || undefined,
    );
    await eventually('profiles', async () => ((await system.collector!.profiles()).length > 0 ? true : undefined));
    expect((await sql('select count(distinct node_id) as nodes from sys_info'))[0]).toEqual({ nodes: 3 });
    expect(await sql(`select desired, ended_state from session where session_id = ${session_id}`)).toEqual([
      { desired: expect.any(String), ended_state: 'stopped' },
    ]);
    expect(await sql(`select count(*) as handlers from placement where session_id = ${session_id}`)).toEqual([
      { handlers: 8 },
    ]);
    expect((await sql("select count(*) as events from event where kind like 'session.%'"))[0]!.events).toBeGreaterThan(
      0,
    );
  });

  test('`db status` and `db migrate` say where and how far, and nothing ever shows the password', async () => {
    const status = await cli('db', 'status', conf);
    expect(status).toMatch(
      /engine {4}mysql\ndatabase {2}reports of tester@127\.0\.0\.1:\d+\nversion {3}(\d+) of \1: up to date\n/,
    );
    const migrated = await cli('db', 'migrate', conf);
    expect(migrated).toContain('applied   0');
    const logs = join(system.dir, 'data', 'logs');
    const shown = [status, migrated, ...readdirSync(logs).map((name) => readFileSync(join(logs, name), 'utf8'))].join(
      '\n',
    );
    expect(shown).not.toContain(secret);
    expect(shown).not.toContain(JSON.stringify(secret));
  });
});
