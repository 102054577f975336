/**
 * Which picture files a `source` parameter names, in natural order (2 before 10). They are listed once, when the handler
 * is created: sequence numbers then mean the same files after a restart.
 */
import { readdirSync, statSync } from 'node:fs';
import { basename, dirname, extname, isAbsolute, join, sep } from 'node:path';
import { OrchestratorError } from '../../contracts/errors.js';

/** Files of one source: an hour at 25 per second is 90 000. */
export const SOURCE_FILES_MAX = 1_000_000;

const PICTURE_EXTENSIONS = new Set(['.jpg', '.jpeg', '.png', '.webp', '.gif', '.tif', '.tiff', '.avif']);

export const isPictureName = (name: string): boolean => PICTURE_EXTENSIONS.has(extname(name).toLowerCase());

export interface SourceFile {
  /** As the source names it, with the pattern replaced by what matched: what `metadata.input` says. */
  readonly name: string;
  /** Absolute, allowed when it was listed. */
  readonly path: string;
}

/** Throws SOURCE_FORBIDDEN, and SOURCE_NOT_FOUND when nothing matches. */
export function listSourceFiles(source: string | number, allowedPath: (path: string) => string): SourceFile[] {
  const given = String(source);
  const kind = kindOf(allowedOrNull(given, allowedPath));
  let names: string[];
  if (kind === 'file') names = [given];
  else if (kind === 'directory') names = picturesIn(given, allowedPath);
  else if (/%0?\d*d/.test(basename(given))) names = numbered(given, allowedPath);
  else if (/[*?]/.test(given)) names = matching(given, allowedPath);
  else {
    allowedPath(given);
    throw new OrchestratorError('SOURCE_NOT_FOUND', `source ${given} is no file or directory`, { source });
  }
  if (names.length === 0) {
    throw new OrchestratorError('SOURCE_NOT_FOUND', `source ${given} names no picture`, { source });
  }
  if (names.length > SOURCE_FILES_MAX) {
    throw new OrchestratorError(
      'HANDLER_PARAMS_INVALID',
      `source ${given} names ${names.length} files, over ${SOURCE_FILES_MAX}`,
    );
  }
  return names.map((name) => ({ name, path: allowedPath(name) }));
}

/** A name with * or % in it may be a real file; one that is not allowed is refused when its directory is listed. */
function allowedOrNull(given: string, allowedPath: (path: string) => string): string | null {
  try {
    return allowedPath(given);
  } catch (error) {
    if (/[*?%]/.test(given)) return null;
    throw error;
  }
}

function kindOf(path: string | null): 'file' | 'directory' | null {
  const stat = path === null ? undefined : statSync(path, { throwIfNoEntry: false });
  if (stat?.isFile()) return 'file';
  return stat?.isDirectory() ? 'directory' : null;
}

function picturesIn(directory: string, allowedPath: (path: string) => string): string[] {
  return filesOf(directory, allowedPath)
    .filter(isPictureName)
    .sort(naturally)
    .map((file) => join(directory, file));
}

/** `img_%04d.jpg` as ffmpeg reads it: at least four digits, in the order of the numbers. */
function numbered(pattern: string, allowedPath: (path: string) => string): string[] {
  const [, before = '', digits = '', after = ''] = /^(.*?)%0?(\d*)d(.*)$/.exec(basename(pattern)) ?? [];
  const expression = new RegExp(`^${literal(before)}(\\d{${Number(digits) || 1},})${literal(after)}$`);
  const directory = dirname(pattern);
  return filesOf(directory, allowedPath)
    .flatMap((file) => {
      const number = expression.exec(file)?.[1];
      return number === undefined ? [] : [{ file, number: Number(number) }];
    })
    .sort((a, b) => a.number - b.number || naturally(a.file, b.file))
    .map(({ file }) => join(directory, file));
}

/** `*` and `?` in any part of the path; they never match a separator, nor a leading dot. */
function matching(pattern: string, allowedPath: (path: string) => string): string[] {
  const parts = pattern.split(sep).filter((part) => part !== '');
  let found = [isAbsolute(pattern) ? sep : ''];
  for (const [index, part] of parts.entries()) {
    const last = index === parts.length - 1;
    if (!/[*?]/.test(part)) found = found.map((path) => join(path, part));
    else {
      const expression = globExpression(part);
      found = found.flatMap((path) =>
        entriesOf(path, last ? 'file' : 'directory', allowedPath)
          .filter((entry) => expression.test(entry))
          .map((entry) => join(path, entry)),
      );
    }
  }
  // What follows the last pattern (`cam*/front.jpg`) need not be there in every directory.
  const tail = /[*?]/.test(parts.at(-1) ?? '') ? found : found.filter((path) => kindOf(allowedPath(path)) === 'file');
  return tail.sort(naturally);
}

function globExpression(part: string): RegExp {
  const body = [...part].map((char) => (char === '*' ? '.*' : char === '?' ? '.' : literal(char))).join('');
  return new RegExp(`^(?!\\.)${body}$`, 'su');
}

function literal(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function filesOf(directory: string, allowedPath: (path: string) => string): string[] {
  return entriesOf(directory, 'file', allowedPath);
}

function entriesOf(directory: string, kind: 'file' | 'directory', allowedPath: (path: string) => string): string[] {
  const path = allowedPath(directory === '' ? '.' : directory);
  if (kindOf(path) !== 'directory') return [];
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => {
      if (entry.isSymbolicLink()) return kindOf(join(path, entry.name)) === kind;
      return kind === 'file' ? entry.isFile() : entry.isDirectory();
    })
    .map((entry) => entry.name);
}

const collator = new Intl.Collator('en', { numeric: true });

/** Names that the collator calls equal (`1` and `01`) still have one order. */
function naturally(a: string, b: string): number {
  return collator.compare(a, b) || (a < b ? -1 : Number(a > b));
}
