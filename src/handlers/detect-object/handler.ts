import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { createObjectDetector } from '../../vision/object-detector.js';
import { detectionHandler } from '../detection.js';
import { engineOptions } from '../models.js';
import type { DetectObjectParams } from './manifest.js';

export async function create(context: HandlerContext<DetectObjectParams>): Promise<ProcessingHandler> {
  const { params } = context;
  const detector = await createObjectDetector({
    ...engineOptions(context),
    model: params.model,
    size: params.size ?? undefined,
    targets: params.targets,
    thresh: params.thresh,
    nms: params.nms,
  });
  return detectionHandler({ detector, params, heightMinPx: 0, iouMax: params.nms });
}
