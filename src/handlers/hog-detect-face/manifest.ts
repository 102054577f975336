import Type, { type Static } from 'typebox';
import { defineHandler } from '../../handler-kit/define.js';
import { BOXES_PARAMS } from '../common-params.js';

const params = Type.Object({
  upsample: Type.Integer({
    minimum: 0,
    maximum: 4,
    default: 1,
    description: 'Times that the picture is doubled first',
  }),
  ...BOXES_PARAMS,
});
export type HogDetectFaceParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 9,
  handler_type_name: 'hog_detect_face',
  aliases: ['HogDetectFace'],
  description:
    "Would find faces with dlib's HOG detector; dlib is in no npm package, so a session with it is refused by name",
  inputs: [{ name: 'picture', accepts: ['frame', 'boxes'] }],
  outputs: [{ name: 'boxes', emits: 'boxes' }],
  params,
  cost: { cpu_ms: 60, gpu_ms: 0, mem_mb: 60, out_bytes: 480_000 },
  host: 'own',
  load: () => import('./handler.js'),
});
