/**
 * Limits of a handler host that the kernel keeps, by control groups of either version: memory, and cores where asked for.
 * A group is made per host, below `orchestrator-PID` of the agent in the agent's own group, and removed with the host.
 *
 * Version 2 lets a group have children with limits only when no process is in it: a group that was handed over for this
 * (`Delegate=cpu memory` of systemd) is made so by moving the agent into a leaf of its own. Where groups cannot be made,
 * memory is watched by pings alone (host-supervisor.ts), and a limit of cores is refused.
 * Files: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ of Linux.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OrchestratorError } from '../contracts/errors.js';
import type { Logger } from '../std/logger.js';

export interface HostLimits {
  /** Of one host, MiB: at this its supervisor ends it, and at MEM_MARGIN times as much the kernel does. */
  readonly memMb: number;
  /** Cores of one host, null: as many as there are. */
  readonly cpus: number | null;
}

/** A host inside its limits. */
export interface ConfinedHost {
  /** Whether the kernel ended a process of it for its memory. */
  wasOutOfMemory(): Promise<boolean>;
  /** After its exit. */
  release(): Promise<void>;
}

export interface HostConfiner {
  confine(pid: number): Promise<ConfinedHost>;
  /** When every host has ended. */
  close(): Promise<void>;
}

export interface ConfineOptions {
  readonly confiner: HostConfiner;
  readonly pid: number | null;
  /** Of the process, for log lines. */
  readonly name: string;
  readonly logger: Logger;
}

/** Null when the process has gone before, or cannot be limited, which is said. */
export async function confineHost({ confiner, pid, name, logger }: ConfineOptions): Promise<ConfinedHost | null> {
  if (pid === null) return null;
  return confiner.confine(pid).catch((error: Error) => {
    logger.warn({ host: name }, `not limited by the kernel: ${error.message}`);
    return null;
  });
}

export interface ConfinerOptions {
  readonly limits: HostLimits;
  readonly logger: Logger;
  /** Where control groups are mounted, and the file that says in which this process is. */
  readonly root?: string;
  readonly self?: string;
}

/** Time over which cores are shared out, µs; the kernel's own default. */
const CPU_PERIOD_US = 100_000;
const BYTES_PER_MIB = 2 ** 20;
/**
 * A group at its limit takes back pages of the program itself before it ends anything, and stands still meanwhile. The
 * supervisor is to see the limit crossed before that; the kernel is there for what grows between two looks.
 */
const MEM_MARGIN = 1.25;
const OURS = /^(?:orchestrator|agent)-(\d+)(?:-\d+)?$/;
/** A group cannot be removed while a process of it is being buried: how often, and how long apart, ms. */
const REMOVE_TRIES_MAX = 20;
const REMOVE_RETRY_MS = 50;

/** Of this process: each has groups of its own. */
let confiners = 0;

/** Where the kernel limits nothing. */
export const UNCONFINED: HostConfiner = {
  confine: async () => ({ wasOutOfMemory: async () => false, release: async () => {} }),
  close: async () => {},
};

/** Throws CONFIG_INVALID when cores are limited and groups cannot be made here. */
export async function openConfiner(options: ConfinerOptions): Promise<HostConfiner> {
  const { limits, logger } = options;
  const found = await findHierarchies(options).catch((error: Error) => error.message);
  if (typeof found === 'string') {
    if (limits.cpus !== null) {
      throw new OrchestratorError(
        'CONFIG_INVALID',
        `host_cpus = ${limits.cpus} needs control groups: ${found}. Give the agent a group of its own (systemd: Delegate=cpu memory), or leave host_cpus out`,
        { key: 'host_cpus', value: limits.cpus },
      );
    }
    logger.debug({ reason: found }, 'memory of handler hosts is watched, not limited by the kernel');
    return UNCONFINED;
  }
  const parents = found.map(({ parent }) => parent);
  logger.debug({ groups: parents }, 'the kernel limits handler hosts by control groups');
  return {
    async confine(pid) {
      const groups = parents.map((parent) => join(parent, `host-${pid}`));
      for (const [index, group] of groups.entries()) {
        await mkdir(group, { recursive: true });
        for (const [file, value] of found[index]!.settings(limits)) await writeFile(join(group, file), value);
        await writeFile(join(group, 'cgroup.procs'), String(pid));
      }
      return {
        wasOutOfMemory: async () => (await Promise.all(groups.map(oomKills))).some((kills) => kills > 0),
        release: async () => {
          await Promise.all(groups.map(removeGroup));
        },
      };
    },
    async close() {
      await Promise.all(parents.map(removeGroup));
    },
  };
}

