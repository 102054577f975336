import Type from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';

const params = Type.Object({});

export const manifest = defineHandler({
  handler_type_id: 6,
  handler_type_name: 'decode',
  aliases: ['Decode'],
  description: 'Decodes a compressed picture (JPEG, PNG or WebP); with `"post": true` it takes pictures by HTTP POST',
  inputs: [{ name: 'jpeg', accepts: ['jpeg'] }],
  outputs: [{ name: 'frame', emits: 'frame' }],
  params,
  cost: { cpu_ms: 16, gpu_ms: 0, mem_mb: 60, out_bytes: 3_280_000 },
  host: 'shared',
  load: () => import('./handler.js'),
});
