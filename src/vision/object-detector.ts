/**
 * Objects of the 80 COCO classes in frames (CenterNet). The net says for each cell of a grid (4 input pixels wide) how
 * likely the centre of an object of each class lies there, and how far its four sides are; a cell counts where no
 * neighbour is likelier. The same weights serve every input size: smaller is faster and misses small objects.
 */
import { readFile } from 'node:fs/promises';
import { OrchestratorError } from '../contracts/errors.js';
import type { Box } from '../contracts/packet.js';
import { chooseSize, findModel } from './catalogue.js';
import { createEngine, type EngineOptions, type OutputTensor } from './engine.js';
import { clampRect, suppress } from './geometry.js';
import { resizeFrame } from './images.js';
import type { Pixels } from './warp.js';

export const OBJECT_DETECTORS = ['centernet'] as const;
export type ObjectDetectorModel = (typeof OBJECT_DETECTORS)[number];

export interface ObjectDetectorOptions extends EngineOptions {
  readonly model?: ObjectDetectorModel;
  /** Side of the square input: 320, 512 (default) or 640 pixels. */
  readonly size?: number;
  /** Labels to report; `all` for every one. */
  readonly targets?: readonly string[];
  /** Least probability, 0..1. */
  readonly thresh?: number;
  /** Overlap (IoU) above which the weaker of two boxes of one label is dropped. */
  readonly nms?: number;
  /** Path of a file with one label per line; COCO's names when not given. */
  readonly labels?: string;
}

export interface ObjectDetector {
  readonly model: ObjectDetectorModel;
  readonly labels: readonly string[];
  /** Boxes in pixels of the frame and inside it, best first. */
  detect(frame: Pixels): Promise<Box[]>;
  dispose(): Promise<void>;
}

const CLASSES = 80;
/** Input pixels per grid cell. */
const CELL_PX = 4;
/** Peaks taken per frame, as in the original net. */
const PEAKS_MAX = 100;

export const COCO_LABELS = new URL('../../resources/labels/coco.names', import.meta.url);

export async function createObjectDetector(options: ObjectDetectorOptions = {}): Promise<ObjectDetector> {
  const { model = 'centernet', targets = ['all'], thresh = 0.5, nms = 0.45 } = options;
  const size = chooseSize(findModel(model, 'detect_object'), options.size);
  const labels = await readLabels(options.labels ?? COCO_LABELS);
  const wanted = wantedClasses(labels, targets);
  const engine = await createEngine(model, options);
  return {
    model,
    labels,
    async detect(frame) {
      const { data } = await resizeFrame(frame, size, size);
      const { heat, sides } = await engine.run({ data, batch: 1, height: size, width: size });
      const peaks = findPeaks(heat!, wanted, thresh);
      const boxes = peaks.map((peak) => toBox(peak, sides!, labels, frame, size));
      return suppress(
        boxes.filter((box) => box.w >= 1 && box.h >= 1),
        nms,
      );
    },
    dispose: () => engine.dispose(),
  };
}

/** @throws MODEL_INVALID when the file cannot be read or does not have a line per class */
async function readLabels(path: string | URL): Promise<string[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new OrchestratorError('MODEL_INVALID', `label file ${path} cannot be read`, {}, { cause: error });
  }
  const labels = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (labels.length === CLASSES) return labels;
  throw new OrchestratorError('MODEL_INVALID', `label file ${path} has ${labels.length} labels, the model ${CLASSES}`);
}

/** Indices of the wanted labels. @throws HANDLER_PARAMS_INVALID for a target that is no label */
function wantedClasses(labels: readonly string[], targets: readonly string[]): readonly number[] {
  if (targets.includes('all')) return labels.map((_, index) => index);
  return targets.map((target) => {
    const index = labels.indexOf(target);
    if (index >= 0) return index;
    throw new OrchestratorError(
      'HANDLER_PARAMS_INVALID',
      `target ${target} is not a label; there are ${labels.join(', ')}`,
    );
  });
}

interface Peak {
  readonly label: number;
  readonly prob: number;
  readonly row: number;
  readonly column: number;
}

/** Cells over the threshold that no neighbour of their class exceeds (a 3 x 3 maximum), the likeliest PEAKS_MAX. */
export function findPeaks({ data, dims }: OutputTensor, classes: readonly number[], thresh: number): Peak[] {
  const [rows, columns] = [dims[2]!, dims[3]!];
  const peaks: Peak[] = [];
  for (const label of classes) {
    const start = label * rows * columns;
    const end = start + rows * columns;
    for (let at = start; at < end; at++) {
      const prob = data[at]!;
      if (prob < thresh) continue;
      const row = Math.floor((at - start) / columns);
      const column = (at - start) % columns;
      if (isPeak(data, start, row, column, rows, columns)) peaks.push({ label, prob, row, column });
    }
  }
  return peaks.sort((one, other) => other.prob - one.prob).slice(0, PEAKS_MAX);
}

function isPeak(
  data: Float32Array,
  start: number,
  row: number,
  column: number,
  rows: number,
  columns: number,
): boolean {
  const prob = data[start + row * columns + column]!;
  for (let y = Math.max(0, row - 1); y <= Math.min(rows - 1, row + 1); y++) {
    for (let x = Math.max(0, column - 1); x <= Math.min(columns - 1, column + 1); x++) {
      if (data[start + y * columns + x]! > prob) return false;
    }
  }
  return true;
}

function toBox(peak: Peak, sides: OutputTensor, labels: readonly string[], frame: Pixels, size: number): Box {
  const [rows, columns] = [sides.dims[2]!, sides.dims[3]!];
  const side = (index: number) => sides.data[(index * rows + peak.row) * columns + peak.column]!;
  const scaleX = frame.width / size;
  const scaleY = frame.height / size;
  const left = (peak.column * CELL_PX - side(0)) * scaleX;
  const top = (peak.row * CELL_PX - side(1)) * scaleY;
  const right = (peak.column * CELL_PX + side(2)) * scaleX;
  const bottom = (peak.row * CELL_PX + side(3)) * scaleY;
  const rect = clampRect({ x: left, y: top, w: right - left, h: bottom - top }, frame.width, frame.height);
  return { label: labels[peak.label]!, prob: peak.prob, ...rect };
}
