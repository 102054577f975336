/**
 * The files of the reference, as REFERENCE.md describes them and without a key of ours: its configuration, its directories
 * and its database run here unchanged (with --insecure: they listen on all addresses), for a reporter and a coordinator
 * that know nothing but the reference's wire.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { iniText } from '../src/config/ini.js';
import { ChildDaemon, freePorts } from '../src/main/child-daemon.js';
import { cliEntry } from '../src/main/package-facts.js';
import { hasMariadb, startMariadb, type TestServer } from '../src/store/mysql/mariadb.testing.js';
import { eventually, SAMPLES } from './support/system.js';

describe.runIf(hasMariadb())('files of the reference', () => {
  let dir: string;
  let server: TestServer;
  let daemons: ChildDaemon[] = [];
  let collectorUrl: string;
  let nodeUrl: string;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'reference-'));
    server = await startMariadb();
    const [collectorPort, listenerPort] = (await freePorts(2)) as [number, number];
    collectorUrl = `http://127.0.0.1:${collectorPort}`;
    nodeUrl = `http://127.0.0.1:${listenerPort}`;
    writeFiles(collectorPort, listenerPort);
    const daemon = (command: string, url: string) =>
      new ChildDaemon({
        name: command,
        args: [command, join(dir, 'config', `${command}.conf`), '--insecure'],
        logFile: join(dir, `${command}.log`),
        tmpDir: dir,
        probe: async () => {
          if (!(await fetch(`${url}/v1/health`)).ok) throw new Error('not yet');
        },
      });
    // Relative paths of these files are relative to the working directory, as in the reference.
    const home = process.cwd();
    process.chdir(dir);
    daemons = [daemon('collector', collectorUrl), daemon('node', nodeUrl)];
    process.chdir(home);
    await Promise.all(daemons.map((one) => one.answers()));
  });
  afterAll(async () => {
    await Promise.all(daemons.map((one) => one.stop()));
    await server?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  function writeFiles(collectorPort: number, listenerPort: number): void {
    for (const path of ['config', 'resources/node', 'resources/service_type'])
      mkdirSync(join(dir, path), { recursive: true });
    const { host, port, user, password, schema } = server.options('reports');
    const database = { db_addr: host, db_port: port, db_user: user, db_passwd: password, db_schema: schema };
    const write = (name: string, sections: Parameters<typeof iniText>[0]) =>
      writeFileSync(join(dir, 'config', `${name}.conf`), iniText(sections));
    write('coordinator', {
      coordinator: { node_path: 'resources/node', service_type_path: 'resources/service_type' },
      database,
    });
    write('collector', {
      collector: { collector_addr: '0.0.0.0', collector_port: collectorPort, node_path: 'resources/node' },
      database,
    });
    write('node', {
      graphical: { enabled: true },
      listener: { enabled: true, listener_addr: '0.0.0.0', listener_port: listenerPort },
      reporter: {
        ...{ enabled: true, collector_addr: '127.0.0.1', collector_port: collectorPort },
        ...{ collect_info_period: 1, send_report_period: 1 },
      },
    });
    const node = {
      node_id: 1,
      node_name: 'edge_server',
      node_type: 'server',
      node_addr: '127.0.0.1',
      node_port: listenerPort,
    };
    writeFileSync(join(dir, 'resources/node/edge_server.json'), JSON.stringify(node));
    const template = [{ node_id: 1, blueprint: blueprint(0) }];
    const service = { service_id: 1, service_name: 'local_render', template };
    writeFileSync(join(dir, 'resources/service_type/local_render.json'), JSON.stringify(service));
    copyFileSync(SAMPLES[0]!, join(dir, 'face.jpg'));
  }

  const blueprint = (source: number | string) => ({
    handlers: [
      { handler_id: 0, handler_name: 'capture', handler_type: 2, params: { source, width: 640, height: 480, fps: 10 } },
      { handler_id: 1, handler_name: 'render', handler_type: 3, params: {} },
    ],
    links: [{ source_handler: 0, source_output: 0, target_handler: 1, target_input: 0 }],
  });

  const post = async (url: string, body: object) => {
    const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
    return { status: answer.status, body: (await answer.json()) as { result: string; reason?: string } };
  };
  const rows = async (statement: string) => {
    const answer = await fetch(`${collectorUrl}/v1/sql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ statement }),
    });
    return ((await answer.json()) as { rows: unknown[][] }).rows;
  };

  test('pass `check`', () => {
    const checked = execFileSync(process.execPath, [cliEntry(), 'check', 'config', 'resources'], {
      cwd: dir,
      encoding: 'utf8',
    });
    expect(checked).toContain('no problem');
  });

  test('a reporter of the reference is known by its address, with every GPU and with none', async () => {
    const gpu = (gpu_id: number) => ({
      gpu_id,
      gpu_util: 10 + gpu_id,
      gpu_mem_util: null,
      gpu_clock: 1500,
      gpu_power: 70,
    });
    const place = { session_id: 77, handler_id: 3 };
    const answer = await post(`${collectorUrl}/`, {
      sys_info: [
        { timestamp: 1000.5, cpu_util: 12.5, mem_total: 16000, mem_util: 40, gpu_info: [gpu(0), gpu(1)] },
        { timestamp: 1001.5, cpu_util: 13, mem_total: 16000, mem_util: 41, gpu_info: null },
      ],
      proc_info: [{ timestamp: 1000.5, ...place, cpu_util: 50, mem_util: 1, gpu_info: [] }],
      packet_info: [{ timestamp: 1000.25, ...place, sequence: 5, event: 'start' }],
    });
    // Old rows fall to retention at the next look, minutes away.
    expect(answer).toEqual({ status: 200, body: { result: 'Succeeded' } });
    expect(
      await rows('select node_ID, cpu_util, gpu_util from sys_info where timestamp < 2000 order by timestamp'),
    ).toEqual([
      [1, 12.5, 10],
      [1, 13, null],
    ]);
    expect(await rows('select gpu_id, gpu_util from gpu_info where timestamp < 2000 order by gpu_id')).toEqual([
      [0, 10],
      [1, 11],
    ]);
    expect(await rows('select event, sequence, size from packet_info where session_ID = 77')).toEqual([
      ['start', 5, null],
    ]);
  });

  test('a coordinator of the reference drives a session through init, start, stop and delete', async () => {
    const act = (action: string, more: object = {}) => post(`${nodeUrl}/`, { action, session_id: 5, ...more });
    const succeeded = { status: 200, body: { result: 'Succeeded' } };
    expect(await act('init', { blueprint: blueprint('face.jpg') })).toEqual(succeeded);
    expect((await act('init', { blueprint: blueprint('face.jpg') })).body.result).toBe('Failed');
    expect(await act('start')).toEqual(succeeded);
    await eventually('packets of the session', async () => {
      const found = await rows(
        "select count(*) from packet_info where session_id = 5 and handler_id = 1 and event = 'end'",
      );
      return Number(found[0]?.[0]) > 0 || undefined;
    });
    expect(await act('stop')).toEqual(succeeded);
    expect((await act('start')).body.result).toBe('Failed');
    expect(await act('delete')).toEqual(succeeded);
    expect((await act('delete')).body.result).toBe('Failed');
  });
});
