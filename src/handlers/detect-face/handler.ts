import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { createFaceDetector } from '../../vision/face-detector.js';
import { detectionHandler, SAME_FACE_IOU } from '../detection.js';
import { engineOptions } from '../models.js';
import type { DetectFaceParams } from './manifest.js';

export async function create(context: HandlerContext<DetectFaceParams>): Promise<ProcessingHandler> {
  const { params } = context;
  const detector = await createFaceDetector({
    ...engineOptions(context),
    model: params.model,
    size: params.size ?? undefined,
    thresh: params.thresh ?? undefined,
  });
  return detectionHandler({ detector, params, heightMinPx: params.min_size, iouMax: SAME_FACE_IOU });
}
