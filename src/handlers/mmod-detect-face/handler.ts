import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { createFaceDetector } from '../../vision/face-detector.js';
import { detectionHandler, SAME_FACE_IOU } from '../detection.js';
import { engineOptions, modelOrStandIn } from '../models.js';
import type { MmodDetectFaceParams } from './manifest.js';

export async function create(context: HandlerContext<MmodDetectFaceParams>): Promise<ProcessingHandler> {
  const { params } = context;
  const model = await modelOrStandIn(context, { standIn: 'ssd_mobilenetv1', own: 'mmod' });
  const { thresh, upsample } = params;
  const detector = await createFaceDetector({ ...engineOptions(context), model, thresh, upsample });
  return detectionHandler({ detector, params, heightMinPx: 0, iouMax: SAME_FACE_IOU });
}
