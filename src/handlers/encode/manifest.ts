import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { QualityParam, sidePx } from '../common-params.js';

const params = Type.Object({
  quality: QualityParam,
  width: sidePx('width', 0, 'wider pictures are made smaller, in proportion; 0 = as they are'),
});
export type EncodeParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 5,
  handler_type_name: 'encode',
  aliases: ['Encode'],
  description: 'Compresses a frame to JPEG, made smaller first when `width` says so (draw scales boxes back)',
  inputs: [{ name: 'frame', accepts: ['frame'] }],
  outputs: [{ name: 'jpeg', emits: 'jpeg' }],
  params,
  cost: { cpu_ms: 25, gpu_ms: 0, mem_mb: 60, out_bytes: 140_000 },
  host: 'shared',
  load: () => import('./handler.js'),
});
