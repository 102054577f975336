/**
 * What detection models of other makers put out, read as boxes: the heads of the YOLO family, NanoDet, SSD with built-in
 * suppression and Ultra-Light face detectors. Boxes are in pixels of the model's input; suppression is the caller's.
 * `recogniseHead` tells a head by the shapes of the outputs; where two heads have the same shape it says so and asks.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { OutputTensor } from './engine.js';
import type { Rect } from './geometry.js';

export const HEADS = ['yolov5', 'yolov8', 'yolox', 'end_to_end', 'nanodet', 'ssd', 'ultraface'] as const;
export type Head = (typeof HEADS)[number];

export interface Detection extends Rect {
  /** Index of the class. */
  readonly label: number;
  readonly prob: number;
}

export type Outputs = Readonly<Record<string, OutputTensor>>;

export interface Reading {
  /** Size of the model's input, pixels. */
  readonly width: number;
  readonly height: number;
  readonly thresh: number;
}

/** Boxes over the threshold. */
export function readHead(head: Head, outputs: Outputs, reading: Reading): Detection[] {
  return READERS[head](outputs, reading);
}

export interface HeadFacts {
  readonly head: Head;
  readonly classes: number | null;
}

export interface HeadQuestion {
  readonly outputs: Readonly<Record<string, { readonly dims: readonly number[] }>>;
  readonly width: number;
  readonly height: number;
  /** Number of labels, when a label file was given: tells apart what the shapes alone do not. */
  readonly labels?: number;
}

/** @throws MODEL_INVALID naming the shapes, and the heads that they would fit */
export function recogniseHead(question: HeadQuestion): HeadFacts {
  const fits = HEADS.flatMap((head) => {
    const classes = CLASSES_OF[head](question);
    return classes === undefined ? [] : [{ head, classes }];
  });
  const labelled = fits.filter((fit) => fit.classes === null || fit.classes === question.labels);
  const left = question.labels === undefined ? narrowed(fits) : labelled;
  if (left.length === 1) return left[0]!;
  const shapes = Object.entries(question.outputs).map(([name, { dims }]) => `${name} [${dims.join(', ')}]`);
  const options = fits.map(({ head, classes }) => (classes === null ? head : `${head} of ${classes} classes`));
  const why =
    fits.length === 0
      ? `they fit none of ${HEADS.join(', ')}`
      : `they fit ${options.join(' and ')}${question.labels === undefined ? '' : `, not ${question.labels} labels`}; state head or labels`;
  throw new OrchestratorError('MODEL_INVALID', `outputs ${shapes.join(', ')}: ${why}`);
}

/** COCO's 80 classes are what most files of these families hold. */
function narrowed(fits: readonly HeadFacts[]): readonly HeadFacts[] {
  if (fits.length < 2) return fits;
  return fits.filter((fit) => fit.classes === 80);
}

/** Cells of all grids of a head. */
const cellsOf = (width: number, height: number, strides: readonly number[]) =>
  strides.reduce((sum, stride) => sum + Math.ceil(width / stride) * Math.ceil(height / stride), 0);

const STRIDES = [8, 16, 32] as const;
const STRIDES_PLUS = [8, 16, 32, 64] as const;
/** Bins of a NanoDet side (reg_max 7). */
const BINS = 8;
/** The most rows that heads with built-in suppression put out. */
const ROWS_MAX = 1000;

