import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OrchestratorError } from '../../contracts/errors.js';
import type { HandlerContext, ProcessingHandler } from '../../handler-kit/define.js';
import { createHaarDetector } from '../../vision/haar-detector.js';
import { detectionHandler, SAME_FACE_IOU } from '../detection.js';
import type { HaarDetectFaceParams } from './manifest.js';

/** Where the packages of OpenCV's data put their cascades. */
const CASCADE_DIRS = [
  '/usr/share/opencv4/haarcascades',
  '/usr/share/opencv/haarcascades',
  '/usr/local/share/opencv4/haarcascades',
  '/opt/homebrew/share/opencv4/haarcascades',
];

export async function create(context: HandlerContext<HaarDetectFaceParams>): Promise<ProcessingHandler> {
  const { params } = context;
  const detector = await createHaarDetector({
    cascade: readFileSync(cascadePath(context)),
    scaleFactor: params.scale_factor,
    minNeighbours: params.min_neighbors,
    minSizePx: params.min_size,
    sidePxMax: params.size,
  });
  return detectionHandler({ detector, params, heightMinPx: params.min_size, iouMax: SAME_FACE_IOU });
}

function cascadePath(context: HandlerContext<HaarDetectFaceParams>): string {
  const { cascade } = context.params;
  const isPath = cascade.includes('/') || cascade.endsWith('.xml');
  const places = isPath ? [context.allowedPath(cascade)] : CASCADE_DIRS.map((dir) => join(dir, `${cascade}.xml`));
  const path = places.find((place) => existsSync(place));
  if (path !== undefined) return path;
  const help = isPath ? '' : "; install OpenCV's data (Debian: apt-get install opencv-data) or name an XML file";
  throw new OrchestratorError('MODEL_NOT_FOUND', `cascade ${cascade} is not at ${places.join(', ')}${help}`, {
    cascade,
  });
}
