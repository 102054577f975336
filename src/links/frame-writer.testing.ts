/** The bytes of frames, for tests that take them apart. */
import { FrameWriter } from './frame-writer.js';

export function written(write: (writer: FrameWriter) => void): Buffer {
  const writer = new FrameWriter();
  write(writer);
  return Buffer.concat(writer.take().pieces);
}
