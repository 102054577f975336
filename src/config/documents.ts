/** JSON and YAML files as plain values; malformed ones are named with their line. */
import { extname } from 'node:path';
import { parseDocument } from '#vendor/yaml.js';
import { type ErrorCode, OrchestratorError } from '../contracts/errors.js';
import { readText } from './settings.js';

export const DOCUMENT_EXTENSIONS: readonly string[] = ['.json', '.yaml', '.yml'];

/** `code` is what a malformed file is refused with. Throws CONFIG_UNREADABLE when it cannot be opened. */
export function readDocument(file: string, code: ErrorCode = 'CONFIG_MALFORMED'): unknown {
  const text = readText(file);
  return extname(file).toLowerCase() === '.json' ? parseJson(text, file, code) : parseYaml(text, file, code);
}

function parseJson(text: string, file: string, code: ErrorCode): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    const { message } = error as Error;
    const position = /at position (\d+)/.exec(message)?.[1];
    const before = position === undefined ? text : text.slice(0, Number(position));
    const line = before.split('\n').length;
    throw new OrchestratorError(code, `${file}:${line}: not valid JSON: ${message}`, { file, line }, { cause: error });
  }
}

/** Aliases are bounded by the library (maxAliasCount), so a small file cannot unfold into a huge value. */
function parseYaml(text: string, file: string, code: ErrorCode): unknown {
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error === undefined) return document.toJS();
  const line = error.linePos?.[0].line ?? 1;
  const reason = error.message.split('\n')[0]!.replace(/ at line \d+, column \d+:?$/, '');
  throw new OrchestratorError(code, `${file}:${line}: not valid YAML: ${reason}`, { file, line }, { cause: error });
}
