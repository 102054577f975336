/** The built command line as a user meets it: forms of errors, exit codes, check, sql without daemons. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cliEntry } from '../main/package-facts.js';
import { durationMs, handlerParam } from './arguments.js';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'cli-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function orchestrator(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  const { ORCHESTRATOR_URL: _url, ORCHESTRATOR_TOKEN: _token, ...rest } = process.env;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [cliEntry(), ...args],
      { cwd: root, env: { ...rest, ...env } },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      },
    );
  });
}

/** A port where nobody listens: the discard port is never given out by the system. */
const NOWHERE = 'http://127.0.0.1:9';

describe('errors', () => {
  test.each([
    [['bogus'], /^error USAGE: unknown command 'bogus'/],
    [['run', 'face_recognition'], /^error USAGE: required option '--input/],
    [['session', 'start', 'x', '--max-latency', '3x'], /^error USAGE: 3x is no duration/],
    [['session', 'stop', 'one'], /^error USAGE: one is no number/],
    [['session', 'list', '--no-such'], /^error USAGE: unknown option '--no-such'/],
    [['top', '--interval', '10ms'], /^error USAGE: --interval 10 ms: at least 200 ms/],
    [['export', 'sys_info', '--format', 'xml'], /^error USAGE: --format xml: it must be csv or parquet/],
    [['export', 'sys_info', '--format', 'parquet'], /^error USAGE: --format parquet needs --out FILE/],
    [['up', '--nodes', '0'], /^error USAGE: --nodes 0: 1 to 32 nodes/],
    [['up', '--shape', 'client=20'], /^error USAGE: client=20 is no shape; write node=RTT_MS,MBIT/],
    [['up', '--nodes', '2', '--shape', 'node-2=20,100'], /^error USAGE: --shape node-2: the nodes are client, node-1/],
    [
      ['up', '--shape', 'client=20,0'],
      /^error USAGE: --shape client=20,0: a round trip of 0 to 20000 ms and 0\.001 to/,
    ],
  ])('%j is wrong usage: exit 2', async (args, message) => {
    const { code, stdout, stderr } = await orchestrator(args);
    expect(stderr).toMatch(message);
    expect([code, stdout, stderr.trim().split('\n').length]).toEqual([2, '', 1]);
  });

  test('a coordinator that is not there: one line, exit 1; a problem with --json; a stack only with --debug', async () => {
    const plain = await orchestrator(['session', 'list', '--coordinator', NOWHERE]);
    expect([plain.code, plain.stdout]).toEqual([1, '']);
    expect(plain.stderr).toMatch(
      /^error SERVICE_UNREACHABLE: coordinator at http:\/\/127\.0\.0\.1:9 cannot be reached \(ECONNREFUSED\)\n$/,
    );
    const json = await orchestrator(['session', 'list', '--json'], { ORCHESTRATOR_URL: NOWHERE });
    expect(JSON.parse(json.stderr)).toMatchObject({ code: 'SERVICE_UNREACHABLE', status: 502 });
    const debug = await orchestrator(['--debug', 'node', 'list', '--coordinator', NOWHERE]);
    expect(debug.stderr).toContain('\n    at ');
  });

  test('daemons refuse bad configuration before they listen', async () => {
    const file = join(root, 'bad.conf');
    writeFileSync(file, '[listener]\nlistener_port = 70000\ncolour = red\n');
    const { code, stderr } = await orchestrator(['node', file]);
    expect(code).toBe(1);
    expect(stderr).toContain(`error CONFIG_INVALID: ${file}:3: [listener] has no key colour`);
    expect(stderr).toContain(`also ${file}:2: [listener] listener_port must be <= 65535 (is 70000)`);
    expect((await orchestrator(['coordinator', join(root, 'none.conf')])).stderr).toMatch(
      /^error CONFIG_UNREADABLE: .*no such file/,
    );
  });

  test('off loopback a node needs a token', async () => {
    const file = join(root, 'open.conf');
    writeFileSync(file, `[listener]\nlistener_addr = 0.0.0.0\nlistener_port = 0\n[node]\ndata_path = ${root}/open\n`);
    const { code, stderr } = await orchestrator(['node', file]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error TOKEN_REQUIRED: /);
  });
});

describe('check', () => {
  test('a directory with problems: each with its code, exit 1; --json gives them as problems', async () => {
    const file = join(root, 'node.json');
    writeFileSync(file, '{"node_id": 1, "node_name": "a", "node_type": "toaster", "node_addr": "::1", "node_port": 1}');
    const text = await orchestrator(['check', file]);
    expect(text.code).toBe(1);
    expect(text.stdout).toMatch(/^error NODE_FILE_INVALID: .*node\.json: \/node_type/);
    expect(text.stdout).toContain('1 file checked (1 node): 1 problem');
    const json = await orchestrator(['check', file, '--json']);
    expect(JSON.parse(json.stdout).problems).toMatchObject([{ code: 'NODE_FILE_INVALID' }]);
  });

  test('the files of this repository are right', async () => {
    const { code, stdout } = await orchestrator([
      'check',
      ...['config', 'resources'].map((name) => join(process.cwd(), name)),
    ]);
    // Paths in config/ are relative to the working directory, where this test has no resources/.
    expect(
      stdout.split('\n').filter((line) => line.startsWith('error') && !line.includes('CONFIG_UNREADABLE: resources')),
    ).toEqual([]);
    expect(code).toBeLessThanOrEqual(1);
  });
});

test.each([
  [['profile'], 'profile needs either a service or --all'],
  [['profile', 'object_detection', '--all'], 'profile needs either a service or --all'],
  [['evaluate', 'object_detection', '--iou', '2'], '--iou 2 is not in (0, 1]'],
])('%j is refused as wrong usage, exit 2', async (args, named) => {
  const { code, stderr } = await orchestrator(args);
  expect([code, stderr.includes(named)]).toEqual([2, true]);
});

test('evaluate says what a folder lacks', async () => {
  const { code, stderr } = await orchestrator(['evaluate', 'object_detection', '--data', root]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^error DATASET_INVALID: .* holds no annotations\.json/);
});

describe('sql', () => {
  test('says where it looked when there is no database, and which file is missing', async () => {
    const nothing = await orchestrator(['sql', 'select 1']);
    expect(nothing.stderr).toMatch(
      /^error DATABASE_UNAVAILABLE: no database is here \(looked for var\/orchestrator\.db\)/,
    );
    const missing = await orchestrator(['sql', '--database', 'x.db', 'select 1']);
    expect([missing.code, missing.stderr.includes('no such file')]).toEqual([1, true]);
  });
});

test('--version and --help answer on stdout with exit 0; help names every command', async () => {
  expect(await orchestrator(['--version'])).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    stderr: '',
  });
  const help = await orchestrator(['--help']);
  const commands = ['demo', 'run', 'up', 'session', 'service', 'node', 'sql', 'check', 'coordinator', 'collector'];
  expect(help.code).toBe(0);
  for (const command of commands) expect(help.stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
});

test('arguments', () => {
  expect([durationMs('80ms'), durationMs('1.5s'), durationMs('2m'), durationMs('70')]).toEqual([80, 1500, 120_000, 70]);
  const first = handlerParam('recognize.thresh=0.5');
  expect(handlerParam('recognize.classifier=people/', first)).toEqual({
    recognize: { thresh: 0.5, classifier: 'people/' },
  });
  expect(() => handlerParam('thresh=1')).toThrow(/handler\.name=value/);
});
