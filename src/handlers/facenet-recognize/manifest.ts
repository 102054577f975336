import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { GpuMemoryParam, standInRecognizerParams } from '../common-params.js';

const params = Type.Object({
  ...standInRecognizerParams('faceres', "FaceNet's weights", 160),
  gpu_memory_frac: GpuMemoryParam,
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
  share: false,
  load: () => import('./handler.js'),
});
