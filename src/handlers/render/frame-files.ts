/** Numbered pictures `000012.jpg` in one directory: each appears whole or not at all, and the oldest make room for new ones. */
import { readdirSync, rmSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const FRAME_FILE = /^(\d{6,})\.jpg$/;
const LEFTOVER = /^\.\d{6,}\.jpg\.part$/;

export class FrameFiles {
  /** Sequences of the files that are there, ascending; those before #oldest are deleted. */
  #sequences: number[];
  #oldest = 0;

  /** `framesMax` 0 keeps all. What an earlier run left is counted; its unfinished file is removed. */
  constructor(
    readonly directory: string,
    readonly framesMax: number,
  ) {
    const names = readdirSync(directory);
    for (const name of names) if (LEFTOVER.test(name)) rmSync(join(directory, name), { force: true });
    this.#sequences = names
      .flatMap((name) => FRAME_FILE.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b);
  }

  async write(sequence: number, jpeg: Buffer): Promise<void> {
    const name = `${String(sequence).padStart(6, '0')}.jpg`;
    const part = join(this.directory, `.${name}.part`);
    await writeFile(part, jpeg);
    await rename(part, join(this.directory, name));
    if (this.framesMax === 0) return;
    if (this.#sequences.at(-1) !== sequence) this.#sequences.push(sequence);
    while (this.#sequences.length - this.#oldest > this.framesMax) {
      const victim = this.#sequences[this.#oldest]!;
      await rm(join(this.directory, `${String(victim).padStart(6, '0')}.jpg`), { force: true });
      this.#oldest += 1;
    }
    if (this.#oldest > this.framesMax) {
      this.#sequences = this.#sequences.slice(this.#oldest);
      this.#oldest = 0;
    }
  }
}
