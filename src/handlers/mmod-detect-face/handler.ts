import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { createFaceDetector } from '../../vision/face-detector.js';
import { detectionHandler, SAME_FACE_IOU } from '../detection.js';
import { engineOptions, modelOrStandIn } from '../models.js';
import type { MmodDetectFaceParams } from './manifest.js';

export async function create(context: HandlerContext<MmodDetectFaceParams>): Promise<ProcessingHandler> {
  const { params } = context;
  const model = modelOrStandIn(context, 'ssd_mobilenetv1');
  const detector = await createFaceDetector({ ...engineOptions(context), model, thresh: params.thresh });
  return detectionHandler({ detector, params, heightMinPx: 0, iouMax: SAME_FACE_IOU });
}
