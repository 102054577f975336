import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { decodePicture } from '../../vision/images.js';
import { inputAs } from '../ports.js';

export { warmPictures as warm } from '../../vision/images.js';

/** A picture that cannot be decoded throws PICTURE_INVALID: that packet is dropped with reason `error`. */
export async function create(_context: HandlerContext<object>): Promise<ProcessingHandler> {
  return {
    kind: 'processing',
    letsGoOfInputs: true,
    async process(packets) {
      return { outputs: [await decodePicture(inputAs(packets, 0, 'jpeg').data)] };
    },
    close() {},
  };
}
