import Type, { type Static } from 'typebox';
import { defineHandler } from '../../handler-kit/define.js';
import {
  BOXES_PARAMS,
  ClassifierParam,
  EmbeddingsParam,
  GpuMemoryParam,
  MODEL_PARAMS,
  RelativeThreshParam,
  standInParam,
} from '../common-params.js';

const params = Type.Object({
  ...MODEL_PARAMS,
  model: standInParam('faceres', "FaceNet's weights"),
  classifier: ClassifierParam,
  dim: Type.Integer({ minimum: 0, maximum: 1024, default: 160, description: 'Accepted and ignored: crops are fitted' }),
  gpu_memory_frac: GpuMemoryParam,
  thresh: RelativeThreshParam,
  embeddings: EmbeddingsParam,
  ...BOXES_PARAMS,
});
export type FacenetRecognizeParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 15,
  handler_type_name: 'facenet_recognize',
  aliases: ['FacenetRecognize'],
  description: "Names each aligned face after a gallery, as the reference's type does; runs on faceres by default",
  inputs: [{ name: 'boxes', accepts: ['boxes'] }],
  outputs: [{ name: 'boxes', emits: 'boxes' }],
  params,
  cost: { cpu_ms: 67, gpu_ms: 0, mem_mb: 250, out_bytes: 250_000 },
  host: 'own',
  load: () => import('./handler.js'),
});