const CLASSES_OF: Readonly<Record<Head, (question: HeadQuestion) => number | null | undefined>> = {
  yolov5: (question) => rowsOf(question, 3 * cellsOf(question.width, question.height, STRIDES), 5),
  yolox: (question) => rowsOf(question, cellsOf(question.width, question.height, STRIDES), 5),
  nanodet: (question) =>
    rowsOf(question, cellsOf(question.width, question.height, STRIDES), 4 * BINS) ??
    rowsOf(question, cellsOf(question.width, question.height, STRIDES_PLUS), 4 * BINS),
  yolov8(question) {
    const [, columns, rows] = onlyOutput(question) ?? [];
    const fits = rows === cellsOf(question.width, question.height, STRIDES) && columns! > 4;
    return fits ? columns! - 4 : undefined;
  },
  end_to_end(question) {
    const [, rows, columns] = onlyOutput(question) ?? [];
    return columns === 6 && rows! <= ROWS_MAX ? null : undefined;
  },
  ssd({ outputs }) {
    const [boxes, scores, classes] = ['box', 'score', 'class'].map((part) => outputNamed(outputs, part)?.dims);
    return boxes?.at(-1) === 4 && scores?.length === 2 && classes?.length === 2 ? null : undefined;
  },
  ultraface({ outputs }) {
    const dims = Object.values(outputs).map((output) => output.dims);
    const scores = dims.find((one) => one.length === 3 && one[2] === 2);
    return dims.length === 2 && dims.some((one) => one[2] === 4 && one[1] === scores?.[1]) ? 1 : undefined;
  },
};

function onlyOutput({ outputs }: HeadQuestion): readonly number[] | null {
  const all = Object.values(outputs);
  return all.length === 1 && all[0]!.dims.length === 3 ? all[0]!.dims : null;
}

function rowsOf(question: HeadQuestion, rows: number, before: number): number | undefined {
  const dims = onlyOutput(question);
  return dims?.[1] === rows && dims[2]! > before ? dims[2]! - before : undefined;
}

function outputNamed<T>(outputs: Readonly<Record<string, T>>, part: string): T | undefined {
  const name = Object.keys(outputs).find((one) => one.toLowerCase().includes(part));
  return name === undefined ? undefined : outputs[name];
}

type Reader = (outputs: Outputs, reading: Reading) => Detection[];

const READERS: Readonly<Record<Head, Reader>> = {
  yolov5: (outputs, { thresh }) => centredRows(only(outputs), thresh, (row) => row),
  yolox(outputs, reading) {
    const cells = gridCells(reading, STRIDES);
    return centredRows(only(outputs), reading.thresh, ([x, y, w, h], index) => {
      const { column, row, stride } = cells[index]!;
      return [(x + column) * stride, (y + row) * stride, Math.exp(w) * stride, Math.exp(h) * stride];
    });
  },
  yolov8(outputs, { thresh }) {
    const { data, dims } = only(outputs);
    const [columns, rows] = [dims[1]!, dims[2]!];
    const found: Detection[] = [];
    for (let index = 0; index < rows; index++) {
      const { label, prob } = likeliest(columns - 4, (at) => data[(at + 4) * rows + index]!);
      if (prob < thresh) continue;
      found.push(centred(label, prob, [0, 1, 2, 3].map((at) => data[at * rows + index]!) as Four));
    }
    return found;
  },
  end_to_end(outputs, { thresh }) {
    const { data, dims } = only(outputs);
    return rowIndices(dims[1]!).flatMap((index) => {
      const [left, top, right, bottom, prob, label] = data.subarray(index * 6, index * 6 + 6) as unknown as number[];
      if (prob! < thresh) return [];
      return [{ label: label!, prob: prob!, x: left!, y: top!, w: right! - left!, h: bottom! - top! }];
    });
  },
  nanodet: readNanodet,
  ssd(outputs, { width, height, thresh }) {
    const [boxes, scores, classes] = ['box', 'score', 'class'].map((part) => outputNamed(outputs, part)!.data);
    return rowIndices(scores!.length).flatMap((index) => {
      const prob = scores![index]!;
      if (prob < thresh) return [];
      const [top, left, bottom, right] = [0, 1, 2, 3].map((side) => boxes![index * 4 + side]!) as Four;
      const rect = { x: left * width, y: top * height, w: (right - left) * width, h: (bottom - top) * height };
      // Classes of these files count from 1.
      return [{ label: Number(classes![index]) - 1, prob, ...rect }];
    });
  },
  ultraface(outputs, { width, height, thresh }) {
    const all = Object.values(outputs);
    const scores = all.find((output) => output.dims[2] === 2)!.data;
    const boxes = all.find((output) => output.dims[2] === 4)!.data;
    return rowIndices(scores.length / 2).flatMap((index) => {
      const prob = scores[index * 2 + 1]!;
      if (prob < thresh) return [];
      const [left, top, right, bottom] = [0, 1, 2, 3].map((side) => boxes[index * 4 + side]!) as Four;
      const rect = { x: left * width, y: top * height, w: (right - left) * width, h: (bottom - top) * height };
      return [{ label: 0, prob, ...rect }];
    });
  },
};

