/**
 * Objects in frames, by CenterNet (80 COCO classes) or an imported model of the YOLO family and others (heads.ts).
 * CenterNet's graph ends in boxes (centre-boxes.ts), which are read as any model's that suppresses inside its graph. The
 * same weights serve every input size: smaller is faster and misses small objects.
 */
import { readFile } from 'node:fs/promises';
import { OrchestratorError } from '../contracts/errors.js';
import type { Box } from '../contracts/packet.js';
import { createEngine, type EngineOptions } from './engine.js';
import { clampRect, suppress } from './geometry.js';
import { type Detection, readHead } from './heads.js';
import { type Fitted, fitFrame } from './images.js';
import { inputOf, resolveModel } from './model-cache.js';
import type { Pixels } from './warp.js';

export interface ObjectDetectorOptions extends EngineOptions {
  /** Of the catalogue, or imported. */
  readonly model?: string;
  /** Side of the square input, pixels; the model's own when not given. */
  readonly size?: number;
  /** Labels to report; `all` for every one. */
  readonly targets?: readonly string[];
  /** Least probability, 0..1. */
  readonly thresh?: number;
  /** Overlap (IoU) above which the weaker of two boxes of one label is dropped. */
  readonly nms?: number;
  /** Path of a file with one label per line; the model's own names, or COCO's, when not given. */
  readonly labels?: string;
}

export interface ObjectDetector {
  readonly model: string;
  readonly labels: readonly string[];
  /** Boxes in pixels of the frame and inside it, best first. */
  detect(frame: Pixels): Promise<Box[]>;
  dispose(): Promise<void>;
}

/** Boxes taken per frame, as in the original net; bounds what a noisy model costs. */
const BOXES_MAX = 100;

export const COCO_LABELS = new URL('../../resources/labels/coco.names', import.meta.url);

export async function createObjectDetector(options: ObjectDetectorOptions = {}): Promise<ObjectDetector> {
  const { model = 'centernet', targets = ['all'], thresh = 0.5, nms = 0.45 } = options;
  const resolved = await resolveModel(model, options.cacheDir, 'detect_object');
  const { imported } = resolved;
  const { width, height, fit } = inputOf(resolved, options.size);
  const labels =
    options.labels === undefined
      ? (imported?.labels ?? (await readLabels(COCO_LABELS)))
      : await readLabels(options.labels);
  const wanted = wantedClasses(labels, targets);
  const engine = await createEngine(model, options);
  const head = imported?.head ?? 'end_to_end';
  return {
    model,
    labels,
    async detect(frame) {
      const fitted = await fitFrame(frame, width, height, fit);
      const outputs = await engine.run({ data: fitted.data, batch: 1, height, width });
      const likeliest = readHead(head, outputs, { width, height, thresh })
        .filter(({ label }) => wanted.has(label))
        .sort((one, other) => other.prob - one.prob)
        .slice(0, BOXES_MAX);
      const boxes = likeliest.map((detection) => toBox(detection, labels, fitted, frame));
      return suppress(
        boxes.filter((box) => box.w >= 1 && box.h >= 1),
        nms,
      );
    },
    dispose: () => engine.dispose(),
  };
}

/** Names of the classes, one a line. @throws MODEL_INVALID when the file cannot be read or is empty */
export async function readLabels(path: string | URL): Promise<string[]> {
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
  if (labels.length > 0) return labels;
  throw new OrchestratorError('MODEL_INVALID', `label file ${path} holds no labels`);
}

/** Indices of the wanted labels. @throws HANDLER_PARAMS_INVALID for a target that is no label */
function wantedClasses(labels: readonly string[], targets: readonly string[]): ReadonlySet<number> {
  if (targets.includes('all')) return new Set(labels.keys());
  const indices = targets.map((target) => {
    const index = labels.indexOf(target);
    if (index >= 0) return index;
    throw new OrchestratorError(
      'HANDLER_PARAMS_INVALID',
      `target ${target} is not a label; there are ${labels.join(', ')}`,
    );
  });
  return new Set(indices);
}

function toBox(detection: Detection, labels: readonly string[], { scaleX, scaleY }: Fitted, frame: Pixels): Box {
  const { label, prob, x, y, w, h } = detection;
  const rect = { x: x * scaleX, y: y * scaleY, w: w * scaleX, h: h * scaleY };
  return { label: labels[label] ?? `class ${label}`, prob, ...clampRect(rect, frame.width, frame.height) };
}
