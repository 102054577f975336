import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { BOXES_PARAMS, GpuMemoryParam, MODEL_PARAMS, standInParam } from '../common-params.js';

const params = Type.Object({
  ...MODEL_PARAMS,
  model: standInParam('ssd_mobilenetv1', "MTCNN's weights", 'mtcnn'),
  dim: Type.Integer({ minimum: 32, maximum: 1024, default: 160, description: 'Side of the aligned crop, px' }),
  margin: Type.Integer({
    minimum: 0,
    maximum: 512,
    default: 32,
    description: 'Accepted and ignored: the crop shows what the recognisers of the catalogue were trained on',
  }),
  gpu_memory_frac: GpuMemoryParam,
  ...BOXES_PARAMS,
});
export type MtcnnDetectFaceAlignParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 12,
  handler_type_name: 'mtcnn_detect_face_align',
  aliases: ['MtcnnDetectFaceAlign'],
  description:
    'detect_face and align in one handler: MTCNN where it was imported (`models import mtcnn`), else ssd_mobilenetv1, and face_landmark_68',
  inputs: [{ name: 'picture', accepts: ['frame', 'boxes'] }],
  outputs: [{ name: 'boxes', emits: 'boxes' }],
  params,
  cost: { cpu_ms: 118, gpu_ms: 0, mem_mb: 330, out_bytes: 250_000 },
  host: 'own',
  share: false,
  load: () => import('./handler.js'),
});
