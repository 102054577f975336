/**
 * Every model of the catalogue in the handler's own way (fitting the picture into the net, inference, reading its numbers),
 * on one thread and two; and what a Node user would call for it today, with the same weights and pixels.
 */
import type { Box, Frame } from '#src/contracts/packet.js';
import { createFaceDescriber } from '#src/vision/face-attributes.js';
import { createFaceDetector } from '#src/vision/face-detector.js';
import { cropFrame } from '#src/vision/images.js';
import { findImported } from '#src/vision/imported-models.js';
import { createLandmarker } from '#src/vision/landmarker.js';
import { defaultCacheDir } from '#src/vision/model-cache.js';
import { createObjectDetector } from '#src/vision/object-detector.js';
import { createRecognizer } from '#src/vision/recognizer.js';
import type { FaceNet, GraphNet, VisionPeers } from './vision-peers.js';

export interface Work {
  readonly name: string;
  call(): Promise<unknown>;
}

/** Ours, and the same work by a peer. */
export interface Comparison {
  readonly work: string;
  ours(): Promise<unknown>;
  readonly peer: string;
  theirs(peers: VisionPeers): Promise<unknown>;
}

const DETECTORS = [
  ...(['tiny_face_detector', 'ssd_mobilenetv1'] as const).map((model) => ({ model, size: undefined })),
  ...[128, 256, 320, 384, 512, 640].map((size) => ({ model: 'blazeface', size })),
];
const CENTERNET_SIZES = [256, 320, 416, 512, 640];
const FACES = 3;
const IMPORTED = ['mtcnn'];

/** `frame` shows FACES faces. */
export async function modelWorks(frame: Frame, threads: number): Promise<Work[]> {
  const works: Work[] = [];
  const add = (name: string, call: () => Promise<unknown>) =>
    works.push({ name: `${name}, ${threads} thread${threads === 1 ? '' : 's'}`, call });
  for (const { model, size } of DETECTORS) {
    const detector = await createFaceDetector({ model, size, threads });
    add(size === undefined ? model : `${model} ${size}`, () => detector.detect(frame));
  }
  for (const model of IMPORTED) {
    if ((await findImported(model, defaultCacheDir())) === null) {
      console.log(`${model} is not there: orchestrator models import ${model}`);
      continue;
    }
    const detector = await createFaceDetector({ model, threads });
    add(model, () => detector.detect(frame));
  }
  for (const size of CENTERNET_SIZES) {
    const detector = await createObjectDetector({ size, threads });
    add(`centernet ${size}`, () => detector.detect(frame));
  }
  const { chips, boxes } = facesOf(frame);
  for (const model of ['face_landmark_68', 'face_landmark_68_tiny'] as const) {
    const landmarker = await createLandmarker({ model, threads });
    add(`${model}, ${FACES} faces`, () => landmarker.locate(boxes, frame));
  }
  for (const model of ['face_recognition', 'faceres'] as const) {
    const recognizer = await createRecognizer({ model, threads });
    add(`${model}, ${FACES} faces`, () => recognizer.embed(chips));
  }
  for (const model of ['age_gender', 'antispoof', 'liveness']) {
    const describer = await createFaceDescriber({ models: [model], threads });
    add(`${model}, ${FACES} faces`, () => describer.describe(boxes));
  }
  return works;
}

const FACE_API: readonly FaceNet[] = [
  ...(['tiny_face_detector', 'ssd_mobilenetv1', 'face_landmark_68'] as const),
  ...(['face_landmark_68_tiny', 'face_recognition', 'age_gender'] as const),
];
const HUMAN: readonly GraphNet[] = ['blazeface', 'faceres', 'antispoof', 'liveness', 'centernet'];
const WHOLE_FRAME = new Set<string>(['tiny_face_detector', 'ssd_mobilenetv1', 'blazeface', 'centernet']);

/** Each model of the catalogue at its default size, ours among `works`. */
export function modelComparisons(frame: Frame, works: readonly Work[]): Comparison[] {
  const { chips } = facesOf(frame);
  const pictures = (model: string) => (WHOLE_FRAME.has(model) ? [frame] : chips);
  const oursOf = (model: string) => {
    const size = model === 'blazeface' ? ' 256' : model === 'centernet' ? ' 512' : '';
    return works.find(({ name }) => name.split(', ')[0] === `${model}${size}`)!;
  };
  const compared = (model: string, package_: string, theirs: Comparison['theirs']): Comparison => {
    const { name, call } = oursOf(model);
    const work = name.replace(/, 1 thread$/, '');
    return { work, ours: call, peer: `${work}, weights of ${package_} on tfjs-wasm`, theirs };
  };
  return [
    ...FACE_API.map((net) => compared(net, 'face-api', (peers) => peers.faceNet(net, pictures(net)))),
    ...HUMAN.map((net) => compared(net, 'human', (peers) => peers.graph(net, pictures(net)))),
  ];
}

/** The same faces for all: squares of the frame, which every net fits into its input. */
function facesOf(frame: Frame): { chips: Frame[]; boxes: Box[] } {
  const side = Math.floor(frame.height / 4);
  const places = Array.from({ length: FACES }, (_, index) => ({ x: index * side, y: side, w: side, h: side }));
  const chips = places.map((place) => cropFrame(frame, place));
  const boxes = places.map((place, index) => ({ label: 'face', prob: 1, ...place, crop: chips[index]! }));
  return { chips, boxes };
}
