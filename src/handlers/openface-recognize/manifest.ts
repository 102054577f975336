import Type, { type Static } from 'typebox';
import { defineHandler } from '../../handler-kit/define.js';
import {
  BOXES_PARAMS,
  ClassifierParam,
  EmbeddingsParam,
  MODEL_PARAMS,
  RelativeThreshParam,
  standInParam,
} from '../common-params.js';

const params = Type.Object({
  ...MODEL_PARAMS,
  model: standInParam('face_recognition', "OpenFace's nn4.small2 weights"),
  classifier: ClassifierParam,
  dim: Type.Integer({ minimum: 0, maximum: 1024, default: 96, description: 'Accepted and ignored: crops are fitted' }),
  thresh: RelativeThreshParam,
  embeddings: EmbeddingsParam,
  ...BOXES_PARAMS,
});
export type OpenfaceRecognizeParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 14,
  handler_type_name: 'openface_recognize',
  aliases: ['OpenfaceRecognize'],
  description:
    "Names each aligned face after a gallery, as the reference's type does; runs on dlib's ResNet by default",
  inputs: [{ name: 'boxes', accepts: ['boxes'] }],
  outputs: [{ name: 'boxes', emits: 'boxes' }],
  params,
  cost: { cpu_ms: 28, gpu_ms: 0, mem_mb: 220, out_bytes: 250_000 },
  host: 'own',
  load: () => import('./handler.js'),
});
