/** What every model handler does around its model. */
import type { Box } from '../contracts/packet.js';
import type { HandlerContext } from '../handler-kit/define.js';
import type { EngineOptions } from '../vision/engine.js';
import { findImported } from '../vision/imported-models.js';
import type { LandmarkerModel } from '../vision/landmarker.js';
import type { SharedModels } from '../vision/sharing/shared-engine.js';

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
    shared: sharedModels(context),
  };
}

/** Where the service says `share`: under `all` a packet outlives the process that has it. */
function sharedModels({ sharing, session_id, handler_id, delivery }: HandlerContext<ModelParams>): SharedModels | null {
  return sharing === null ? null : { session_id, handler_id, resend: delivery === 'all', ...sharing };
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

export interface Substitute {
  /** A model of the catalogue of the same kind. */
  readonly standIn: string;
  /** The type's own model, where it can be imported: `orchestrator models import NAME`. */
  readonly own?: string;
}

/**
 * The model that `model` names. The reference's types name files of weights (`nn4.small2.v1.t7`,
 * `mmod_human_face_detector.dat`) that no installed package holds: for a file, or when nothing is named, the type's own
 * model runs where it was imported; elsewhere a model of its kind takes its place (for a file with a warning), so that the
 * reference's service files run. Any other name must be one that this node has.
 */
export async function modelOrStandIn(
  context: HandlerContext<{ readonly model: string }>,
  { standIn, own }: Substitute,
): Promise<string> {
  const { model } = context.params;
  const isFile = /[/\\]|\.(dat|t7|pb|h5|pth|bz2|npy|model|weights)$/i.test(model);
  if (model !== '' && !isFile) return model;
  if (own !== undefined && (await findImported(own, context.cacheDir)) !== null) return own;
  if (model === '') return standIn;
  const hint = own === undefined ? '' : ` (\`orchestrator models import ${own}\` brings the own ones)`;
  context.logger.warn({ model }, `the weights ${model} cannot be read here; ${standIn} takes their place${hint}`);
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
