/**
 * How far the sources of a session are settled, kept beside its outputs for the next life of the agent: without it a
 * source would begin again at 0, and everything downstream would wait, unseen, until it has caught up. What a file says
 * may be old by a heartbeat of the host, which costs a few packets that are sent again; it is never ahead of the truth.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Type from '#vendor/typebox.js';
import { schemaFaults } from '../contracts/schema.js';

const NAME = '.settled.json';

const FileSchema = Type.Record(Type.String({ pattern: '^\\d{1,15}$' }), Type.Integer({ minimum: -1 }), {
  additionalProperties: false,
});

export class Checkpoints {
  readonly #directory: string;
  readonly #sequences: Map<number, number>;
  #writing: Promise<void> | null = null;
  #changed = false;

  private constructor(directory: string, sequences: Map<number, number>) {
    this.#directory = directory;
    this.#sequences = sequences;
  }

  /** With what an earlier life left in the directory; a file that cannot be read is none. */
  static async open(directory: string): Promise<Checkpoints> {
    return new Checkpoints(directory, await read(join(directory, NAME)));
  }

  /** By handler_id, the highest sequence that is known to be settled. */
  get sequences(): ReadonlyMap<number, number> {
    return this.#sequences;
  }

  note(handler_id: number, settled: number): void {
    if (settled <= (this.#sequences.get(handler_id) ?? -1)) return;
    this.#sequences.set(handler_id, settled);
    this.#changed = true;
    this.#writing ??= this.#write();
  }

  /** Resolves when everything noted is on disk, as far as the disk takes it. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  /** One write at a time; what is noted meanwhile goes with the next. A full disk costs a newer file, nothing else. */
  async #write(): Promise<void> {
    const path = join(this.#directory, NAME);
    while (this.#changed) {
      this.#changed = false;
      try {
        await writeFile(`${path}.new`, JSON.stringify(Object.fromEntries(this.#sequences)));
        await rename(`${path}.new`, path);
      } catch {
        // The last whole file stays.
      }
    }
    this.#writing = null;
  }
}

async function read(path: string): Promise<Map<number, number>> {
  try {
    const found: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (schemaFaults(FileSchema, found).length > 0) return new Map();
    return new Map(Object.entries(found as Record<string, number>).map(([id, sequence]) => [Number(id), sequence]));
  } catch {
    return new Map();
  }
}
