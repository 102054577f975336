/** The data directory of a local cluster: emptied at each start, never while another one runs in it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isAlive } from '../config/cluster-file.js';
import { OrchestratorError } from '../contracts/errors.js';

/** Says that a directory was made here, and by which process: only such directories are emptied. */
const OWNER = 'owner.pid';

/** Made when missing. Throws CONFIG_INVALID when something else is in it, ADDRESS_IN_USE when its owner still runs. */
export function freshDirectory(path: string, what: string): string {
  const directory = resolve(path);
  const owner = join(directory, OWNER);
  if (existsSync(owner)) {
    const pid = Number(readFileSync(owner, 'utf8'));
    if (isAlive(pid)) {
      throw new OrchestratorError('ADDRESS_IN_USE', `${what} runs already in ${directory} (process ${pid})`, { pid });
    }
    rmSync(directory, { recursive: true, force: true });
  } else if (existsSync(directory) && readdirSync(directory).length > 0) {
    throw new OrchestratorError('CONFIG_INVALID', `${directory} is not empty and was not made by ${what}`, {
      directory,
    });
  }
  mkdirSync(directory, { recursive: true });
  writeFileSync(owner, String(process.pid));
  return directory;
}

/** After an orderly end: the data stays, the directory is free. */
export function releaseDirectory(directory: string): void {
  writeFileSync(join(directory, OWNER), '0');
}
