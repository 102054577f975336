import Type, { type Static } from '#vendor/typebox.js';
import { defineHandler } from '../../handler-kit/define.js';
import { BOXES_PARAMS } from '../common-params.js';

const params = Type.Object({
  scale_factor: Type.Number({
    exclusiveMinimum: 1,
    maximum: 4,
    default: 1.1,
    description: 'How much larger each pass looks than the one before',
  }),
  min_size: Type.Integer({
    minimum: 1,
    maximum: 16_384,
    default: 20,
    description: 'Smallest side of a face, px of the frame',
  }),
  min_neighbors: Type.Integer({
    minimum: 0,
    maximum: 100,
    default: 4,
    description: 'Overlapping hits that make a face; more = fewer faces and fewer mistakes',
  }),
  size: Type.Integer({
    minimum: 0,
    maximum: 16_384,
    default: 640,
    description: 'The longer side of a larger picture is brought to this before the search, px; 0 = never',
  }),
  cascade: Type.String({
    default: 'haarcascade_frontalface_default',
    description:
      "A cascade of OpenCV's data (Debian: opencv-data) by name, or the path of an XML file that the node allows",
  }),
  ...BOXES_PARAMS,
});
export type HaarDetectFaceParams = Static<typeof params>;

export const manifest = defineHandler({
  handler_type_id: 8,
  handler_type_name: 'haar_detect_face',
  aliases: ['HaarDetectFace'],
  description: "Finds faces with OpenCV's Haar cascade (WebAssembly)",
  inputs: [{ name: 'picture', accepts: ['frame', 'boxes'] }],
  outputs: [{ name: 'boxes', emits: 'boxes' }],
  params,
  cost: { cpu_ms: 200, gpu_ms: 0, mem_mb: 160, out_bytes: 480_000 },
  host: 'own',
  load: () => import('./handler.js'),
});
