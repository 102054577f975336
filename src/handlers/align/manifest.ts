import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { BOXES_PARAMS, MODEL_PARAMS } from '../common-params.js';

const params = Type.Object({
  ...MODEL_PARAMS,
  predictor: Type.String({
    default: 'face_landmark_68',
    description:
      '`face_landmark_68` or `face_landmark_68_tiny`; any other name (a dlib file) means the default, with a warning',
  }),
  indices: Type.String({
    default: 'OUTER_EYES_AND_NOSE',
    description: 'Accepted and ignored: all landmarks are fitted, which is steadier than three',
  }),
  dim: Type.Integer({ minimum: 32, maximum: 1024, default: 150, description: 'Side of the aligned crop, px' }),
  pose: Type.Enum(['dlib', 'arcface'], {
    default: 'dlib',
    description:
      'What the recogniser behind was trained on: `dlib` for those of the catalogue, `arcface` (with dim 112) for most others',
  }),
  ...BOXES_PARAMS,
});
export type AlignParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 11,
  handler_type_name: 'align',
  aliases: ['DlibAlign'],
  description: 'Finds the landmarks of each face and turns its crop to a canonical pose',
  inputs: [{ name: 'boxes', accepts: ['boxes'] }],
  outputs: [{ name: 'boxes', emits: 'boxes' }],
  params,
  cost: { cpu_ms: 10, gpu_ms: 0, mem_mb: 70, out_bytes: 250_000 },
  host: 'shared',
  share: false,
  load: () => import('./handler.js'),
});
