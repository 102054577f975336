/** Every built-in handler type. Manifests are light; the code of one is imported by its `load()`, in a handler host. */
import type { HandlerManifest } from '../handler-kit/define.js';
import { manifest as align } from './align/manifest.js';
import { manifest as capture } from './capture/manifest.js';
import { manifest as decode } from './decode/manifest.js';
import { manifest as describeFace } from './describe-face/manifest.js';
import { manifest as detectFace } from './detect-face/manifest.js';
import { manifest as detectObject } from './detect-object/manifest.js';
import { manifest as dlibAlignRecognize } from './dlib-align-recognize/manifest.js';
import { manifest as drawBoxes } from './draw-boxes/manifest.js';
import { manifest as drawLabeledBoxes } from './draw-labeled-boxes/manifest.js';
import { manifest as encode } from './encode/manifest.js';
import { manifests as external } from './external/manifest.js';
import { manifest as facenetRecognize } from './facenet-recognize/manifest.js';
import { manifest as haarDetectFace } from './haar-detect-face/manifest.js';
import { manifest as hogDetectFace } from './hog-detect-face/manifest.js';
import { manifest as mmodDetectFace } from './mmod-detect-face/manifest.js';
import { manifest as mtcnnDetectFaceAlign } from './mtcnn-detect-face-align/manifest.js';
import { manifest as openfaceRecognize } from './openface-recognize/manifest.js';
import { manifest as recognizeFace } from './recognize-face/manifest.js';
import { manifest as render } from './render/manifest.js';
import { manifest as resize } from './resize/manifest.js';
import { manifest as rx } from './rx/manifest.js';
import { manifest as tx } from './tx/manifest.js';

/** By handler_type_id. */
export const HANDLER_MANIFESTS: readonly HandlerManifest[] = [
  tx,
  rx,
  capture,
  render,
  resize,
  encode,
  decode,
  detectObject,
  haarDetectFace,
  hogDetectFace,
  mmodDetectFace,
  align,
  mtcnnDetectFaceAlign,
  dlibAlignRecognize,
  openfaceRecognize,
  facenetRecognize,
  drawBoxes,
  drawLabeledBoxes,
  detectFace,
  recognizeFace,
  describeFace,
  ...external,
];
