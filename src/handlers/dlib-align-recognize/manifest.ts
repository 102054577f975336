import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { BOXES_PARAMS, ClassifierParam, EmbeddingsParam, MODEL_PARAMS } from '../common-params.js';

const params = Type.Object({
  ...MODEL_PARAMS,
  predictor: Type.String({
    default: 'face_landmark_68',
    description:
      '`face_landmark_68` or `face_landmark_68_tiny`; any other name (a dlib file) means the default, with a warning',
  }),
  model: Type.String({ default: '', description: "dlib's file; accepted and ignored, its ResNet is built in" }),
  classifier: ClassifierParam,
  dim: Type.Integer({
    minimum: 0,
    maximum: 1024,
    default: 96,
    description: 'Accepted and ignored: the model has one input size',
  }),
  jitters: Type.Integer({
    minimum: 1,
    maximum: 100,
    default: 1,
    description: 'Accepted and ignored: each face is described once',
  }),
  thresh: Type.Union([Type.Number({ minimum: 0, maximum: 2 }), Type.Null()], {
    default: 0.6,
    description: "Largest distance to a known face that still names it; null or 0 = the model's own, which is stricter",
  }),
  embeddings: EmbeddingsParam,
  ...BOXES_PARAMS,
});
export type DlibAlignRecognizeParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 13,
  handler_type_name: 'dlib_align_recognize',
  aliases: ['DlibAlignRecognize'],
  description: "align and recognize_face with dlib's ResNet in one handler",
  inputs: [{ name: 'boxes', accepts: ['boxes'] }],
  outputs: [{ name: 'boxes', emits: 'boxes' }],
  params,
  cost: { cpu_ms: 38, gpu_ms: 0, mem_mb: 230, out_bytes: 250_000 },
  host: 'own',
  share: false,
  load: () => import('./handler.js'),
});
