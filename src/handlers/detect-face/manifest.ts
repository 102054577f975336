import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { BOXES_PARAMS, MODEL_PARAMS, modelParam, SizeParam } from '../common-params.js';

const params = Type.Object({
  ...MODEL_PARAMS,
  model: modelParam('ssd_mobilenetv1'),
  size: SizeParam,
  thresh: Type.Union([Type.Number({ minimum: 0, maximum: 1 }), Type.Null()], {
    default: null,
    description: "Smallest prob of a box; null = the model's own",
  }),
  min_size: Type.Number({ minimum: 0, default: 20, description: 'Smallest height of a face, px of the frame' }),
  ...BOXES_PARAMS,
});
export type DetectFaceParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 18,
  handler_type_name: 'detect_face',
  aliases: ['DetectFace'],
  description: 'Finds faces',
  inputs: [{ name: 'picture', accepts: ['frame', 'boxes'] }],
  outputs: [{ name: 'boxes', emits: 'boxes' }],
  params,
  cost: { cpu_ms: 108, gpu_ms: 0, mem_mb: 300, out_bytes: 480_000 },
  host: 'own',
  share: false,
  load: () => import('./handler.js'),
});
