import Type from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';

const params = Type.Object({});

export const manifest = defineHandler({
  handler_type_id: 17,
  handler_type_name: 'draw_labeled_boxes',
  aliases: ['DrawLabeledBoxes'],
  description:
    'Draws boxes with label and prob on their frame, and hands the boxes on as metadata for sinks that record them',
  inputs: [
    { name: 'frame', accepts: ['frame'] },
    { name: 'boxes', accepts: ['boxes'] },
  ],
  outputs: [{ name: 'frame', emits: 'frame' }],
  params,
  cost: { cpu_ms: 2, gpu_ms: 0, mem_mb: 60, out_bytes: 3_280_000 },
  host: 'shared',
  load: () => import('./handler.js'),
});
