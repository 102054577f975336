import { OrchestratorError } from '../../contracts/errors.js';
import type { Box } from '../../contracts/packet.js';
import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { asAsked } from '../models.js';
import { boxesOf, inputAs } from '../ports.js';
import { type AlignedFace, createRecognition } from '../recognition.js';
import type { RecognizeFaceParams } from './manifest.js';

export async function create(context: HandlerContext<RecognizeFaceParams>): Promise<ProcessingHandler> {
  const { params } = context;
  const recognition = await createRecognition(context, params.model);
  return {
    kind: 'processing',
    async process(packets) {
      const input = inputAs(packets, 0, 'boxes');
      const boxes = asAsked(input.boxes, { multiple: params.multiple, with_crop: true });
      return { outputs: [boxesOf(input, await recognition.recognize(boxes.map(alignedFace)))] };
    },
    close: () => recognition.close(),
  };
}

/** Landmarks say that the crop is aligned. Without alignment the nets confuse people, so that is an error and no guess. */
function alignedFace(box: Box): AlignedFace {
  if (box.crop !== undefined && box.landmarks !== undefined) return { box, chip: box.crop };
  const why =
    box.landmarks === undefined
      ? 'is not aligned; put align before this handler'
      : 'has no crop; set with_crop on align';
  throw new OrchestratorError('HANDLER_FAILED', `box ${box.label} ${why}`);
}
