/**
 * From the words of an INI file to typed values: each key is converted as its schema says, checked, and defaulted.
 * Unknown sections and keys are problems by name and line; an empty value means the default. All problems of a file are
 * gathered, so that `check` lists them at once.
 */
import { readFileSync } from 'node:fs';
import type { Static, TObject, TSchema } from '#vendor/typebox.js';
import { OrchestratorError } from '../contracts/errors.js';
import { schemaFaults } from '../contracts/schema.js';
import { type IniEntry, type IniFile, listItems, parseIni } from './ini.js';

/** What the code reads of a TypeBox schema. */
export interface KeySchema {
  readonly type?: string;
  readonly default?: unknown;
  readonly description?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
}

export type SettingsSchema = TObject<Record<string, TObject>>;

export interface Settings<S extends SettingsSchema> {
  readonly file: string;
  readonly value: Static<S>;
  readonly problems: readonly OrchestratorError[];
}

/** The text of a file, or CONFIG_UNREADABLE with the system's own reason. */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (error as Error).message;
    throw new OrchestratorError('CONFIG_UNREADABLE', `${file}: ${reason}`, { file }, { cause: error });
  }
}

/** Reads and checks; throws only when the file cannot be opened. */
export function readSettings<S extends SettingsSchema>(schema: S, file: string): Settings<S> {
  return settingsOf(schema, parseIni(readText(file), file));
}

export function settingsOf<S extends SettingsSchema>(schema: S, ini: IniFile): Settings<S> {
  const problems = [...ini.problems];
  const known = Object.keys(schema.properties);
  for (const [name, section] of ini.sections) {
    if (!known.includes(name)) {
      problems.push(invalid(ini.file, section.line, `unknown section [${name}]; known: ${known.join(', ')}`));
    }
  }
  const value: Record<string, unknown> = {};
  for (const [name, section] of Object.entries(schema.properties)) {
    value[name] = sectionOf(name, section, ini, problems);
  }
  return { file: ini.file, value: value as Static<S>, problems };
}

function sectionOf(name: string, schema: TObject, ini: IniFile, problems: OrchestratorError[]): object {
  const entries = ini.sections.get(name)?.entries ?? new Map<string, IniEntry>();
  const known = Object.keys(schema.properties);
  for (const [key, { line }] of entries) {
    if (!known.includes(key)) {
      problems.push(invalid(ini.file, line, `[${name}] has no key ${key}; known: ${known.join(', ')}`));
    }
  }
  const value: Record<string, unknown> = {};
  for (const [key, keySchema] of Object.entries(schema.properties) as [string, TSchema & KeySchema][]) {
    const entry = entries.get(key);
    value[key] = structuredClone(keySchema.default);
    if (entry === undefined || entry.value === '') continue;
    const converted = convert(entry.value, keySchema);
    const faults = schemaFaults(keySchema, converted);
    if (faults.length === 0) value[key] = converted;
    for (const fault of faults) {
      problems.push(invalid(ini.file, entry.line, `[${name}] ${key} ${fault.replace(/^\/\S* /, '')}`));
    }
  }
  return value;
}

const BOOLEANS: Record<string, boolean> = {
  true: true,
  yes: true,
  on: true,
  1: true,
  false: false,
  no: false,
  off: false,
  0: false,
};

/** The value as its schema types it; text that does not convert stays text, so that the schema refuses it by name. */
function convert(text: string, schema: KeySchema): unknown {
  switch (schema.type) {
    case 'integer':
    case 'number':
      return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : text;
    case 'boolean':
      return BOOLEANS[text.toLowerCase()] ?? text;
    case 'array':
      return listItems(text);
    default:
      return text;
  }
}

function invalid(file: string, line: number, message: string): OrchestratorError {
  return new OrchestratorError('CONFIG_INVALID', `${file}:${line}: ${message}`, { file, line });
}

/** The first problem as the error of a start; the others follow in its context. */
export function throwFirst(problems: readonly OrchestratorError[]): void {
  const [first, ...others] = problems;
  if (first === undefined) return;
  if (others.length === 0) throw first;
  const more = others.map((problem) => problem.message);
  throw new OrchestratorError(first.code, `${first.message} (and ${others.length} more)`, { ...first.context, more });
}

export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) deepFreeze(part);
  }
  return value;
}
