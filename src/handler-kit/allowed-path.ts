/**
 * Keeps files that parameters name inside the directories that the node's operator allowed. Symbolic links are followed
 * before the decision, of the file and of the directories, so that a link inside cannot lead outside.
 */
import { realpathSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { OrchestratorError } from '../contracts/errors.js';

/** The real, absolute form of `path`; SOURCE_FORBIDDEN when it is in none of `allow`. It need not exist (patterns). */
export function allowedPath(path: string, allow: readonly string[]): string {
  const real = realFormOf(resolve(path));
  for (const directory of allow) {
    const inside = relative(realFormOf(resolve(directory)), real);
    if (inside === '' || (inside !== '..' && !inside.startsWith(`..${sep}`) && !isAbsolute(inside))) return real;
  }
  throw new OrchestratorError(
    'SOURCE_FORBIDDEN',
    `${path} is not in a directory that this node allows (${allow.length === 0 ? 'none' : allow.join(', ')})`,
    { path },
  );
}

/** Links resolved as far as the path exists; the rest, which then holds no links, is appended. */
function realFormOf(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    const parent = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === path) {
      throw new OrchestratorError('SOURCE_FORBIDDEN', `${path} cannot be resolved: ${(error as Error).message}`, {
        path,
      });
    }
    return resolve(realFormOf(parent), relative(parent, path));
  }
}
