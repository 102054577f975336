/**
 * boxes.jsonl: one line per sequence, in order, never two. A line is written whole or not at all: what a kill tore is cut
 * off when the file is opened again, and so is a line that could not be written because the disk is full. Lines go to the
 * operating system one by one (they outlive the process) and to the disk when the stream ends or the handler closes.
 */
import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import type { BoxRecord } from '../../contracts/packet.js';

export type JournalRecord =
  | { input: string | null; sequence: number; boxes: BoxRecord[]; latency_ms: number }
  | { sequence: number; dropped: string; handler_id: number; detail?: string };

/** Bytes read at a time while the file is searched backwards for its last whole line. */
const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

export class Journal {
  readonly #fd: number;
  #bytes: number;
  #last: number;

  /** Opens or makes the file. Throws when its last line is not one of ours. */
  constructor(readonly path: string) {
    this.#fd = openSync(path, 'a+', 0o644);
    try {
      this.#bytes = lastLineEnd(this.#fd, fstatSync(this.#fd).size);
      ftruncateSync(this.#fd, this.#bytes);
      this.#last = this.#bytes === 0 ? -1 : sequenceOf(lastLine(this.#fd, this.#bytes), path);
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
    try {
      for (let written = 0; written < line.length; ) written += writeSync(this.#fd, line, written);
    } catch (error) {
      ftruncateSync(this.#fd, this.#bytes);
      throw error;
    }
    this.#bytes += line.length;
    this.#last = record.sequence;
  }

  sync(): void {
    fdatasyncSync(this.#fd);
  }

  close(): void {
    fdatasyncSync(this.#fd);
    closeSync(this.#fd);
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
