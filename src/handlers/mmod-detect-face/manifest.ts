import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { BOXES_PARAMS, MODEL_PARAMS, standInParam } from '../common-params.js';

const params = Type.Object({
  ...MODEL_PARAMS,
  model: standInParam('ssd_mobilenetv1', "dlib's MMOD weights", 'mmod'),
  upsample: Type.Integer({
    minimum: 0,
    maximum: 4,
    default: 1,
    description:
      'Of mmod: times that the frame is doubled first (faces of 80 px are found as they are); other models ignore it',
  }),
  thresh: Type.Number({ minimum: 0, maximum: 1, default: 0.5, description: 'Smallest prob of a box' }),
  ...BOXES_PARAMS,
});
export type MmodDetectFaceParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 10,
  handler_type_name: 'mmod_detect_face',
  aliases: ['MmodDetectFace'],
  description:
    "Finds faces with dlib's MMOD net where it was imported (`models import mmod`), else with ssd_mobilenetv1",
  inputs: [{ name: 'picture', accepts: ['frame', 'boxes'] }],
  outputs: [{ name: 'boxes', emits: 'boxes' }],
  params,
  cost: { cpu_ms: 108, gpu_ms: 0, mem_mb: 300, out_bytes: 480_000 },
  host: 'own',
  share: false,
  load: () => import('./handler.js'),
});
