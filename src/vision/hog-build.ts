/**
 * The optional native part: dlib's HOG detector (native/hog_detector.cc), compiled on the machine that runs it by
 * `orchestrator models build-hog` and by nothing else. The result lies in the model cache under the hash of its source, so
 * a package of another version asks to build again and does not load what it does not fit.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { OrchestratorError } from '../contracts/errors.js';
import type { Progress } from './model-cache.js';

const SOURCE = fileURLToPath(new URL('../../native/hog_detector.cc', import.meta.url));
/** dlib is a library of templates: one file takes some 15 s on one core. */
const BUILD_MS_MAX = 600_000;
const OUTPUT_BYTES_MAX = 4 * 1024 ** 2;

/** How to get the native part, for errors. */
export const HOG_HINT = 'apt-get install g++ libdlib-dev, then `orchestrator models build-hog` on this node';

/** Where the built detector lies, whether it is there or not. */
export function hogPath(cacheDir: string): string {
  const hash = createHash('sha256').update(readFileSync(SOURCE)).digest('hex').slice(0, 16);
  return join(cacheDir, 'native', `hog_detector-${process.platform}-${process.arch}-${hash}.node`);
}

export interface HogBuildOptions {
  readonly cacheDir: string;
  readonly onProgress: Progress;
  /** Directory of node_api.h; that of the running Node.js when not given. */
  readonly nodeHeaders?: string;
}

/**
 * Compiles it, also when it is there already.
 * @returns the path of the built file
 * @throws HANDLER_FAILED naming what is missing: Node's headers, a compiler, or dlib
 */
export async function buildHog({ cacheDir, onProgress, nodeHeaders }: HogBuildOptions): Promise<string> {
  const headers = nodeHeaders ?? join(dirname(process.execPath), '..', 'include', 'node');
  if (!existsSync(join(headers, 'node_api.h'))) {
    throw failed(`the headers of Node.js (node_api.h) are not in ${headers}; Debian's nodejs has them in libnode-dev`);
  }
  const target = hogPath(cacheDir);
  await mkdir(dirname(target), { recursive: true });
  const directory = await mkdtemp(join(dirname(target), 'build-'));
  try {
    onProgress('compiling the HOG detector of dlib (some 15 s)');
    const built = join(directory, 'hog_detector.node');
    await compile([...FLAGS, `-I${headers}`, SOURCE, '-ldlib', '-o', built]);
    // Renamed whole: a handler that starts meanwhile finds the old file or the new one.
    await rename(built, target);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  return target;
}

/** SSE 4.1 is on every 64-bit x86 of this age; more would tie the file to one kind of CPU for a fifth of the time. */
const FLAGS = ['-std=c++17', '-O3', ...(process.arch === 'x64' ? ['-msse4.1'] : []), '-shared', '-fPIC'];

async function compile(args: readonly string[]): Promise<void> {
  try {
    await promisify(execFile)('g++', args, { timeout: BUILD_MS_MAX, maxBuffer: OUTPUT_BYTES_MAX });
  } catch (error) {
    const { code, stderr = '' } = error as { code?: unknown; stderr?: string };
    if (code === 'ENOENT') throw failed(`there is no compiler g++; ${HOG_HINT}`, error);
    if (/dlib\/.*No such file|cannot find -ldlib/.test(stderr))
      throw failed(`dlib is not installed; ${HOG_HINT}`, error);
    throw failed(stderr.split('\n').find((line) => line.includes('error')) ?? String(error), error);
  }
}

function failed(why: string, cause?: unknown): OrchestratorError {
  return new OrchestratorError('HANDLER_FAILED', `the HOG detector cannot be built: ${why}`, {}, { cause });
}
