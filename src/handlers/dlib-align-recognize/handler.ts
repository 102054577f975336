import { OrchestratorError } from '../../contracts/errors.js';
import type { Box } from '../../contracts/packet.js';
import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { alignFace, chipFor } from '../../vision/align.js';
import { createLandmarker } from '../../vision/landmarker.js';
import { asAsked, engineOptions, landmarkerModel } from '../models.js';
import { boxesOf, inputAs } from '../ports.js';
import { type AlignedFace, createRecognition } from '../recognition.js';
import type { DlibAlignRecognizeParams } from './manifest.js';

/** Of dlib's ResNet. */
const CHIP = chipFor('dlib', 150);

export async function create(context: HandlerContext<DlibAlignRecognizeParams>): Promise<ProcessingHandler> {
  const { params } = context;
  const landmarker = await createLandmarker({ ...engineOptions(context), model: landmarkerModel(context) });
  const recognition = await createRecognition(context, 'face_recognition').catch(async (error: unknown) => {
    await landmarker.dispose();
    throw error;
  });
  return {
    kind: 'processing',
    async process(packets) {
      const input = inputAs(packets, 0, 'boxes');
      const boxes = asAsked(input.boxes, { multiple: params.multiple, with_crop: true });
      const faces = (await landmarker.locate(boxes)).map(alignedFace);
      return { outputs: [boxesOf(input, await recognition.recognize(faces))] };
    },
    async close() {
      await landmarker.dispose();
      await recognition.close();
    },
  };
}

function alignedFace(box: Box): AlignedFace {
  const chip = alignFace(box, { chip: CHIP });
  if (chip !== null) return { box, chip };
  throw new OrchestratorError('HANDLER_FAILED', `box ${box.label} has no crop; set with_crop on the handler before`);
}
