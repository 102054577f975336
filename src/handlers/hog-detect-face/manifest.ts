import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { BOXES_PARAMS } from '../common-params.js';

const params = Type.Object({
  upsample: Type.Integer({
    minimum: 0,
    maximum: 4,
    default: 1,
    description: 'Times that the picture is doubled first: faces of 80 px are found as they are, of 40 px with 1',
  }),
  ...BOXES_PARAMS,
});
export type HogDetectFaceParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 9,
  handler_type_name: 'hog_detect_face',
  aliases: ['HogDetectFace'],
  description:
    "Finds frontal faces with dlib's HOG detector, a native part that `orchestrator models build-hog` builds",
  inputs: [{ name: 'picture', accepts: ['frame', 'boxes'] }],
  outputs: [{ name: 'boxes', emits: 'boxes' }],
  params,
  cost: { cpu_ms: 900, gpu_ms: 0, mem_mb: 400, out_bytes: 480_000 },
  host: 'own',
  load: () => import('./handler.js'),
});
