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

/**
 * The model that `model` names. The reference's types name files of weights that are in no package (`nn4.small2.v1.t7`,
 * `mmod_human_face_detector.dat`): for a file a model of its kind takes its place, with a warning, so that the
 * reference's service files run; any other name must be one that this node has.
 */
export function modelOrStandIn(context: HandlerContext<{ readonly model: string }>, standIn: string): string {
  const { model } = context.params;
  if (model === '') return standIn;
  if (!/[/\\]|\.(dat|t7|pb|h5|pth|bz2|npy|model|weights)$/i.test(model)) return model;
  context.logger.warn({ model }, `the weights ${model} cannot be read here; ${standIn} takes their place`);
  return standIn;
}

/** Boxes as `multiple` and `with_crop` ask for them. */
export function asAsked(
  boxes: readonly Box[],
  { multiple, with_crop }: { readonly multiple: boolean; readonly with_crop: boolean },
): Box[] {
  const kept = multiple ? boxes : boxes.filter((box) => boxes.every((other) => other.prob <= box.prob)).slice(0, 1);
  return with_crop ? [...kept] : kept.map(({ crop: _crop, ...box }) => box);
}
