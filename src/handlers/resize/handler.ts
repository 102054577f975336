import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { inputAs } from '../ports.js';
import { sized } from '../sized.js';
import type { ResizeParams } from './manifest.js';

export async function create({ params }: HandlerContext<ResizeParams>): Promise<ProcessingHandler> {
  return {
    kind: 'processing',
    letsGoOfInputs: true,
    async process(packets) {
      return { outputs: [await sized(inputAs(packets, 0, 'frame'), params.width, params.height)] };
    },
    close() {},
  };
}
