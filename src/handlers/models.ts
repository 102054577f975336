/** What every model handler does around its model. */
import type { Box } from '../contracts/packet.js';
import type { HandlerContext } from '../handler-kit/define.js';
import type { EngineOptions } from '../vision/engine.js';
import type { LandmarkerModel } from '../vision/landmarker.js';

interface ModelParams {
  readonly gpu: boolean | 'auto';
}

/** The engine options that the node and the parameters give. */
export function engineOptions(context: HandlerContext<ModelParams>): EngineOptions {
  return {
    threads: context.threads,
    gpu: context.params.gpu,
    cacheDir: context.cacheDir,
    onProgress: (message) => context.progress(message),
  };
}

const LANDMARKERS: readonly string[] = ['face_landmark_68', 'face_landmark_68_tiny'] satisfies LandmarkerModel[];

/** The landmark model that `predictor` names; the reference's dlib files stand for the default. */
export function landmarkerModel(context: HandlerContext<{ readonly predictor: string }>): LandmarkerModel {
  const { predictor } = context.params;
  if (LANDMARKERS.includes(predictor)) return predictor as LandmarkerModel;
  const message = `predictor ${predictor} is none of ${LANDMARKERS.join(', ')}; face_landmark_68 takes its place`;
  context.logger.warn({ predictor }, message);
  return 'face_landmark_68';
}

/** Boxes as `multiple` and `with_crop` ask for them. */
export function asAsked(
  boxes: readonly Box[],
  { multiple, with_crop }: { readonly multiple: boolean; readonly with_crop: boolean },
): Box[] {
  const kept = multiple ? boxes : boxes.filter((box) => boxes.every((other) => other.prob <= box.prob)).slice(0, 1);
  return with_crop ? [...kept] : kept.map(({ crop: _crop, ...box }) => box);
}
