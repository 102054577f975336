/**
 * The MP4 of a render handler: begun with the first frame, in a new file whenever a handler starts anew or a file has
 * reached its bound. The oldest files make room for new ones.
 */
import { readdirSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join, parse } from 'node:path';
import { VideoWriter } from '../../vision/ffmpeg.js';

/** Frames between two looks at the size of the file. */
const FRAMES_PER_LOOK = 50;

export interface VideoFileOptions {
  readonly directory: string;
  /** `out.mp4`; later files are `out-1.mp4` ... */
  readonly name: string;
  readonly fps: number;
  /** Of one file; 0: any size. Looked at every FRAMES_PER_LOOK frames, so a file is a little larger. */
  readonly bytesMax: number;
  /** Files kept, the oldest are deleted beyond it; 0: all. */
  readonly filesMax: number;
}

export class VideoFile {
  readonly #options: VideoFileOptions;
  #writer: VideoWriter | null = null;
  #path = '';
  #frames = 0;
  #ended: Promise<void> | null = null;

  constructor(options: VideoFileOptions) {
    this.#options = options;
  }

  async write(jpeg: Buffer): Promise<void> {
    if (this.#ended !== null) return;
    if (this.#writer !== null && (await this.#isFull())) {
      await this.#writer.end();
      this.#writer = null;
    }
    this.#writer ??= await this.#begin();
    this.#frames += 1;
    await this.#writer.write(jpeg);
  }

  /** The file is whole when this resolves; again is no error. */
  end(): Promise<void> {
    this.#ended ??= this.#writer?.end() ?? Promise.resolve();
    return this.#ended;
  }

  async #begin(): Promise<VideoWriter> {
    const { directory, name, fps, filesMax } = this.#options;
    const numbers = numbersOf(directory, name);
    const excess = filesMax === 0 ? [] : numbers.slice(0, Math.max(0, numbers.length + 1 - filesMax));
    for (const number of excess) await rm(join(directory, fileOf(name, number)), { force: true });
    this.#path = join(directory, fileOf(name, (numbers.at(-1) ?? -1) + 1));
    this.#frames = 0;
    return new VideoWriter(this.#path, fps);
  }

  async #isFull(): Promise<boolean> {
    const { bytesMax } = this.#options;
    if (bytesMax === 0 || this.#frames % FRAMES_PER_LOOK !== 0) return false;
    const { size } = await stat(this.#path).catch(() => ({ size: 0 }));
    return size >= bytesMax;
  }
}

/** `out.mp4` is number 0, `out-1.mp4` number 1. */
function fileOf(file: string, number: number): string {
  const { name, ext } = parse(file);
  return number === 0 ? file : `${name}-${number}${ext}`;
}

/** Of the files that are there, ascending: what an earlier run recorded stays. */
function numbersOf(directory: string, file: string): number[] {
  const { name, ext } = parse(file);
  return readdirSync(directory)
    .flatMap((found) => {
      if (found === file) return 0;
      const digits =
        found.startsWith(`${name}-`) && found.endsWith(ext) ? found.slice(name.length + 1, -ext.length) : '';
      return /^[1-9]\d*$/.test(digits) ? Number(digits) : [];
    })
    .sort((a, b) => a - b);
}
