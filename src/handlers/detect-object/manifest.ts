import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { BOXES_PARAMS, MODEL_PARAMS, modelParam, SizeParam } from '../common-params.js';

const params = Type.Object({
  ...MODEL_PARAMS,
  model: modelParam('centernet'),
  size: SizeParam,
  targets: Type.Array(Type.String({ minLength: 1 }), {
    minItems: 1,
    default: ['all'],
    description: 'COCO class names to keep, or `all`',
  }),
  thresh: Type.Number({
    minimum: 0,
    maximum: 1,
    default: 0.25,
    description:
      "Smallest prob of a box; the reference's 0.5 is for YOLO, CenterNet gives the same objects lower values",
  }),
  nms: Type.Number({
    minimum: 0,
    maximum: 1,
    default: 0.45,
    description: 'Overlap (IoU) above which the worse box goes',
  }),
  hier_thresh: Type.Number({ minimum: 0, maximum: 1, default: 0.5, description: 'Of YOLO9000; accepted and ignored' }),
  config: Type.String({ default: '', description: 'Darknet file; accepted and ignored, `model` says what runs' }),
  weights: Type.String({ default: '', description: 'Darknet file; accepted and ignored' }),
  labels: Type.String({ default: 'coco.names', description: 'Accepted and ignored: the model knows its classes' }),
  ...BOXES_PARAMS,
});
export type DetectObjectParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 7,
  handler_type_name: 'detect_object',
  aliases: ['YoloDetectObject', 'DetectObject'],
  description: 'Finds objects of the 80 COCO classes',
  inputs: [{ name: 'picture', accepts: ['frame', 'boxes'] }],
  outputs: [{ name: 'boxes', emits: 'boxes' }],
  params,
  cost: { cpu_ms: 68, gpu_ms: 0, mem_mb: 280, out_bytes: 400_000 },
  host: 'own',
  share: false,
  load: () => import('./handler.js'),
});
