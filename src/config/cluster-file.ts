/**
 * Where a local cluster (`up`, `demo`) says where it is: `cluster.json` in its data directory, so that the other
 * commands find it without an address. It stays after the end, as the database does; `pid` tells whether it runs.
 */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import Type, { type Static } from '#vendor/typebox.js';
import { parseWith } from '../contracts/schema.js';

const ClusterFileSchema = Type.Object({
  /** Of the process that started the cluster; 0 once it has ended in order. */
  pid: Type.Integer({ minimum: 0 }),
  coordinator_url: Type.String(),
  collector_url: Type.Union([Type.String(), Type.Null()]),
  database: Type.String({ description: 'Absolute path of the SQLite file' }),
});
export type ClusterFile = Static<typeof ClusterFileSchema>;

/** Data directories of local clusters, relative to the working directory. */
export const UP_DIR = 'var/up';
export const DEMO_DIR = 'var/demo';

const FILE = 'cluster.json';

export function writeClusterFile(dataDir: string, cluster: ClusterFile): void {
  writeFileSync(join(dataDir, FILE), `${JSON.stringify(cluster, null, 2)}\n`);
}

/** Those that were started from this working directory, newest first. Unreadable files count as absent. */
export function knownClusters(): ClusterFile[] {
  return [UP_DIR, DEMO_DIR]
    .map((directory) => resolve(directory, FILE))
    .filter((file) => existsSync(file))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)
    .flatMap((file) => {
      try {
        return [parseWith(ClusterFileSchema, JSON.parse(readFileSync(file, 'utf8')), 'CONFIG_INVALID', file)];
      } catch {
        return [];
      }
    });
}

export function runningCluster(): ClusterFile | undefined {
  return knownClusters().find(({ pid }) => isAlive(pid));
}

export function isAlive(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
