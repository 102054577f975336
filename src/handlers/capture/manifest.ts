import Type, { type Static } from 'typebox';
import { defineHandler } from '../../handler-kit/define.js';
import { sidePx } from '../common-params.js';

const params = Type.Object({
  source: Type.Union([Type.Integer({ minimum: 0 }), Type.String({ minLength: 1 })], {
    default: 0,
    description:
      'A picture (`a.jpg`), a pattern (`pics/*.jpg`, with * and ?), a numbered sequence (`img_%04d.png`) or a ' +
      'directory, in natural order. Cameras (the default 0), URLs and video files are refused by name in this version',
  }),
  width: sidePx('width', 0, '0 = as the file is (with height 0) or in proportion'),
  height: sidePx('height', 0, '0 = as the file is (with width 0) or in proportion'),
  fps: Type.Number({
    minimum: 0,
    maximum: 1000,
    default: 25,
    description: 'Pictures per second by the clock; 0 = as fast as they are taken',
  }),
  loop: Type.Boolean({ default: false, description: 'Begin again after the last picture, for ever' }),
});
export type CaptureParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 2,
  handler_type_name: 'capture',
  aliases: ['Capture'],
  description: 'Emits pictures from files: one file, a pattern, a numbered sequence, or a directory',
  inputs: [],
  outputs: [{ name: 'frame', emits: 'frame' }],
  params,
  cost: { cpu_ms: 15, gpu_ms: 0, mem_mb: 160, out_bytes: 3_280_000 },
  host: 'own',
  load: () => import('./handler.js'),
});
