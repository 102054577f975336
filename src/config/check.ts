/**
 * Checks configuration and resource files before a start: INI files (and the directories that they name), node, handler
 * type and service files, port types included. Kinds are told by content; what is none of them is counted as skipped.
 */
import { readdirSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import type { HandlerTypeRegistry } from '../contracts/handler-type.js';
import { DOCUMENT_EXTENSIONS, readDocument } from './documents.js';
import { type IniFile, parseIni } from './ini.js';
import { path as absolute, settingsProblems } from './processes.js';
import { type Loaded, loadHandlerTypeFiles, loadNodeFiles, loadServiceFiles } from './resources.js';
import { readText } from './settings.js';

export type FileKind = 'configuration' | 'node' | 'handler type' | 'service';

export interface CheckResult {
  /** Files read, by kind, in the order in which they were checked. */
  readonly files: readonly { readonly file: string; readonly kind: FileKind }[];
  readonly problems: readonly OrchestratorError[];
  readonly warnings: readonly string[];
  /** Files in given directories that are no configuration. */
  readonly skipped: readonly string[];
}

const INI_EXTENSIONS = ['.conf', '.ini'];
const PATH_KEYS = ['node_path', 'handler_type_path', 'service_type_path'];
const SKIPPED_DIRECTORIES = new Set(['node_modules', '.git', 'dist', 'var']);

/** Files of one `check`; more is a wrong directory. */
const FILES_MAX = 10_000;

export function checkPaths(paths: readonly string[], types: HandlerTypeRegistry): CheckResult {
  const found = { files: [] as { file: string; kind: FileKind }[], skipped: [] as string[] };
  const problems: OrchestratorError[] = [];
  const queue: { path: string; given: boolean }[] = paths.map((path) => ({ path, given: true }));
  const seen = new Set<string>();
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    try {
      for (const file of filesUnder(next.path)) {
        if (seen.has(absolute(file))) continue;
        seen.add(absolute(file));
        const isIni = INI_EXTENSIONS.includes(extname(file).toLowerCase());
        const kind = isIni ? 'configuration' : documentKind(file);
        if (kind !== null) found.files.push({ file, kind });
        else if (next.given && next.path === file) problems.push(unknownKind(file));
        else found.skipped.push(file);
        if (isIni) queue.push(...checkIni(file, problems).map((path) => ({ path, given: false })));
      }
    } catch (error) {
      problems.push(toOrchestratorError(error));
    }
  }
  const of = (kind: FileKind) => found.files.filter((one) => one.kind === kind).map((one) => one.file);
  const loads: Loaded<unknown>[] = [
    loadNodeFiles(of('node')),
    loadHandlerTypeFiles(of('handler type'), types),
    loadServiceFiles(of('service'), types),
  ];
  return {
    ...found,
    problems: [...problems, ...loads.flatMap((one) => one.problems)],
    warnings: loads.flatMap((one) => one.warnings),
  };
}

function filesUnder(path: string): string[] {
  let isDirectory: boolean;
  try {
    isDirectory = statSync(path).isDirectory();
  } catch {
    throw new OrchestratorError('CONFIG_UNREADABLE', `${path}: no such file or directory`, { file: path });
  }
  if (!isDirectory) return [path];
  const files: string[] = [];
  const queue = [path];
  for (let directory = queue.shift(); directory !== undefined; directory = queue.shift()) {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const child = join(directory, entry.name);
      const extension = extname(entry.name).toLowerCase();
      if (entry.isDirectory() && !SKIPPED_DIRECTORIES.has(entry.name)) queue.push(child);
      else if ([...INI_EXTENSIONS, ...DOCUMENT_EXTENSIONS].includes(extension)) files.push(child);
      if (files.length > FILES_MAX) {
        throw new OrchestratorError('CONFIG_INVALID', `${path}: more than ${FILES_MAX} files to check`, { file: path });
      }
    }
  }
  return files.sort();
}

/** Gathers the problems of an INI file; returns the directories that it names. */
function checkIni(file: string, problems: OrchestratorError[]): string[] {
  const ini: IniFile = parseIni(readText(file), file);
  const own = settingsProblems(file, ini.sections.keys());
  if (own === null) {
    const known = '[coordinator], [collector] or a section of a node';
    problems.push(new OrchestratorError('CONFIG_INVALID', `${file}: has none of ${known}`, { file }), ...ini.problems);
    return [];
  }
  problems.push(...own);
  const entries = [...ini.sections.values()].flatMap((section) => [...section.entries]);
  return entries.filter(([key]) => PATH_KEYS.includes(key)).map(([, { value }]) => value);
}

const KIND_KEYS: readonly (readonly [FileKind, readonly string[]])[] = [
  ['node', ['node_id', 'node_name', 'node_addr']],
  ['handler type', ['handler_type_id', 'handler_type_name']],
  ['service', ['service_id', 'service_name', 'template', 'variants']],
];

/** By the keys at its top; a file that cannot be parsed is told by its directory, so that its problem is named. */
function documentKind(file: string): FileKind | null {
  let value: unknown;
  try {
    value = readDocument(file);
  } catch {
    if (/handler_?types?\b/.test(file)) return 'handler type';
    return /nodes?[\\/][^\\/]*$/.test(file) ? 'node' : 'service';
  }
  if (typeof value !== 'object' || value === null) return null;
  const keys = new Set(Object.keys(value));
  return KIND_KEYS.find(([, names]) => names.some((name) => keys.has(name)))?.[0] ?? null;
}

function unknownKind(file: string): OrchestratorError {
  const message = `${file}: is neither a node, a handler type nor a service file (no node_id, handler_type_id or service_id)`;
  return new OrchestratorError('CONFIG_INVALID', message, { file });
}
