import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { silentLogger } from '../std/logger.js';
import { type HostLimits, openConfiner } from './host-limits.js';

const logger = silentLogger;

/** Whether this process may make groups of the real kernel here. */
async function canConfine(): Promise<boolean> {
  const confiner = await openConfiner({ limits: { memMb: 64, cpus: 1 }, logger }).catch(() => null);
  await confiner?.close();
  return confiner !== null;
}
const hasGroups = await canConfine();
if (!hasGroups) console.warn('control groups cannot be made here: limits by the kernel are not tested');

async function confined(limits: HostLimits, script: string) {
  const confiner = await openConfiner({ limits, logger });
  const child = spawn(process.execPath, ['-e', `process.stdin.once('data', () => { ${script} })`], { stdio: 'pipe' });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await confiner.close();
  });
  const host = await confiner.confine(child.pid!);
  const groups = readFileSync(`/proc/${child.pid}/cgroup`, 'latin1');
  child.stdin.write('go');
  return { confiner, child, host, groups };
}

function directoryOf(child: ChildProcess, groups: string, controller: string): string {
  const line = groups.split('\n').find((one) => one.endsWith(`host-${child.pid}`) && one.includes(controller))!;
  const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line)!;
  return join('/sys/fs/cgroup', controllers!, path!);
}

test.skipIf(!hasGroups)('the kernel holds back a host that wants more cores than it may have', async () => {
  const { child, host, groups } = await confined({ memMb: 256, cpus: 0.2 }, 'for (;;);');
  const directory = directoryOf(child, groups, 'cpu');
  await expect
    .poll(() => readFileSync(join(directory, 'cpu.stat'), 'latin1'), { timeout: 60_000 })
    .toMatch(/^nr_throttled [1-9]/m);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(await host.wasOutOfMemory()).toBe(false);
  await host.release();
  expect(existsSync(directory)).toBe(false);
});

test.skipIf(!hasGroups)('the kernel ends a host that grows between two looks, and this is known', async () => {
  const grow = 'const kept = []; for (let mb = 0; mb < 400; mb++) kept.push(Buffer.alloc(2 ** 20, 1));';
  const { child, host } = await confined({ memMb: 150, cpus: null }, `${grow} process.exit(0);`);
  const [, signal] = await once(child, 'exit');
  expect(signal).toBe('SIGKILL');
  expect(await host.wasOutOfMemory()).toBe(true);
});

test.skipIf(!hasGroups)('groups of agents that were killed are removed by the next one', async () => {
  const { child, groups, host } = await confined({ memMb: 256, cpus: 1 }, '');
  const directory = directoryOf(child, groups, 'memory');
  const parent = join(directory, '..', '..');
  const gone = spawn(process.execPath, ['-e', '']);
  await once(gone, 'exit');
  const abandoned = join(parent, `orchestrator-${gone.pid}-1`);
  mkdirSync(join(abandoned, 'host-1'), { recursive: true });
  await (await openConfiner({ limits: { memMb: 256, cpus: null }, logger })).close();
  expect(existsSync(abandoned)).toBe(false);
  expect(existsSync(directory)).toBe(true);
  child.kill('SIGKILL');
  await once(child, 'exit');
  await host.release();
});

/** A tree that looks like version 2, with what the kernel would make of a write left out. */
function unifiedTree({ control = '', processes = [process.pid] }: { control?: string; processes?: number[] } = {}) {
  const root = mkdtempSync(join(tmpdir(), 'cgroup-'));
  const own = join(root, 'agent.service');
  mkdirSync(own);
  writeFileSync(join(root, 'cgroup.controllers'), 'cpu memory\n');
  writeFileSync(join(own, 'cgroup.subtree_control'), control);
  writeFileSync(join(own, 'cgroup.procs'), processes.map((pid) => `${pid}\n`).join(''));
  const self = join(root, 'self');
  writeFileSync(self, '0::/agent.service\n');
  return { root, own, self };
}

test('version 2: the agent makes way, and each host has a group with both limits', async () => {
  const { root, own, self } = unifiedTree();
  const confiner = await openConfiner({ limits: { memMb: 512, cpus: 1.5 }, logger, root, self });
  await confiner.confine(4711);
  expect(readFileSync(join(own, `agent-${process.pid}`, 'cgroup.procs'), 'utf8')).toBe(String(process.pid));
  expect(readFileSync(join(own, 'cgroup.subtree_control'), 'utf8')).toBe('+cpu +memory');
  const parent = join(own, readdirSync(own).find((name) => name.startsWith(`orchestrator-${process.pid}-`))!);
  const read = (file: string) => readFileSync(join(parent, 'host-4711', file), 'utf8');
  expect([read('memory.max'), read('cpu.max'), read('cgroup.procs')]).toEqual([
    String(640 * 2 ** 20),
    '150000 100000',
    '4711',
  ]);
});

test('version 2: what was killed for its memory is known by its events', async () => {
  const { root, own, self } = unifiedTree({ control: 'cpu memory\n' });
  const host = await (await openConfiner({ limits: { memMb: 512, cpus: null }, logger, root, self })).confine(4711);
  const parent = join(own, readdirSync(own).find((name) => name.startsWith('orchestrator-'))!);
  expect(readFileSync(join(parent, 'host-4711', 'cpu.max'), 'utf8')).toBe('max 100000');
  writeFileSync(join(parent, 'host-4711', 'memory.events'), 'low 0\nhigh 0\nmax 3\noom 1\noom_kill 0\n');
  expect(await host.wasOutOfMemory()).toBe(false);
  writeFileSync(join(parent, 'host-4711', 'memory.events'), 'low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n');
  expect(await host.wasOutOfMemory()).toBe(true);
});

test('cores that cannot be limited are refused with the reason, memory is then watched instead', async () => {
  const { root, self } = unifiedTree({ processes: [process.pid, 1] });
  const refused = openConfiner({ limits: { memMb: 512, cpus: 0.5 }, logger, root, self });
  await expect(refused).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(/^host_cpus = 0\.5 needs control groups: .*holds 1 other processes\. .*Delegate/),
  });
  const watched = await openConfiner({ limits: { memMb: 512, cpus: null }, logger, root, self });
  expect(await (await watched.confine(4711)).wasOutOfMemory()).toBe(false);
});
