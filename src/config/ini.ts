/**
 * INI files, strictly: every line is blank, a comment, `[section]`, or `key = value` under a section. Anything else is a
 * problem with its line number, never skipped. Keys are case-insensitive; a section or key that comes twice is a problem.
 * A `;` or `#` begins a comment at the start of a line or after a space, so that `pa#ss` stays whole; quotes keep both.
 */
import * as ini from 'ini';
import { OrchestratorError } from '../contracts/errors.js';

export interface IniEntry {
  readonly value: string;
  readonly line: number;
}

export interface IniSection {
  readonly line: number;
  readonly entries: ReadonlyMap<string, IniEntry>;
}

export interface IniFile {
  readonly file: string;
  readonly sections: ReadonlyMap<string, IniSection>;
  readonly problems: readonly OrchestratorError[];
}

const SECTION = /^\[\s*([A-Za-z][\w.-]*)\s*\](?:\s+[;#].*)?$/;
const ENTRY = /^([A-Za-z][\w-]*)\s*[=:]\s*(.*)$/;

/** Lines that are not shown in a message. */
const SECRET = /passw|token|secret/i;

/** Longest line shown in a message, characters. */
const SHOWN_MAX = 60;

export function parseIni(text: string, file: string): IniFile {
  const sections = new Map<string, { line: number; entries: Map<string, IniEntry> }>();
  const problems: OrchestratorError[] = [];
  let current: { name: string; entries: Map<string, IniEntry> } | null = null;
  const malformed = (line: number, message: string) =>
    problems.push(new OrchestratorError('CONFIG_MALFORMED', `${file}:${line}: ${message}`, { file, line }));

  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  for (const [index, raw] of lines.entries()) {
    const line = index + 1;
    const trimmed = raw.trim();
    if (trimmed === '' || trimmed.startsWith(';') || trimmed.startsWith('#')) continue;
    const section = SECTION.exec(trimmed);
    const entry = ENTRY.exec(trimmed);
    if (section !== null) {
      const name = section[1]!.toLowerCase();
      const known = sections.get(name);
      if (known !== undefined) malformed(line, `section [${name}] is already on line ${known.line}`);
      const entries = known?.entries ?? new Map<string, IniEntry>();
      if (known === undefined) sections.set(name, { line, entries });
      current = { name, entries };
    } else if (entry === null) {
      const shown = SECRET.test(trimmed) ? 'a line with a secret' : trimmed.slice(0, SHOWN_MAX);
      malformed(line, `neither [section] nor key = value: ${shown}`);
    } else if (current === null) {
      malformed(line, `${entry[1]} stands before any [section]`);
    } else {
      const key = entry[1]!.toLowerCase();
      const known = current.entries.get(key);
      if (known !== undefined) malformed(line, `[${current.name}] ${key} is already on line ${known.line}`);
      else current.entries.set(key, { value: plainValue(entry[2]!), line });
    }
  }
  return { file, sections, problems };
}

function plainValue(text: string): string {
  const quoted = /^("(?:[^"\\]|\\.)*"|'[^']*')(?:\s+[;#].*)?$/.exec(text);
  if (quoted !== null) return String(ini.unsafe(quoted[1]!));
  return text.replace(/(?:^|\s+)[;#].*$/, '').trim();
}

/** INI text of `sections`; every value is quoted, so that whatever it holds reads back as it was. */
export function iniText(
  sections: Readonly<Record<string, Readonly<Record<string, string | number | boolean>>>>,
): string {
  return Object.entries(sections)
    .map(([name, entries]) => {
      const lines = Object.entries(entries).map(([key, value]) => `${key} = ${JSON.stringify(String(value))}\n`);
      return `[${name}]\n${lines.join('')}`;
    })
    .join('\n');
}

/** Items of a list as one value; a comma inside an item is written `\,`. */
export const listText = (items: readonly string[]): string =>
  items.map((item) => item.replaceAll(',', '\\,')).join(', ');

export const listItems = (text: string): string[] =>
  text
    .split(/(?<!\\),/)
    .map((item) => item.trim().replaceAll('\\,', ','))
    .filter((item) => item !== '');
