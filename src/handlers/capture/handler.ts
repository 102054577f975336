/**
 * Pictures from files, paced like a camera (video is read by video.ts). Sequence number n is file n (modulo their count with `loop`), so that a source
 * that is started again goes on where it was. A picture that cannot be read takes its sequence number with it as a skip.
 */
import { readFile } from 'node:fs/promises';
import type { Frame, PacketMetadata } from '../../contracts/packet.js';
import type { HandlerContext, SourceControl, SourceHandler } from '../../handler-kit/define.js';
import { decodePicture } from '../../vision/images.js';
import { sized } from '../sized.js';
import { listSourceFiles, type SourceFile } from './files.js';
import type { CaptureParams } from './manifest.js';
import { pacer } from './pace.js';
import { videoSource } from './source-kind.js';
import { createVideo } from './video.js';

/**
 * Files that are read and decoded while a picture waits for its time and for room. Two, so that large pictures (40 ms
 * and more each) use more than one core; each holds a decoded frame.
 */
const READ_AHEAD_PICTURES = 2;

interface Picture {
  readonly payload: Frame | { readonly skip: string };
  readonly metadata: PacketMetadata;
}

export async function create(context: HandlerContext<CaptureParams>): Promise<SourceHandler> {
  const { source, loop } = context.params;
  const video = videoSource(context);
  if (video !== null) return createVideo(context, video);
  const files = listSourceFiles(source, (path) => context.allowedPath(path));
  context.logger.debug({ source, files: files.length }, 'source listed');
  return {
    kind: 'source',
    run: (control) => run(context, files, loop, control),
    close() {},
  };
}

async function run(
  context: HandlerContext<CaptureParams>,
  files: readonly SourceFile[],
  loop: boolean,
  control: SourceControl,
): Promise<void> {
  const { signal } = control;
  const fileAt = (sequence: number) => (loop ? files[sequence % files.length] : files[sequence]);
  const read = (sequence: number) => {
    const file = fileAt(sequence);
    return file === undefined || signal.aborted ? null : readPicture(context, file);
  };
  const pace = pacer(context.params.fps, context.clock, signal);
  const ahead = new Map<number, Promise<Picture>>();
  try {
    while (!signal.aborted) {
      const sequence = control.nextSequence();
      // Where the sequence has jumped, what was read for the numbers between is not wanted.
      for (const other of ahead.keys()) if (other < sequence) ahead.delete(other);
      for (let next = sequence; next <= sequence + READ_AHEAD_PICTURES; next++) {
        const reading = ahead.has(next) ? null : read(next);
        if (reading !== null) ahead.set(next, reading);
      }
      const reading = ahead.get(sequence);
      if (reading === undefined) return;
      ahead.delete(sequence);
      const picture = await reading;
      await pace();
      if (!signal.aborted) await control.emit(picture.payload, picture.metadata);
    }
  } finally {
    await Promise.all(ahead.values());
  }
}

/** Never rejects. */
async function readPicture(context: HandlerContext<CaptureParams>, file: SourceFile): Promise<Picture> {
  const metadata = { input: file.name };
  try {
    // Again, as the file may have become a link to somewhere else since it was listed.
    const data = await readFile(context.allowedPath(file.path));
    return { payload: await picture(data, context.params), metadata };
  } catch (error) {
    const reason = `${file.name}: ${error instanceof Error ? error.message : String(error)}`;
    context.logger.warn({ input: file.name }, `picture skipped: ${reason}`);
    return { payload: { skip: reason }, metadata };
  }
}

/** Both sides known: the decoder skips the pixels that are not needed. */
async function picture(data: Buffer, { width, height }: CaptureParams): Promise<Frame> {
  if (width > 0 && height > 0) return decodePicture(data, { width, height });
  return sized(await decodePicture(data), width, height);
}
