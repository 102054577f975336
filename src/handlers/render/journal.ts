/**
 * boxes.jsonl: one line per sequence, in order, never two. A line is written whole or not at all: what a kill tore is cut
 * off when the file is opened again, and so is a line that could not be written because the disk is full. Lines go to the
 * operating system one by one (they outlive the process) and to the disk when the stream ends or the handler closes.
 *
 * A file that has reached its bound becomes boxes.1.jsonl, in the place of the one before: the newest lines, at least one
 * bound's worth of them, are always there.
 */
import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
import { parse } from 'node:path';
import type { BoxRecord } from '../../contracts/packet.js';

export type JournalRecord =
  | { input: string | null; sequence: number; boxes: BoxRecord[]; latency_ms: number }
  | { sequence: number; dropped: string; handler_id: number; detail?: string };

/** Bytes read at a time while the file is searched backwards for its last whole line. */
const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

export class Journal {
  readonly #bytesMax: number;
  #fd: number;
  #bytes: number;
  #last: number;

  /** Opens or makes the file. `bytesMax` 0 keeps all. Throws when its last line is not one of ours. */
  constructor(
    readonly path: string,
    bytesMax: number,
  ) {
    this.#bytesMax = bytesMax === 0 ? Number.POSITIVE_INFINITY : bytesMax;
    this.#fd = openSync(path, 'a+', 0o644);
    try {
      this.#bytes = lastLineEnd(this.#fd, fstatSync(this.#fd).size);
      ftruncateSync(this.#fd, this.#bytes);
      this.#last = this.#bytes === 0 ? lastOfFull(fullPath(path)) : sequenceOf(lastLine(this.#fd, this.#bytes), path);
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** Highest sequence recorded, -1 when none. */
  get last(): number {
    return this.#last;
  }

  /** Bytes of whole lines. */
  get bytes(): number {
    return this.#bytes;
  }

  append(record: JournalRecord): void {
    const line = Buffer.from(`${JSON.stringify(record)}\n`);
    if (this.#bytes > 0 && this.#bytes + line.length > this.#bytesMax) this.#beginAnew();
    try {
      for (let written = 0; written < line.length; ) written += writeSync(this.#fd, line, written);
    } catch (error) {
      ftruncateSync(this.#fd, this.#bytes);
      throw error;
    }
    this.#bytes += line.length;
    this.#last = record.sequence;
  }

  #beginAnew(): void {
    const fd = this.#fd;
    renameSync(this.path, fullPath(this.path));
    this.#fd = openSync(this.path, 'a+', 0o644);
    this.#bytes = 0;
    fdatasyncSync(fd);
    closeSync(fd);
  }

  sync(): void {
    fdatasyncSync(this.#fd);
  }

  close(): void {
    fdatasyncSync(this.#fd);
    closeSync(this.#fd);
  }
}

/** `boxes.1.jsonl` of `boxes.jsonl`. */
function fullPath(path: string): string {
  const { dir, name, ext } = parse(path);
  return `${dir}/${name}.1${ext}`;
}

/** Its last sequence, -1 when it is not there: a kill came between the renaming and the first line of the new file. */
function lastOfFull(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return -1;
  }
  try {
    const { size } = fstatSync(fd);
    return size === 0 ? -1 : sequenceOf(lastLine(fd, size), path);
  } finally {
    closeSync(fd);
  }
}

/** Where the last line that has its newline ends. */
function lastLineEnd(fd: number, size: number): number {
  return newlineBefore(fd, size) + 1;
}

function lastLine(fd: number, end: number): string {
  const start = newlineBefore(fd, end - 1) + 1;
  const line = Buffer.alloc(end - start);
  readSync(fd, line, 0, line.length, start);
  return line.toString();
}

/** Position of the last newline in the first `end` bytes, -1 when there is none. */
function newlineBefore(fd: number, end: number): number {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (let stop = end; stop > 0; ) {
    const start = Math.max(0, stop - CHUNK_BYTES);
    const length = readSync(fd, chunk, 0, stop - start, start);
    const found = chunk.subarray(0, length).lastIndexOf(NEWLINE);
    if (found >= 0) return start + found;
    stop = start;
  }
  return -1;
}

function sequenceOf(line: string, path: string): number {
  try {
    const { sequence } = JSON.parse(line) as { sequence?: unknown };
    if (typeof sequence === 'number') return sequence;
  } catch {
    // told below
  }
  throw new Error(`${path}: its last line is no record of a sequence: ${line.slice(0, 80)}`);
}
