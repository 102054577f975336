import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { QualityParam } from '../common-params.js';

const params = Type.Object({
  fps: Type.Number({
    minimum: 0,
    maximum: 1000,
    default: 0,
    description: 'Frames per second that pages show at most; 0 = as they come. What is recorded does not depend on it',
  }),
  output: Type.String({
    default: '',
    description: "Directory for what is recorded, relative to the session's output directory",
  }),
  write_frames: Type.Boolean({ default: true, description: 'Write each frame as `000012.jpg` (its sequence)' }),
  frames_max: Type.Integer({
    minimum: 0,
    maximum: 10_000_000,
    default: 1000,
    description: 'Frame files kept; the oldest are deleted beyond it; 0 = all',
  }),
  boxes: Type.Boolean({
    default: true,
    description: 'Append one JSON line per sequence to `boxes.jsonl`, each sequence exactly once',
  }),
  boxes_mb_max: Type.Integer({
    minimum: 0,
    maximum: 1_000_000,
    default: 256,
    description:
      'Size of `boxes.jsonl`, MiB, at which it becomes `boxes.1.jsonl` (in the place of an earlier one) and a new one begins; 0 = any size',
  }),
  quality: QualityParam,
  video: Type.String({
    default: '',
    pattern: '^$|^[A-Za-z0-9][A-Za-z0-9._-]*\\.mp4$',
    description:
      'Also record an MP4 of this name (`out.mp4`) through ffmpeg; after a restart it goes on in `out-1.mp4`',
  }),
  video_fps: Type.Number({
    exclusiveMinimum: 0,
    maximum: 1000,
    default: 25,
    description: 'Rate at which the MP4 is played; frames follow one another in it however they came',
  }),
  video_mb_max: Type.Integer({
    minimum: 0,
    maximum: 1_000_000,
    default: 1024,
    description: 'Size of an MP4, MiB, at which the next file begins; 0 = any size',
  }),
  videos_max: Type.Integer({
    minimum: 0,
    maximum: 1_000_000,
    default: 16,
    description: 'MP4 files kept; the oldest are deleted beyond it; 0 = all',
  }),
  webhook: Type.String({
    default: '',
    description: 'Address that gets the lines of boxes.jsonl by POST, as they come; it must be allowed on the node',
  }),
});
export type RenderParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 3,
  handler_type_name: 'render',
  aliases: ['Render'],
  description:
    'Shows frames as pages (`index.html`, `stream.mjpeg`, `frame.jpg`, `boxes.json`, `boxes.jsonl`) and records them on disk',
  inputs: [{ name: 'frame', accepts: ['frame', 'jpeg'] }],
  outputs: [],
  params,
  cost: { cpu_ms: 13, gpu_ms: 0, mem_mb: 70, out_bytes: 0 },
  host: 'shared',
  load: () => import('./handler.js'),
});
