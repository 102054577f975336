import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { encodeJpeg } from '../../vision/images.js';
import { inputAs } from '../ports.js';
import { sized } from '../sized.js';
import type { EncodeParams } from './manifest.js';

export async function create({ params }: HandlerContext<EncodeParams>): Promise<ProcessingHandler> {
  return {
    kind: 'processing',
    letsGoOfInputs: true,
    async process(packets) {
      const given = inputAs(packets, 0, 'frame');
      const frame = given.width > params.width ? await sized(given, params.width, 0) : given;
      return { outputs: [{ type: 'jpeg', data: await encodeJpeg(frame, params.quality) }] };
    },
    close() {},
  };
}
