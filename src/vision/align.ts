/**
 * Brings a face into the pose that its recogniser was trained on: a similarity transform takes the landmarks to dlib's
 * mean face shape, and the chip is sampled through it. dlib's net loses most of its accuracy without this step.
 */
import type { Box, Crop } from '../contracts/packet.js';
import { expandRect, fitSimilarity, type Point } from './geometry.js';
import { CROP_MARGIN, type Pixels, warpSimilarity } from './warp.js';

/** The pose that a recogniser was trained on: dlib's mean face, or the five points of the arcface family. */
export type Pose = 'dlib' | 'arcface';

/** A square chip. */
export interface Chip {
  readonly pose: Pose;
  readonly sidePx: number;
}

export function chipFor(pose: Pose, sidePx: number): Chip {
  return { pose, sidePx };
}

/** Share of the mean face that is added around it: dlib's get_face_chip_details(shape, size, 0.25). */
const DLIB_PADDING = 0.25;

/** Where eyes, nose tip and corners of the mouth lie in a 112 x 112 chip (arcface_src of the InsightFace project). */
const ARCFACE_SIDE_PX = 112;
const ARCFACE_POINTS: readonly Point[] = [
  [38.2946, 51.6963],
  [73.5318, 51.5014],
  [56.0252, 71.7366],
  [41.5493, 92.3655],
  [70.7299, 92.2041],
];
/** The landmarks whose mean each of the five points is. */
const ARCFACE_LANDMARKS: readonly (readonly number[])[] = [
  [36, 37, 38, 39, 40, 41],
  [42, 43, 44, 45, 46, 47],
  [30],
  [48],
  [54],
];

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
 * @returns a square chip, or null when there are no landmarks or no pixels
 */
export function alignFace(box: Box, options: { readonly chip: Chip; readonly frame?: Pixels }): Crop | null {
  const { chip, frame } = options;
  const source = frame ?? box.crop;
  if (!source || box.landmarks?.length !== 68) return null;
  const toSource = frame ? (point: Point) => point : cropCoordinates(box, source);
  const points = box.landmarks.map(toSource);
  const [from, to] = chip.pose === 'dlib' ? dlibPoints(chip.sidePx, points) : arcfacePoints(chip.sidePx, points);
  return warpSimilarity(source, fitSimilarity(from, to), chip.sidePx, chip.sidePx);
}

type Pairs = [chip: Point[], source: Point[]];

function dlibPoints(sidePx: number, points: readonly Point[]): Pairs {
  const place = (mean: number) => (sidePx * (DLIB_PADDING + mean)) / (2 * DLIB_PADDING + 1);
  const chip = STEADY_POINTS.map(
    (point): Point => [place(MEAN_X[point - FIRST_POINT]!), place(MEAN_Y[point - FIRST_POINT]!)],
  );
  return [chip, STEADY_POINTS.map((point) => points[point]!)];
}

function arcfacePoints(sidePx: number, points: readonly Point[]): Pairs {
  const scale = sidePx / ARCFACE_SIDE_PX;
  const meanOf = (indices: readonly number[], axis: 0 | 1) =>
    indices.reduce((sum, index) => sum + points[index]![axis], 0) / indices.length;
  return [
    ARCFACE_POINTS.map(([x, y]): Point => [x * scale, y * scale]),
    ARCFACE_LANDMARKS.map((indices): Point => [meanOf(indices, 0), meanOf(indices, 1)]),
  ];
}

/** Frame pixels -> pixels of the box's crop, which shows the box grown by CROP_MARGIN. */
function cropCoordinates(box: Box, crop: Pixels): (point: Point) => Point {
  const shown = expandRect(box, CROP_MARGIN);
  return ([x, y]) => [((x - shown.x) * crop.width) / shown.w, ((y - shown.y) * crop.height) / shown.h];
}
