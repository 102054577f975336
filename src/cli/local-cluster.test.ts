/** `up` and `demo` of the built program: found without an address, explained, and nothing outlives them, not even kill -9. */

import { type ChildProcess, type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { isAlive } from '../config/cluster-file.js';
import { cliEntry, samplePicturesDir } from '../main/package-facts.js';

const TIMEOUT_MS = 180_000;

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'up-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function orchestrator(...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(process.execPath, [cliEntry(), ...args], { cwd: root }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

interface Facts {
  readonly database: string;
  readonly nodes: readonly { readonly node_name: string; readonly pid: number }[];
}

/** Starts `up` and resolves with the line that it prints once everything answers. */
/** A test that fails half-way leaves nothing running. */
const started = new Set<ChildProcess>();
afterEach(() => {
  for (const child of started) child.kill('SIGKILL');
  started.clear();
});

function startUp(...args: string[]): Promise<{ child: ChildProcess; facts: Facts }> {
  return factsOf(spawn(process.execPath, [cliEntry(), 'up', '--port', '0', '--json', ...args], { cwd: root }));
}

function factsOf(child: ChildProcessWithoutNullStreams): Promise<{ child: ChildProcess; facts: Facts }> {
  started.add(child);
  return new Promise((resolve, reject) => {
    let [out, err] = ['', ''];
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString();
    });
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (out.includes('\n')) resolve({ child, facts: JSON.parse(out) });
    });
    child.once('exit', () => reject(new Error(`up ended: ${err}`)));
  });
}

async function gone(pids: readonly number[]): Promise<boolean> {
  for (let tries = 0; tries < 150; tries++) {
    if (!pids.some((pid) => isAlive(pid))) return true;
    await sleep(100);
  }
  return false;
}

describe('up', () => {
  test('ends with the shell that npm started it in', async () => {
    const command = `"${process.execPath}" "${cliEntry()}" up --port 0 --json --nodes 1; exit`;
    const environment = { ...process.env, npm_execpath: 'npm' };
    const { child, facts } = await factsOf(spawn('sh', ['-c', command], { cwd: root, env: environment }));
    child.kill('SIGKILL');
    expect(await gone(facts.nodes.map((node) => node.pid))).toBe(true);
  });

  test(
    'the other commands find it; refusals say what would fit; kill -9 of it ends all of it',
    async () => {
      const { child, facts } = await startUp('--nodes', '2', '--allow', samplePicturesDir());
      const pids = facts.nodes.map((node) => node.pid);
      const nodes = JSON.parse((await orchestrator('node', 'list', '--json')).stdout);
      expect(nodes.map((node: { node_name: string; state: string }) => [node.node_name, node.state])).toEqual([
        ['client', 'up'],
        ['node-1', 'up'],
      ]);
      expect((await orchestrator('service', 'list')).stdout).toContain('face_recognition');
      const top = await orchestrator('top', '--once');
      expect(top.stdout).toMatch(
        /2 of 2 nodes up, 0 sessions, 0 handlers\n\nnode +state .*\nclient +up .*\nnode-1 +up /,
      );
      const figures = JSON.parse((await orchestrator('top', '--once', '--json')).stdout);
      expect(figures.nodes.map((node: { state: string }) => node.state)).toEqual(['up', 'up']);
      expect((await orchestrator('events')).stdout).toMatch(/^\d\d:\d\d:\d\d\.\d node\.up client up \| /m);
      const follower = spawn(process.execPath, [cliEntry(), 'events', '--follow', '--json'], { cwd: root });
      started.add(follower);
      const [line] = (await once(follower.stdout, 'data')) as [Buffer];
      expect(JSON.parse(line.toString().split('\n')[0]!)).toHaveProperty('kind');
      const second = await orchestrator('up', '--port', '0');
      expect([second.code, second.stderr]).toEqual([
        1,
        expect.stringMatching(/^error ADDRESS_IN_USE: `up` runs already/),
      ]);

      const source = join(samplePicturesDir(), 'sample*.jpg');
      const dry = await orchestrator(
        'session',
        'start',
        'face_recognition',
        '--source',
        source,
        '--fps',
        '1',
        '--dry-run',
      );
      expect(dry.stdout).toMatch(/^dry run: nothing was started\nchose accurate: .*detect=/);
      expect(dry.stdout).toContain('candidates');
      const goal = ['--fps', '500', '--max-latency', '5ms', '--min-accuracy', '0.95'];
      const refused = await orchestrator('session', 'start', 'face_recognition', '--source', source, ...goal);
      expect([refused.code, refused.stdout]).toEqual([1, '']);
      expect(refused.stderr).toMatch(
        /^error SESSION_REFUSED: no placement of face_recognition meets the objective\n {2}- /,
      );

      child.kill('SIGKILL');
      expect(await gone([child.pid!, ...pids])).toBe(true);
      const rows = await orchestrator('sql', 'select count(*) as n from sys_info', '--json');
      expect(JSON.parse(rows.stdout)[0].n).toBeGreaterThan(0);
      expect(rows.stderr).toBe(`reading ${facts.database}\n`);
    },
    TIMEOUT_MS,
  );

  test(
    'Ctrl-C ends it in order, and its directory can be used again',
    async () => {
      const { child, facts } = await startUp();
      const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
      child.kill('SIGINT');
      expect(await ended).toBe(0);
      expect(await gone(facts.nodes.map((node) => node.pid))).toBe(true);
    },
    TIMEOUT_MS,
  );
});

test(
  'demo --once: a node is killed, its handlers go elsewhere, all processes end, and the database can be asked',
  async () => {
    const { code, stdout, stderr } = await orchestrator('demo', '--once');
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    expect(stdout).toMatch(/kill -9 \d+: the agent of (edge|cloud), which runs .*detect/);
    expect(stdout).toMatch(/called lost \d+\.\d s after the kill \| .*detect -> (edge|cloud)/);
    expect(stdout).toMatch(/frames flow again \d+\.\d s after the kill/);
    expect(stdout).toMatch(/ledger: sent \d+ = delivered \d+ \+ .*failover \d+.*, sequences 0-\d+/);
    expect(stdout).toContain('all processes have ended');
    const [, killed] = /kill -9 (\d+)/.exec(stdout)!;
    expect(isAlive(Number(killed))).toBe(false);
    const events = await orchestrator('sql', 'select count(*), event from packet_info group by event', '--json');
    expect(
      JSON.parse(events.stdout)
        .map((row: { event: string }) => row.event)
        .sort(),
    ).toEqual([...['end', 'recv', 'sent', 'start']]);
    const profiles = await orchestrator(
      'sql',
      'select handler_type, max(threads) as threads from profile group by 1',
      '--json',
    );
    const threads = new Map<number, number | null>(
      JSON.parse(profiles.stdout).map((row: { handler_type: number; threads: number | null }) => [
        row.handler_type,
        row.threads,
      ]),
    );
    // encode has no model, detect_face has one
    expect([threads.get(5), threads.get(18)]).toEqual([null, expect.any(Number)]);
  },
  TIMEOUT_MS,
);