type Four = [number, number, number, number];

const rowIndices = (count: number) => Array.from({ length: count }, (_, index) => index);

function only(outputs: Outputs): OutputTensor {
  return Object.values(outputs)[0]!;
}

function centred(label: number, prob: number, [x, y, w, h]: Four): Detection {
  return { label, prob, x: x - w / 2, y: y - h / 2, w, h };
}

function likeliest(classes: number, scoreOf: (label: number) => number): { label: number; prob: number } {
  let [label, prob] = [0, scoreOf(0)];
  for (let one = 1; one < classes; one++) {
    const score = scoreOf(one);
    if (score > prob) [label, prob] = [one, score];
  }
  return { label, prob };
}

/** Rows of x, y, w, h, objectness and a score per class. */
function centredRows({ data, dims }: OutputTensor, thresh: number, place: (row: Four, index: number) => Four) {
  const columns = dims[2]!;
  const found: Detection[] = [];
  for (let index = 0; index < dims[1]!; index++) {
    const start = index * columns;
    const objectness = data[start + 4]!;
    if (objectness < thresh) continue;
    const { label, prob } = likeliest(columns - 5, (at) => data[start + 5 + at]! * objectness);
    if (prob < thresh) continue;
    const row = [data[start]!, data[start + 1]!, data[start + 2]!, data[start + 3]!] as Four;
    found.push(centred(label, prob, place(row, index)));
  }
  return found;
}

interface Cell {
  readonly column: number;
  readonly row: number;
  readonly stride: number;
}

function gridCells({ width, height }: Reading, strides: readonly number[]): Cell[] {
  return strides.flatMap((stride) => {
    const columns = Math.ceil(width / stride);
    return rowIndices(columns * Math.ceil(height / stride)).map((index) => ({
      column: index % columns,
      row: Math.floor(index / columns),
      stride,
    }));
  });
}

/** Scores per class, then for each side a distribution over BINS distances in strides from the cell's centre. */
function readNanodet(outputs: Outputs, reading: Reading): Detection[] {
  const { data, dims } = only(outputs);
  const [rows, columns] = [dims[1]!, dims[2]!];
  const classes = columns - 4 * BINS;
  const plain = cellsOf(reading.width, reading.height, STRIDES) === rows;
  const cells = gridCells(reading, plain ? STRIDES : STRIDES_PLUS);
  const found: Detection[] = [];
  for (let index = 0; index < rows; index++) {
    const start = index * columns;
    const { label, prob } = likeliest(classes, (at) => data[start + at]!);
    if (prob < reading.thresh) continue;
    const { column, row, stride } = cells[index]!;
    const side = (at: number) => expectedBin(data, start + classes + at * BINS) * stride;
    // NanoDet-Plus counts from the cell's corner, the older heads from its centre.
    const shift = plain ? 0.5 : 0;
    const [x, y] = [(column + shift) * stride, (row + shift) * stride];
    const [left, top, right, bottom] = [side(0), side(1), side(2), side(3)];
    found.push({ label, prob, x: x - left, y: y - top, w: left + right, h: top + bottom });
  }
  return found;
}

/** Mean of a softmax over the bins. */
function expectedBin(data: Float32Array, start: number): number {
  let [sum, weighted] = [0, 0];
  for (let bin = 0; bin < BINS; bin++) {
    const weight = Math.exp(data[start + bin]!);
    sum += weight;
    weighted += weight * bin;
  }
  return weighted / sum;
}
