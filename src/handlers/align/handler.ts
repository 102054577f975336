import { OrchestratorError } from '../../contracts/errors.js';
import type { Box, Crop } from '../../contracts/packet.js';
import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { alignFace } from '../../vision/align.js';
import { sampleRect } from '../../vision/images.js';
import { createLandmarker } from '../../vision/landmarker.js';
import { asAsked, engineOptions, landmarkerModel } from '../models.js';
import { boxesOf, inputAs } from '../ports.js';
import type { AlignParams } from './manifest.js';

/** Up to this side the chip of the smaller recogniser has every pixel that is asked for. */
const SMALL_CHIP_PX = 150;

export async function create(context: HandlerContext<AlignParams>): Promise<ProcessingHandler> {
  const { params } = context;
  const landmarker = await createLandmarker({ ...engineOptions(context), model: landmarkerModel(context) });
  return {
    kind: 'processing',
    async process(packets) {
      const input = inputAs(packets, 0, 'boxes');
      const boxes = asAsked(input.boxes, { multiple: params.multiple, with_crop: true });
      const aligned = (await landmarker.locate(boxes)).map((box) => ({ ...box, crop: chipOf(box, params.dim) }));
      return { outputs: [boxesOf(input, asAsked(aligned, params))] };
    },
    close: () => landmarker.dispose(),
  };
}

/** Both recognisers take the same pose, so one chip serves either; only the number of pixels differs. */
function chipOf(box: Box, dim: number): Crop {
  const chip = alignFace(box, { model: dim <= SMALL_CHIP_PX ? 'face_recognition' : 'faceres' });
  if (chip === null) {
    throw new OrchestratorError('HANDLER_FAILED', `box ${box.label} has no crop; set with_crop on the handler before`);
  }
  return chip.width === dim ? chip : sampleRect(chip, { x: 0, y: 0, w: chip.width, h: chip.height }, dim, dim);
}
