/**
 * Brings a face into the pose that its recogniser was trained on: a similarity transform takes the landmarks to dlib's
 * mean face shape, and the chip is sampled through it. dlib's net loses most of its accuracy without this step.
 */
import type { Box, Crop } from '../contracts/packet.js';
import { expandRect, fitSimilarity, type Point } from './geometry.js';
import type { RecognizerModel } from './recognizer.js';
import { CROP_MARGIN, type Pixels, warpSimilarity } from './warp.js';

/** Side of the square chip and the share of the mean face that is added around it. */
interface Chip {
  readonly sidePx: number;
  readonly padding: number;
}

const CHIPS: Readonly<Record<RecognizerModel, Chip>> = {
  // dlib's get_face_chip_details(shape, 150, 0.25), the chip of dlib's face recognition examples.
  face_recognition: { sidePx: 150, padding: 0.25 },
  faceres: { sidePx: 224, padding: 0.25 },
};

/** Mean positions of landmarks 17..67 in the unit square (dlib image_transforms/interpolation.h). */
const MEAN_X = [
  0.000213256, 0.0752622, 0.18113, 0.29077, 0.393397, 0.586856, 0.689483, 0.799124, 0.904991, 0.98004, 0.490127,
  0.490127, 0.490127, 0.490127, 0.36688, 0.426036, 0.490127, 0.554217, 0.613373, 0.121737, 0.187122, 0.265825, 0.334606,
  0.260918, 0.182743, 0.645647, 0.714428, 0.793132, 0.858516, 0.79751, 0.719335, 0.254149, 0.340985, 0.428858, 0.490127,
  0.551395, 0.639268, 0.726104, 0.642159, 0.556721, 0.490127, 0.423532, 0.338094, 0.290379, 0.428096, 0.490127,
  0.552157, 0.689874, 0.553364, 0.490127, 0.42689,
];
const MEAN_Y = [
  0.106454, 0.038915, 0.0187482, 0.0344891, 0.0773906, 0.0773906, 0.0344891, 0.0187482, 0.038915, 0.106454, 0.203352,
  0.307009, 0.409805, 0.515625, 0.587326, 0.609345, 0.628106, 0.609345, 0.587326, 0.216423, 0.178758, 0.179852,
  0.231733, 0.245099, 0.244077, 0.231733, 0.179852, 0.178758, 0.216423, 0.244077, 0.245099, 0.780233, 0.745405,
  0.727388, 0.742578, 0.727388, 0.745405, 0.780233, 0.864805, 0.902192, 0.909281, 0.902192, 0.864805, 0.784792,
  0.778746, 0.785343, 0.778746, 0.784792, 0.824182, 0.831803, 0.824182,
];
const FIRST_POINT = 17;

/** dlib leaves out what moves with the expression: brows (17..26) and the lower lip (55..59, 65..67). */
const STEADY_POINTS = MEAN_X.map((_, index) => index + FIRST_POINT).filter(
  (point) => point > 26 && !(point >= 55 && point <= 59) && !(point >= 65 && point <= 67),
);

/**
 * The canonical chip of a box that has landmarks.
 * @param options.frame the frame of the box; without it the box's own crop (`cropWithMargin`) is used
 * @returns a square chip of the recogniser's input side, or null when there are no landmarks or no pixels
 */
export function alignFace(
  box: Box,
  options: { readonly model: RecognizerModel; readonly frame?: Pixels },
): Crop | null {
  const { model, frame } = options;
  const source = frame ?? box.crop;
  if (!source || box.landmarks?.length !== 68) return null;
  const { sidePx, padding } = CHIPS[model];
  const from: Point[] = STEADY_POINTS.map((point) => [
    (sidePx * (padding + MEAN_X[point - FIRST_POINT]!)) / (2 * padding + 1),
    (sidePx * (padding + MEAN_Y[point - FIRST_POINT]!)) / (2 * padding + 1),
  ]);
  const toSource = frame ? (point: Point) => point : cropCoordinates(box, source);
  const to = STEADY_POINTS.map((point) => toSource(box.landmarks![point]!));
  return warpSimilarity(source, fitSimilarity(from, to), sidePx, sidePx);
}

/** Frame pixels -> pixels of the box's crop, which shows the box grown by CROP_MARGIN. */
function cropCoordinates(box: Box, crop: Pixels): (point: Point) => Point {
  const shown = expandRect(box, CROP_MARGIN);
  return ([x, y]) => [((x - shown.x) * crop.width) / shown.w, ((y - shown.y) * crop.height) / shown.h];
}
