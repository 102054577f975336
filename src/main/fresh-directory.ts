/** The data directory of a local cluster: emptied at each start, never while another one runs in it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isAlive } from '../config/cluster-file.js';
import { OrchestratorError } from '../contracts/errors.js';

/** Made when missing. Only what a cluster left there is deleted: a directory without `cluster.json` must be empty. */
export function freshDirectory(path: string, what: string): string {
  const directory = resolve(path);
  const marker = join(directory, 'cluster.json');
  if (existsSync(marker)) {
    const pid = ownerOf(marker);
    if (pid !== null && isAlive(pid)) {
      throw new OrchestratorError('ADDRESS_IN_USE', `${what} runs already in ${directory} (process ${pid})`, { pid });
    }
    rmSync(directory, { recursive: true, force: true });
  } else if (existsSync(directory) && readdirSync(directory).some((name) => !CLUSTER_PARTS.has(name))) {
    throw new OrchestratorError('CONFIG_INVALID', `${directory} is not empty and was not made by ${what}`, {
      directory,
    });
  } else {
    rmSync(directory, { recursive: true, force: true });
  }
  mkdirSync(directory, { recursive: true });
  return directory;
}

/** What a start that was cut off before its `cluster.json` may have left. */
const CLUSTER_PARTS = new Set(['config', 'nodes', 'logs', 'gallery']);

function ownerOf(marker: string): number | null {
  try {
    const { pid } = JSON.parse(readFileSync(marker, 'utf8')) as { pid?: unknown };
    return typeof pid === 'number' ? pid : null;
  } catch {
    return null;
  }
}
