import type { Frame } from '../contracts/packet.js';
import { resizeFrame } from '../vision/images.js';

/** `frame` at width x height; a side that is 0 follows in proportion, and with both 0 nothing changes. */
export async function sized(frame: Frame, width: number, height: number): Promise<Frame> {
  if (width === 0 && height === 0) return frame;
  const inProportion = (to: number, from: number, other: number) => Math.max(1, Math.round((other * to) / from));
  return resizeFrame(
    frame,
    width || inProportion(height, frame.height, frame.width),
    height || inProportion(width, frame.width, frame.height),
  );
}
