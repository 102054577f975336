import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { createHogDetector } from '../../vision/hog-detector.js';
import { detectionHandler, SAME_FACE_IOU } from '../detection.js';
import type { HogDetectFaceParams } from './manifest.js';

export async function create({ params, cacheDir }: HandlerContext<HogDetectFaceParams>): Promise<ProcessingHandler> {
  const detector = await createHogDetector({ upsample: params.upsample, cacheDir });
  return detectionHandler({ detector, params, heightMinPx: 0, iouMax: SAME_FACE_IOU });
}
