import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { encodeJpeg } from '../../vision/images.js';
import { inputAs } from '../ports.js';
import type { EncodeParams } from './manifest.js';

export async function create({ params }: HandlerContext<EncodeParams>): Promise<ProcessingHandler> {
  return {
    kind: 'processing',
    async process(packets) {
      return { outputs: [{ type: 'jpeg', data: await encodeJpeg(inputAs(packets, 0, 'frame'), params.quality) }] };
    },
    close() {},
  };
}
