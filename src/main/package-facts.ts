/** Facts of the installed package: its version, and paths inside it. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OrchestratorError } from '../contracts/errors.js';
import { compiledEntry } from '../std/compiled-entry.js';

export const PACKAGE_ROOT = fileURLToPath(new URL('../../', import.meta.url));

export const VERSION: string = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')).version;

/** Service files that ship with the package. */
export const SERVICES_DIR = join(PACKAGE_ROOT, 'resources', 'services');

/** The command line as Node runs it: daemons of a local cluster are started from it. */
export const cliEntry = (): string => compiledEntry(import.meta.url, '../cli/orchestrator.js');

export const hostEntry = (): string => compiledEntry(import.meta.url, './host.js');

export const modelEntry = (): string => compiledEntry(import.meta.url, './model-process.js');

/** The directory of face-api's sample pictures (sample1.jpg .. sample6.jpg), which npm installs with its models. */
export function samplePicturesDir(): string {
  const directory = join(packageDir('@vladmandic/face-api'), 'demo');
  if (existsSync(join(directory, 'sample1.jpg'))) return directory;
  throw new OrchestratorError(
    'SOURCE_NOT_FOUND',
    `${directory}: the sample pictures of @vladmandic/face-api are missing`,
  );
}

function packageDir(name: string): string {
  const require = createRequire(import.meta.url);
  for (const root of require.resolve.paths(name) ?? []) {
    if (existsSync(join(root, name, 'package.json'))) return join(root, name);
  }
  return dirname(require.resolve(name));
}
