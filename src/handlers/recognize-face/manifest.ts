import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import {
  BOXES_PARAMS,
  ClassifierParam,
  EmbeddingsParam,
  MatchThreshParam,
  MODEL_PARAMS,
  modelParam,
} from '../common-params.js';

const params = Type.Object({
  ...MODEL_PARAMS,
  model: modelParam('face_recognition'),
  classifier: ClassifierParam,
  thresh: MatchThreshParam,
  embeddings: EmbeddingsParam,
  dim: Type.Integer({
    minimum: 0,
    maximum: 1024,
    default: 0,
    description: 'Accepted and ignored: the model has one input size',
  }),
  ...BOXES_PARAMS,
});
export type RecognizeFaceParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 19,
  handler_type_name: 'recognize_face',
  aliases: ['RecognizeFace'],
  description: 'Describes each aligned face by a feature vector and names it after the nearest one of a gallery',
  inputs: [{ name: 'boxes', accepts: ['boxes'] }],
  outputs: [{ name: 'boxes', emits: 'boxes' }],
  params,
  cost: { cpu_ms: 28, gpu_ms: 0, mem_mb: 220, out_bytes: 250_000 },
  host: 'own',
  share: false,
  load: () => import('./handler.js'),
});
