/**
 * Reads `boxes.jsonl` of a render handler while it grows: whole lines only, each once. A file that became
 * `boxes.1.jsonl` meanwhile is read to its end before the new one.
 */
import { closeSync, existsSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { BoxRecord } from '../contracts/packet.js';

export type JournalLine =
  | {
      readonly sequence: number;
      readonly input?: string;
      readonly boxes: readonly BoxRecord[];
      readonly latency_ms: number;
    }
  | { readonly sequence: number; readonly dropped: string; readonly handler_id: number; readonly detail?: string };

const CHUNK_BYTES = 1 << 20;
const NEWLINE = 10;

export class BoxesJournal {
  readonly #file: string;
  #inode: number | null = null;
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(file: string) {
    this.#file = file;
  }

  /** What has been written since the last call. */
  read(): JournalLine[] {
    const lines: JournalLine[] = [];
    if (this.#hasBegunAnew()) {
      this.#readInto(lines, this.#file.replace(/\.jsonl$/, '.1.jsonl'));
      this.#offset = 0;
    }
    this.#readInto(lines, this.#file);
    return lines;
  }

  #hasBegunAnew(): boolean {
    const inode = existsSync(this.#file) ? statSync(this.#file).ino : this.#inode;
    const changed = this.#inode !== null && inode !== this.#inode;
    this.#inode = inode;
    return changed;
  }

  #readInto(lines: JournalLine[], file: string): void {
    if (!existsSync(file)) return;
    const fd = openSync(file, 'r');
    try {
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
      for (;;) {
        const count = readSync(fd, chunk, 0, CHUNK_BYTES, this.#offset);
        if (count === 0) return;
        this.#offset += count;
        const text = Buffer.concat([this.#rest, chunk.subarray(0, count)]);
        const end = text.lastIndexOf(NEWLINE) + 1;
        this.#rest = text.subarray(end);
        const whole = text.subarray(0, end).toString('utf8').split('\n').filter(Boolean);
        lines.push(...whole.map((line) => JSON.parse(line) as JournalLine));
      }
    } finally {
      closeSync(fd);
    }
  }
}

/** The directory below `outputsDir` (of a node and session) that holds a file named `name`; null while there is none. */
export function findOutput(outputsDir: string, name: string): string | null {
  if (!existsSync(outputsDir)) return null;
  for (const entry of readdirSync(outputsDir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && entry.name === name) return join(entry.parentPath, entry.name);
  }
  return null;
}
