import { OrchestratorError } from '../../contracts/errors.js';
import type { Box } from '../../contracts/packet.js';
import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { createFaceDescriber } from '../../vision/face-attributes.js';
import { FACE_HEIGHT_MIN_PX } from '../../vision/recognizer.js';
import { asAsked, engineOptions } from '../models.js';
import { boxesOf, inputAs } from '../ports.js';
import type { DescribeFaceParams } from './manifest.js';

const TOO_SMALL_NOTE = 'too small to describe';

export async function create(context: HandlerContext<DescribeFaceParams>): Promise<ProcessingHandler> {
  const { params } = context;
  const describer = await createFaceDescriber({ ...engineOptions(context), models: params.models });

  async function described(boxes: readonly Box[]): Promise<Box[]> {
    const large = boxes.filter((box) => box.h >= FACE_HEIGHT_MIN_PX);
    const told = await describer.describe(large.map(withPixels));
    return boxes.map((box) => {
      const attributes = told[large.indexOf(box)];
      if (attributes === undefined) return { ...box, note: box.note ?? TOO_SMALL_NOTE };
      return { ...box, attributes: { ...box.attributes, ...attributes } };
    });
  }

  return {
    kind: 'processing',
    async process(packets) {
      const input = inputAs(packets, 0, 'boxes');
      const boxes = asAsked(input.boxes, { multiple: params.multiple, with_crop: true });
      return { outputs: [boxesOf(input, asAsked(await described(boxes), params))] };
    },
    close: () => describer.dispose(),
  };
}

function withPixels(box: Box): Box {
  if (box.crop !== undefined) return box;
  const message = `box ${box.label} has no crop; set with_crop on the handler before`;
  throw new OrchestratorError('HANDLER_FAILED', message);
}
