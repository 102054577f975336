/**
 * Bounds what sinks leave on the disk of a node. When the directories of all sessions take more than `mbMax`, files are
 * removed until they do not, oldest first: those of sessions that have ended, then pictures and videos of running ones.
 * boxes.jsonl of a running session stays: it says what is recorded, and render bounds it by itself.
 */
import type { Dirent } from 'node:fs';
import { lstat, readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../std/logger.js';

export interface OutputSpaceOptions {
  /** Holds a directory per session: `7`, or `7.2026-11-22T101112` when another session took its number. */
  readonly directory: string;
  readonly mbMax: number;
  /** Numbers of the sessions that are there. */
  readonly running: () => ReadonlySet<number>;
  readonly logger: Logger;
}

/** Between two looks, ms: at 100 MB/s of recording, 6 GB above the bound at most. */
const LOOK_MS = 60_000;
/** A file this young may be being written, ms. */
const YOUNG_MS = 60_000;
/** Files that one look counts; more than that are counted by the next ones, when these are gone. */
const FILES_MAX = 1_000_000;
const BYTES_PER_MIB = 2 ** 20;
const EXPENDABLE = /\.(?:jpg|mp4)$/;

interface OutputFile {
  readonly path: string;
  readonly bytes: number;
  readonly changedMs: number;
  readonly isRunning: boolean;
}

export class OutputSpace {
  readonly #options: OutputSpaceOptions;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> = Promise.resolve();

  constructor(options: OutputSpaceOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#looking = this.look(Date.now()).catch((error: Error) => {
        this.#options.logger.warn({}, `outputs cannot be looked at: ${error.message}`);
      });
    }, LOOK_MS);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#looking;
  }

  /** One look, at `nowMs` of the machine's own clock, by which files are dated. */
  async look(nowMs: number): Promise<void> {
    const { directory, mbMax, running, logger } = this.#options;
    const numbers = running();
    const files: OutputFile[] = [];
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      const isRunning = numbers.has(Number(entry.name));
      if (entry.isDirectory()) await collect(join(directory, entry.name), isRunning, files);
    }
    const bytesMax = mbMax * BYTES_PER_MIB;
    let bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    if (bytes <= bytesMax) return;
    const before = bytes;
    let removed = 0;
    for (const file of files.filter((one) => isExpendable(one, nowMs)).sort(byWorth)) {
      if (bytes <= bytesMax) break;
      await rm(file.path, { force: true });
      bytes -= file.bytes;
      removed += 1;
    }
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      if (entry.isDirectory() && !numbers.has(Number(entry.name))) await removeEmpty(join(directory, entry.name));
    }
    const figures = { before_mb: mib(before), after_mb: mib(bytes), mb_max: mbMax, files: removed };
    const what = `outputs took ${mib(before)} MiB of ${mbMax} (outputs_mb): the ${removed} oldest files were removed`;
    if (bytes <= bytesMax) logger.info(figures, what);
    else logger.warn(figures, `${what}, ${mib(bytes)} MiB of running sessions are left`);
  }
}

/** Links are not followed, and count as nothing. */
async function collect(directory: string, isRunning: boolean, files: OutputFile[]): Promise<void> {
  const entries: Dirent[] = await readdir(directory, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    if (files.length >= FILES_MAX) return;
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await collect(path, isRunning, files);
    else {
      const found = await lstat(path).catch(() => null);
      if (found?.isFile()) files.push({ path, bytes: found.size, changedMs: found.mtimeMs, isRunning });
    }
  }
}

function isExpendable({ path, changedMs, isRunning }: OutputFile, nowMs: number): boolean {
  return !isRunning || (EXPENDABLE.test(path) && nowMs - changedMs > YOUNG_MS);
}

function byWorth(a: OutputFile, b: OutputFile): number {
  return Number(a.isRunning) - Number(b.isRunning) || a.changedMs - b.changedMs;
}

async function removeEmpty(directory: string): Promise<void> {
  const entries: Dirent[] = await readdir(directory, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await removeEmpty(join(directory, entry.name));
  await rmdir(directory).catch(() => {});
}

function mib(bytes: number): number {
  return Math.round(bytes / BYTES_PER_MIB);
}
