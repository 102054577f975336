import { OrchestratorError } from '../../contracts/errors.js';
import type { Box, Crop } from '../../contracts/packet.js';
import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { alignFace, type Chip, chipFor } from '../../vision/align.js';
import { createLandmarker } from '../../vision/landmarker.js';
import { asAsked, engineOptions, landmarkerModel } from '../models.js';
import { boxesOf, inputAs } from '../ports.js';
import type { AlignParams } from './manifest.js';

export async function create(context: HandlerContext<AlignParams>): Promise<ProcessingHandler> {
  const { params } = context;
  const chip = chipFor(params.pose, params.dim);
  const landmarker = await createLandmarker({ ...engineOptions(context), model: landmarkerModel(context) });
  return {
    kind: 'processing',
    async process(packets) {
      const input = inputAs(packets, 0, 'boxes');
      const boxes = asAsked(input.boxes, { multiple: params.multiple, with_crop: true });
      const aligned = (await landmarker.locate(boxes)).map((box) => ({ ...box, crop: chipOf(box, chip) }));
      return { outputs: [boxesOf(input, asAsked(aligned, params))] };
    },
    close: () => landmarker.dispose(),
  };
}

function chipOf(box: Box, chip: Chip): Crop {
  const crop = alignFace(box, { chip });
  if (crop !== null) return crop;
  throw new OrchestratorError('HANDLER_FAILED', `box ${box.label} has no crop; set with_crop on the handler before`);
}
