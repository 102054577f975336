/**
 * What a person's statement may be: one that only reads. The session's read-only transactions are the first wall (writes and
 * DDL fail in the server); this is the second, for what reading can do besides: write files, read other files, wait, lock,
 * and look at the accounts of the server. Words are looked for outside strings, quoted names and comments; a comment that
 * the server would execute is refused, as is a second statement.
 */
import { OrchestratorError } from '../../contracts/errors.js';

const FIRST_WORDS = ['select', 'with', 'values', 'table', 'show', 'describe', 'desc', 'explain'];

/** Each with why. */
const REFUSED: readonly (readonly [RegExp, string])[] = [
  [/\binto\b/, 'INTO writes files or variables'],
  [/\bload_file\b/, 'LOAD_FILE reads files of the server'],
  [
    /\b(sleep|benchmark|get_lock|release_lock|release_all_locks|master_pos_wait)\s*\(/,
    'functions that wait or lock are not accepted',
  ],
  [/\bfor\s+(update|share)\b|\block\s+in\s+share\b/, 'locking reads hold up the reports'],
  [/\b(nextval|setval|lastval)\b|\bnext\s+value\b/, 'sequences are changed by reading them'],
  [
    /(^|[^.\w$])(mysql|performance_schema|sys)\s*\.|\bprocesslist\b|\bgrants\b|\bcreate\s+user\b/,
    'accounts and inner tables of the server are not read here',
  ],
  [/@/, 'variables are not accepted'],
];

/** Throws SQL_REFUSED. */
export function checkReadOnly(statement: string): void {
  const plain = withoutText(statement)
    .toLowerCase()
    .trim()
    .replace(/[;\s]+$/, '');
  if (plain === '') throw refused('the statement is empty');
  const first = /^[\s(]*([a-z]+)/.exec(plain)?.[1] ?? plain.slice(0, 10);
  if (!FIRST_WORDS.includes(first))
    throw refused(`only queries that read tables are accepted, not ${first.toUpperCase()}`);
  if (plain.includes(';')) throw refused('one statement is accepted, not also what follows the semicolon');
  for (const [pattern, why] of REFUSED) if (pattern.test(plain)) throw refused(why);
}

const refused = (why: string) => new OrchestratorError('SQL_REFUSED', why);

/** One string, quoted name or comment at a time; quoted names keep their letters, since a schema can be named so. */
const TEXT =
  /'(?:[^'\\]|\\[\s\S]|'')*'?|"(?:[^"\\]|\\[\s\S]|"")*"?|`((?:[^`]|``)*)`?|--(?:\s[^\n]*|$)|#[^\n]*|\/\*([\s\S]*?)(?:\*\/|$)/gm;

function withoutText(statement: string): string {
  return statement.replace(TEXT, (found, name: string | undefined, comment: string | undefined) => {
    if (comment !== undefined && /^(!|M!|\+)/.test(comment))
      throw refused('comments that the server executes are not accepted');
    if (name !== undefined) return /^(mysql|sys|performance_schema)$/i.test(name) ? name : 'name';
    return found.startsWith("'") || found.startsWith('"') ? "''" : ' ';
  });
}
