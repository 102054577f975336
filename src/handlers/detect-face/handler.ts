import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { createFaceDetector } from '../../vision/face-detector.js';
import { detectionHandler } from '../detection.js';
import { engineOptions } from '../models.js';
import type { DetectFaceParams } from './manifest.js';

/** Faces found in two overlapping crops are one face when they share this much (IoU). */
const SAME_FACE_IOU = 0.4;

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
