import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { sidePx } from '../common-params.js';

const params = Type.Object({
  width: sidePx('width', 640, '0 = in proportion to height'),
  height: sidePx('height', 480, '0 = in proportion to width'),
});
export type ResizeParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 4,
  handler_type_name: 'resize',
  aliases: ['Resize'],
  description: 'Makes a frame another size',
  inputs: [{ name: 'frame', accepts: ['frame'] }],
  outputs: [{ name: 'frame', emits: 'frame' }],
  params,
  cost: { cpu_ms: 5, gpu_ms: 0, mem_mb: 50, out_bytes: 921_600 },
  host: 'shared',
  load: () => import('./handler.js'),
});
