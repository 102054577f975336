/**
 * Keeps files that parameters name inside the directories that the node's operator allowed. Symbolic links are followed
 * before the decision, of the file and of the directories, so that a link inside cannot lead outside.
 */
import { realpathSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { OrchestratorError } from '../contracts/errors.js';
import { isAddress } from '../std/address.js';

/** The real, absolute form of `path`; SOURCE_FORBIDDEN when it is in none of `allow`. It need not exist (patterns). */
export function allowedPath(path: string, allow: readonly string[]): string {
  const real = realFormOf(resolve(path));
  const directories = allow.filter((one) => !isAddress(one));
  for (const directory of directories) {
    const inside = relative(realFormOf(resolve(directory)), real);
    if (inside === '' || (inside !== '..' && !inside.startsWith(`..${sep}`) && !isAbsolute(inside))) return real;
  }
  throw new OrchestratorError(
    'SOURCE_FORBIDDEN',
    `${path} is not in a directory that this node allows (${directories.length === 0 ? 'none' : directories.join(', ')})`,
    { path },
  );
}

/**
 * The normal form of `url`. It is allowed when an entry of `allow` has the same scheme, host and port and its path begins
 * the url's; an entry of a scheme alone (`rtsp://`) allows every host. SOURCE_FORBIDDEN otherwise: a session must not make
 * a node call addresses that its operator does not mean it to.
 */
export function allowedUrl(url: string, allow: readonly string[]): string {
  const addresses = allow.filter(isAddress);
  if (URL.canParse(url) && addresses.some((entry) => covers(entry, new URL(url)))) return new URL(url).href;
  const known = addresses.length === 0 ? 'none' : addresses.join(', ');
  // Not the whole address: it may hold a password.
  const shown = URL.canParse(url) ? `${new URL(url).protocol}//${new URL(url).host}` : url;
  throw new OrchestratorError('SOURCE_FORBIDDEN', `${shown} is no address that this node allows (${known})`, {
    url: shown,
  });
}

function covers(entry: string, url: URL): boolean {
  if (entry.toLowerCase() === `${url.protocol}//`) return true;
  if (!URL.canParse(entry)) return false;
  const allowed = new URL(entry);
  const path = allowed.pathname.endsWith('/') ? allowed.pathname : `${allowed.pathname}/`;
  const sameHost = allowed.protocol === url.protocol && allowed.host === url.host;
  return sameHost && (path === '//' || `${url.pathname}/`.startsWith(path));
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