/** A group that takes groups of hosts, and what is written into each of these. */
interface Hierarchy {
  readonly parent: string;
  settings(limits: HostLimits): [file: string, value: string][];
}

/** Throws an error that says why groups cannot be made. */
async function findHierarchies({ limits, ...options }: ConfinerOptions): Promise<Hierarchy[]> {
  const { root = '/sys/fs/cgroup', self = '/proc/self/cgroup' } = options;
  const own = ownGroups(await readFile(self, 'latin1'));
  confiners += 1;
  const name = `orchestrator-${process.pid}-${confiners}`;
  if (existsSync(join(root, 'cgroup.controllers'))) return [await unified(join(root, own.get('') ?? '/'), name)];
  const controllers = limits.cpus === null ? (['memory'] as const) : (['memory', 'cpu'] as const);
  return Promise.all(controllers.map((one) => legacy(join(root, one), own.get(one) ?? '/', one, name)));
}

/** Lines `4:memory:/path` of /proc/self/cgroup by controller; that of version 2 by the empty name. */
function ownGroups(text: string): Map<string, string> {
  const groups = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    for (const one of controllers?.split(',') ?? []) groups.set(one, path!);
  }
  return groups;
}

async function unified(directory: string, name: string): Promise<Hierarchy> {
  const control = join(directory, 'cgroup.subtree_control');
  await removeAbandoned(directory);
  if (!hasBoth(await readFile(control, 'latin1'))) {
    const others = (await lines(join(directory, 'cgroup.procs'))).filter((pid) => Number(pid) !== process.pid);
    if (others.length > 0) throw new Error(`${directory} holds ${others.length} other processes`);
    const leaf = join(directory, `agent-${process.pid}`);
    await mkdir(leaf, { recursive: true });
    await writeFile(join(leaf, 'cgroup.procs'), String(process.pid));
    await writeFile(control, '+cpu +memory');
  }
  const parent = join(directory, name);
  await mkdir(parent);
  await writeFile(join(parent, 'cgroup.subtree_control'), '+cpu +memory');
  return {
    parent,
    settings: ({ memMb, cpus }) => [
      ['memory.max', memBytes(memMb)],
      ['cpu.max', `${cpus === null ? 'max' : quotaUs(cpus)} ${CPU_PERIOD_US}`],
    ],
  };
}

function hasBoth(controllers: string): boolean {
  const names = controllers.trim().split(/\s+/);
  return names.includes('cpu') && names.includes('memory');
}

async function legacy(mount: string, own: string, controller: 'cpu' | 'memory', name: string): Promise<Hierarchy> {
  if (!existsSync(mount)) throw new Error(`${mount} is not there`);
  const inside = join(mount, own);
  // Inside a container the path is the outer one, which is not there.
  const directory = existsSync(inside) ? inside : mount;
  await removeAbandoned(directory);
  const parent = join(directory, name);
  await mkdir(parent);
  return {
    parent,
    settings: ({ memMb, cpus }) =>
      controller === 'memory'
        ? [['memory.limit_in_bytes', memBytes(memMb)]]
        : [
            ['cpu.cfs_period_us', String(CPU_PERIOD_US)],
            ['cpu.cfs_quota_us', String(quotaUs(cpus!))],
          ],
  };
}

function memBytes(memMb: number): string {
  return String(Math.round(memMb * MEM_MARGIN) * BYTES_PER_MIB);
}

function quotaUs(cpus: number): number {
  return Math.round(cpus * CPU_PERIOD_US);
}

/** What agents left that were killed. */
async function removeAbandoned(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const pid = OURS.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await removeGroup(join(directory, name));
  }
}

async function oomKills(group: string): Promise<number> {
  for (const file of ['memory.events', 'memory.oom_control']) {
    const counts = await readFile(join(group, file), 'latin1').catch(() => '');
    const kills = /^oom_kill (\d+)$/m.exec(counts)?.[1];
    if (kills !== undefined) return Number(kills);
  }
  return 0;
}

/** With the groups in it; one that stays busy is left for the next agent here. */
async function removeGroup(group: string): Promise<void> {
  for (let attempt = 0; attempt < REMOVE_TRIES_MAX; attempt++) {
    const inside = await readdir(group, { withFileTypes: true }).catch(() => []);
    for (const entry of inside) if (entry.isDirectory()) await rmdir(join(group, entry.name)).catch(() => {});
    const error = await rmdir(group).then(
      () => null,
      (reason: NodeJS.ErrnoException) => reason.code,
    );
    if (error === null || error === 'ENOENT') return;
    await sleep(REMOVE_RETRY_MS);
  }
}

async function lines(file: string): Promise<string[]> {
  return (await readFile(file, 'latin1')).split('\n').filter((line) => line !== '');
}
