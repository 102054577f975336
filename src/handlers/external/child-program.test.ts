/** Real programs under the keeper: restarted, ended, and never left behind. Needs the built program for the host's death. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test, vi } from 'vitest';
import type { CommandStart } from '../../handler-kit/define.js';
import { silentLogger } from '../../std/logger.js';
import { ChildProgram } from './child-program.js';

/** Bound of each wait on a machine that is busy with other tests. */
const WAIT = { timeout: 20_000, interval: 10 };
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** A program that notes its process id and then does what `script` says. */
function program(script: string): { start: CommandStart; pids(): number[] } {
  const file = join(mkdtempSync(join(tmpdir(), 'program-')), 'pids');
  const environment = { PATH: '/usr/bin:/bin', FILE: file };
  return {
    start: { program: '/bin/sh', args: ['-c', `echo $$ >>"$FILE"; ${script}`], environment },
    // Whole lines only: the file is there before its first number is.
    pids: () => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1).map(Number) : []),
  };
}

function run(start: CommandStart): ChildProgram {
  const child = new ChildProgram({ start, logger: silentLogger });
  closers.push(() => child.close());
  return child;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const STUBBORN = `trap '' TERM; while :; do sleep 0.1; done`;

test('a program that ends is started again, and how it ended is told', async () => {
  const { start, pids } = program('exit 7');
  const child = run(start);
  expect(child.problem).toBeUndefined();
  await vi.waitFor(() => expect(pids().length).toBeGreaterThanOrEqual(3), WAIT);
  expect(child.problem).toBe('/bin/sh ended with code 7');
});

test('a program that is killed is started again', async () => {
  const { start, pids } = program('sleep 1000');
  run(start);
  await vi.waitFor(() => expect(pids()).toHaveLength(1), WAIT);
  process.kill(pids()[0]!, 'SIGKILL');
  await vi.waitFor(() => expect(pids()).toHaveLength(2), WAIT);
});

test('a command that is not there is told by name', async () => {
  const child = run({ program: '/nonexistent/program', args: [], environment: {} });
  await vi.waitFor(() => expect(child.problem).toBe('/nonexistent/program ended with code 127'), WAIT);
});

test.each([
  ['ends when it is asked', 'exec sleep 1000', 1],
  ['does not want to end', STUBBORN, 1],
  ['has started another one', 'sleep 1000 & echo $! >>"$FILE"; wait', 2],
])('after close nothing is left of a program that %s', async (_, script, count) => {
  const { start, pids } = program(script);
  const child = run(start);
  await vi.waitFor(() => expect(pids()).toHaveLength(count), WAIT);
  child.close();
  await vi.waitFor(() => expect(pids().filter(isAlive)).toEqual([]), WAIT);
  expect(pids()).toHaveLength(count);
});

test('a host that is killed takes its program along', async () => {
  const { start, pids } = program(STUBBORN);
  const module = fileURLToPath(new URL('../../../dist/handlers/external/child-program.js', import.meta.url));
  const code = `import { ChildProgram } from ${JSON.stringify(module)};
    const logger = { debug() {}, info() {}, warn() {}, error() {} };
    new ChildProgram({ start: ${JSON.stringify(start)}, logger });`;
  const host = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'ignore' });
  closers.push(() => host.kill('SIGKILL'));
  await vi.waitFor(() => expect(pids()).toHaveLength(1), WAIT);
  host.kill('SIGKILL');
  await vi.waitFor(() => expect(isAlive(pids()[0]!)).toBe(false), WAIT);
});
