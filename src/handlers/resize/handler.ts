import type { Frame } from '../../contracts/packet.js';
import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { resizeFrame } from '../../vision/images.js';
import { inputAs } from '../ports.js';
import type { ResizeParams } from './manifest.js';

export async function create({ params }: HandlerContext<ResizeParams>): Promise<ProcessingHandler> {
  return {
    kind: 'processing',
    async process(packets) {
      return { outputs: [await resized(inputAs(packets, 0, 'frame'), params)] };
    },
    close() {},
  };
}

/** A side that is 0 follows in proportion; with both 0 nothing changes. */
async function resized(frame: Frame, { width, height }: ResizeParams): Promise<Frame> {
  if (width === 0 && height === 0) return frame;
  const inProportion = (to: number, from: number, other: number) => Math.max(1, Math.round((other * to) / from));
  return resizeFrame(
    frame,
    width || inProportion(height, frame.height, frame.width),
    height || inProportion(width, frame.width, frame.height),
  );
}
