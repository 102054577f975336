/** The MP4 of a render handler: begun with the first frame, in a new file whenever a handler starts anew. */
import { existsSync } from 'node:fs';
import { join, parse } from 'node:path';
import { VideoWriter } from '../../vision/ffmpeg.js';

/** Files of one name; a session that restarts more often than that is broken. */
const FILES_MAX = 10_000;

export class VideoFile {
  readonly #directory: string;
  readonly #name: string;
  readonly #fps: number;
  #writer: VideoWriter | null = null;
  #ended: Promise<void> | null = null;

  constructor(directory: string, name: string, fps: number) {
    this.#directory = directory;
    this.#name = name;
    this.#fps = fps;
  }

  async write(jpeg: Buffer): Promise<void> {
    if (this.#ended !== null) return;
    this.#writer ??= new VideoWriter(freePath(this.#directory, this.#name), this.#fps);
    await this.#writer.write(jpeg);
  }

  /** The file is whole when this resolves; again is no error. */
  end(): Promise<void> {
    this.#ended ??= this.#writer?.end() ?? Promise.resolve();
    return this.#ended;
  }
}

/** `out.mp4`, else `out-1.mp4` ...: what an earlier run recorded stays. */
function freePath(directory: string, file: string): string {
  const { name, ext } = parse(file);
  for (let number = 0; number < FILES_MAX; number++) {
    const path = join(directory, number === 0 ? file : `${name}-${number}${ext}`);
    if (!existsSync(path)) return path;
  }
  throw new Error(`${directory} holds ${FILES_MAX} videos of the name ${file}`);
}
