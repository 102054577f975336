/** Holds the folder table of docs/architecture.md: an unknown folder or a forbidden import, type-only included, fails. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const SRC = fileURLToPath(new URL('../src', import.meta.url));
const PAGE = fileURLToPath(new URL('../docs/architecture.md', import.meta.url));

/** src/ folder -> folders that it may import from besides itself. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  vendor: [],
  std: [],
  contracts: ['std'],
  config: ['contracts', 'std'],
  allocation: ['contracts', 'std'],
  simulation: ['allocation', 'contracts', 'std'],
  links: ['contracts', 'std'],
  vision: ['contracts', 'std'],
  'handler-kit': ['links', 'contracts', 'std'],
  handlers: ['handler-kit', 'vision', 'contracts', 'std'],
  store: ['contracts', 'std'],
  client: ['contracts', 'std'],
  'http-server': ['contracts', 'std'],
  coordinator: ['allocation', 'store', 'client', 'http-server', 'contracts', 'std'],
  collector: ['store', 'http-server', 'contracts', 'std'],
  node: ['links', 'handler-kit', 'handlers', 'client', 'http-server', 'contracts', 'std'],
  main: [
    ...[
      'config',
      'allocation',
      'simulation',
      'links',
      'vision',
      'handler-kit',
      'handlers',
      'store',
      'client',
      'http-server',
    ],
    ...['coordinator', 'collector', 'node', 'contracts', 'std'],
  ],
  cli: ['client', 'config', 'main', 'contracts', 'std'],
};

/** Only the composition root reads the environment, and only config reads the command line's files. */
const MAY_READ_ENVIRONMENT = new Set(['config', 'main', 'cli', 'vision']);

interface Import {
  readonly file: string;
  readonly folder: string;
  readonly target: string;
}

function sourceFiles(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return sourceFiles(path);
    return entry.name.endsWith('.ts') ? [path] : [];
  });
}

function importsOf(file: string): Import[] {
  const folder = relative(SRC, file).split(sep)[0]!;
  const text = readFileSync(file, 'utf8');
  const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g)].map((match) => match[1]!);
  return specifiers.map((specifier) => ({
    file: relative(SRC, file),
    folder,
    target: resolve(dirname(file), specifier),
  }));
}

const files = sourceFiles(SRC);

test('every folder of src/ is in the table', () => {
  const folders = readdirSync(SRC, { withFileTypes: true }).map((entry) => entry.name);
  expect(folders.filter((name) => !(name in MAY_IMPORT))).toEqual([]);
});

test('folders import only what the table allows', () => {
  const forbidden = files.flatMap(importsOf).filter(({ folder, target }) => {
    const other = relative(SRC, target).split(sep)[0]!;
    return other !== folder && !(MAY_IMPORT[folder] ?? []).includes(other);
  });
  expect(forbidden.map(({ file, target }) => `${file} imports ${relative(SRC, target)}`)).toEqual([]);
});

test('handler types never import one another', () => {
  const forbidden = files.flatMap(importsOf).filter(({ file, folder, target }) => {
    if (folder !== 'handlers' || file.split(sep).length < 3) return false;
    const other = relative(SRC, target).split(sep);
    return other[0] === 'handlers' && other.length > 2 && other[1] !== file.split(sep)[1];
  });
  expect(forbidden.map(({ file, target }) => `${file} imports ${relative(SRC, target)}`)).toEqual([]);
});

test('process.env and process.argv are read at the edge only', () => {
  const readers = files.filter((file) => {
    const folder = relative(SRC, file).split(sep)[0]!;
    const isTest = /\.(test|testing)\.ts$/.test(file);
    return !isTest && !MAY_READ_ENVIRONMENT.has(folder) && /process\.(env|argv)\b/.test(readFileSync(file, 'utf8'));
  });
  expect(readers.map((file) => relative(SRC, file))).toEqual([]);
});

test('docs/architecture.md shows the same table', () => {
  const rows = [...readFileSync(PAGE, 'utf8').matchAll(/^\| `([a-z-]+)` \| [^|]+ \| ([^|]*) \|$/gm)];
  const shown = Object.fromEntries(rows.map(([, folder, may]) => [folder, (may!.match(/[a-z-]{3,}/g) ?? []).sort()]));
  const expected = Object.fromEntries(
    Object.entries(MAY_IMPORT).map(([folder, may]) => [
      folder,
      folder === 'main' ? ['but', 'cli', 'everything'] : [...may].sort(),
    ]),
  );
  expect(shown).toEqual(expected);
});

test('packages that the build bundles are imported by their bundle only', () => {
  const direct = files.filter(
    (file) =>
      !relative(SRC, file).startsWith('vendor') && /from '(typebox|undici|yaml)['/]/.test(readFileSync(file, 'utf8')),
  );
  // A test may use what the program does not need of them.
  expect(direct.map((file) => relative(SRC, file)).filter((file) => !file.endsWith('.test.ts'))).toEqual([]);
});
