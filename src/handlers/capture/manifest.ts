import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { sidePx } from '../common-params.js';

const params = Type.Object({
  source: Type.Union([Type.Integer({ minimum: 0 }), Type.String({ minLength: 1 })], {
    default: 0,
    description:
      'A camera (`0` is /dev/video0), a stream (`rtsp://`, `http://`), a video file, or pictures: one (`a.jpg`), a pattern ' +
      '(`pics/*.jpg`, with * and ?), a numbered sequence (`img_%04d.png`) or a directory, in natural order',
  }),
  width: sidePx('width', 0, '0 = as the file is (with height 0) or in proportion'),
  height: sidePx('height', 0, '0 = as the file is (with width 0) or in proportion'),
  fps: Type.Number({
    minimum: 0,
    maximum: 1000,
    default: 25,
    description: 'Pictures per second by the clock, at most those that a video has; 0 = as fast as they are taken',
  }),
  loop: Type.Boolean({ default: false, description: 'Begin again after the last picture or frame, for ever' }),
  stall_s: Type.Number({
    minimum: 1,
    maximum: 3600,
    default: 10,
    description: 'A camera or stream that gives nothing for so long is opened anew, s',
  }),
});
export type CaptureParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 2,
  handler_type_name: 'capture',
  aliases: ['Capture'],
  description: 'Emits frames of a camera, a stream, a video file, or picture files',
  inputs: [],
  outputs: [{ name: 'frame', emits: 'frame' }],
  params,
  cost: { cpu_ms: 15, gpu_ms: 0, mem_mb: 160, out_bytes: 3_280_000 },
  host: 'own',
  load: () => import('./handler.js'),
});
