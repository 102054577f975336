/**
 * Directories in which sinks of a session write. Invariant: a session never goes on in what an earlier session of the
 * same number left, because sinks would take that for their own record; such a directory is renamed, not removed.
 * A session that comes back (its agent was restarted) finds its own again, known by the time at which it was created.
 */
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const MARKER = '.session';

/** Makes the directory; `createdAt` (s since the epoch) tells sessions of one number apart, undefined takes what is there. */
export async function prepareOutputs(outputDir: string, createdAt: number | undefined): Promise<void> {
  if (createdAt !== undefined && (await markOf(outputDir)) !== String(createdAt)) await setAside(outputDir);
  await mkdir(outputDir, { recursive: true });
  if (createdAt !== undefined) await writeFile(join(outputDir, MARKER), String(createdAt));
}

function markOf(outputDir: string): Promise<string | null> {
  return readFile(join(outputDir, MARKER), 'utf8').catch(() => null);
}

/** Renames the directory, if there is one, after the time of its last change. */
export async function setAside(outputDir: string): Promise<void> {
  const found = await stat(outputDir).catch(() => null);
  if (found === null) return;
  const changed = found.mtime.toISOString().replaceAll(':', '').replace(/\..*/, '');
  for (let count = 0; count < 1000; count++) {
    const target = `${outputDir}.${changed}${count === 0 ? '' : `-${count}`}`;
    if ((await stat(target).catch(() => null)) !== null) continue;
    await rename(outputDir, target);
    return;
  }
}
