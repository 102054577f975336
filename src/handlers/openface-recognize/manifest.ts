import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { standInRecognizerParams } from '../common-params.js';

const params = Type.Object(standInRecognizerParams('face_recognition', "OpenFace's nn4.small2 weights", 96));
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
  share: false,
  load: () => import('./handler.js'),
});
