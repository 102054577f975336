/**
 * Faces in frames, by a net of the catalogue or an imported one. Each is a pair of pure steps around one inference: the
 * frame is fitted into the net's input (libvips), and the net's numbers are decoded into boxes in frame pixels.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { Box } from '../contracts/packet.js';
import { createEngine, type EngineOptions, type OutputTensor } from './engine.js';
import { clampRect, type Rect, suppress } from './geometry.js';
import { readHead } from './heads.js';
import { type Fitted, fitFrame, resizeFrame } from './images.js';
import type { ImportedModel } from './imported-models.js';
import { detectMmod } from './mmod-detector.js';
import { inputOf, resolveModel } from './model-cache.js';
import { detectMtcnn, MTCNN_DEFAULTS } from './mtcnn-detector.js';
import type { Pixels } from './warp.js';

export const FACE_DETECTORS = ['ssd_mobilenetv1', 'tiny_face_detector', 'blazeface'] as const;
export type FaceDetectorModel = (typeof FACE_DETECTORS)[number];

export interface FaceDetectorOptions extends EngineOptions {
  /** Of the catalogue, or imported. */
  readonly model?: string;
  /** Least probability of a face, 0..1; each model has its own default. */
  readonly thresh?: number;
  /** Side of the square input, pixels, where the model has several. */
  readonly size?: number;
  /** Of mmod: times that the frame is doubled first. */
  readonly upsample?: number;
}

export interface FaceDetector {
  readonly model: string;
  /** Boxes labelled `face`, best first, in pixels of the frame and inside it. */
  detect(frame: Pixels): Promise<Box[]>;
  dispose(): Promise<void>;
}

/** A face in pixels of the net's input. */
interface Candidate extends Rect {
  readonly label: 'face';
  readonly prob: number;
}

/**
 * Where the net's box lies against the outline that the landmark nets expect (brows to chin, as ssd_mobilenetv1 draws it):
 * centre in that outline's widths and heights, and size as multiples of it. Means over the sample faces.
 */
interface Outline {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

interface Decoder {
  readonly outline: Outline;
  readonly thresh: number;
  /** Overlap (IoU) above which the weaker of two boxes is the same face. */
  readonly iouMax: number;
  /** At inputs of `fromPx` and more, faces that fill the frame are too large for the net: it looks again at `sizePx`. */
  readonly again?: { readonly fromPx: number; readonly sizePx: number };
  decode(outputs: Record<string, OutputTensor>, size: number, thresh: number): Candidate[];
}

export async function createFaceDetector(options: FaceDetectorOptions = {}): Promise<FaceDetector> {
  const { model = 'ssd_mobilenetv1' } = options;
  const resolved = await resolveModel(model, options.cacheDir, 'detect_face');
  if (resolved.imported?.like === 'mmod') return createMmod(model, resolved.imported, options);
  if (resolved.imported?.like === 'mtcnn') return createMtcnn(model, resolved.imported, options);
  const { width, height, fit } = inputOf(resolved, options.size);
  const { outline, iouMax, decode, again, ...decoder } = decoderOf(resolved.row?.name, resolved.imported);
  const thresh = options.thresh ?? decoder.thresh;
  const engine = await createEngine(model, options);
  const look = async ({ data }: Pixels, side: { width: number; height: number }) =>
    decode(await engine.run({ data, batch: 1, ...side }), side.width, thresh);

  async function lookAgain(fitted: Fitted): Promise<Candidate[]> {
    if (again === undefined || width < again.fromPx) return [];
    const { sizePx } = again;
    const small = await look(await resizeFrame(fitted, sizePx, sizePx), { width: sizePx, height: sizePx });
    const scale = width / sizePx;
    return small.map(({ x, y, w, h, ...face }) => ({
      ...face,
      x: x * scale,
      y: y * scale,
      w: w * scale,
      h: h * scale,
    }));
  }

  return {
    model,
    async detect(frame) {
      const fitted = await fitFrame(frame, width, height, fit);
      const found = [...(await look(fitted, { width, height })), ...(await lookAgain(fitted))];
      const faces = suppress(found, iouMax);
      return faces.map((face) => toBox(face, outline, fitted, frame)).filter((box) => box.w >= 1 && box.h >= 1);
    },
    dispose: () => engine.dispose(),
  };
}

async function createMmod(
  model: string,
  { thresh }: ImportedModel,
  options: FaceDetectorOptions,
): Promise<FaceDetector> {
  refuseSize(model, options.size);
  const engine = await createEngine(model, options);
  const search = { upsample: options.upsample ?? 0, thresh: options.thresh ?? thresh };
  return { model, detect: (frame) => detectMmod(engine, frame, search), dispose: () => engine.dispose() };
}

async function createMtcnn(
  model: string,
  { thresh }: ImportedModel,
  options: FaceDetectorOptions,
): Promise<FaceDetector> {
  refuseSize(model, options.size);
  const [pnet, rnet, onet] = await Promise.all([
    createEngine(model, options),
    createEngine(model, { ...options, part: 'rnet' }),
    createEngine(model, { ...options, part: 'onet' }),
  ]);
  const search = { ...MTCNN_DEFAULTS, thresh: options.thresh ?? thresh };
  return {
    model,
    detect: (frame) => detectMtcnn({ pnet, rnet, onet }, frame, search),
    async dispose() {
      await Promise.all([pnet, rnet, onet].map((engine) => engine.dispose()));
    },
  };
}

/** Of a net that sees each frame at the frame's own size. @throws MODEL_NOT_FOUND */
function refuseSize(model: string, size: number | undefined): void {
  if (size === undefined) return;
  const message = `model ${model} has no input size ${size}; it sees frames at their own size, in a pyramid`;
  throw new OrchestratorError('MODEL_NOT_FOUND', message, { model, size });
}

/** How the outputs of a model of the catalogue, or of an imported one, become faces. */
function decoderOf(name: string | undefined, imported: ImportedModel | null): Decoder {
  const net = name ?? imported?.like;
  if (imported === null || net !== undefined) {
    const decoder = DECODERS[net as FaceDetectorModel];
    return imported === null ? decoder : { ...decoder, thresh: imported.thresh };
  }
  const { head, width, height } = imported;
  return {
    outline: head === 'ultraface' ? ULTRAFACE_OUTLINE : WHOLE,
    thresh: imported.thresh,
    iouMax: 0.4,
    decode: (outputs, _size, thresh) =>
      readHead(head!, outputs, { width, height, thresh }).map((face) => ({ ...face, label: 'face' })),
  };
}

function toBox(face: Candidate, outline: Outline, { scaleX, scaleY }: Fitted, frame: Pixels): Box {
  const w = face.w / outline.w;
  const h = face.h / outline.h;
  const x = face.x + (face.w - w) / 2 - outline.x * w;
  const y = face.y + (face.h - h) / 2 - outline.y * h;
  const rect = { x: x * scaleX, y: y * scaleY, w: w * scaleX, h: h * scaleY };
  return { label: 'face', prob: face.prob, ...clampRect(rect, frame.width, frame.height) };
}

const sigmoid = (value: number) => 1 / (1 + Math.exp(-value));

function decodeSsd({ boxes, scores }: Record<string, OutputTensor>, size: number, thresh: number): Candidate[] {
  const faces: Candidate[] = [];
  const corners = boxes!.data;
  scores!.data.forEach((prob, prior) => {
    if (prob < thresh) return;
    const [top, left, bottom, right] = [0, 1, 2, 3].map((side) => clampUnit(corners[prior * 4 + side]!) * size);
    faces.push({ label: 'face', prob, x: left!, y: top!, w: right! - left!, h: bottom! - top! });
  });
  return faces;
}

const clampUnit = (value: number) => Math.min(Math.max(value, 0), 1);

/** Anchor sizes in grid cells (face-api tinyFaceDetector/const.ts). */
const TINY_ANCHORS = [
  [1.603231, 2.094468],
  [6.041143, 7.080126],
  [2.882459, 3.518061],
  [4.266906, 5.178857],
  [9.041765, 10.66308],
] as const;

/** YOLO v2: the centre is a sigmoid within the cell, the size an exponential of the anchor. */
function decodeTiny({ grid }: Record<string, OutputTensor>, size: number, thresh: number): Candidate[] {
  const { data, dims } = grid!;
  const cells = dims[2]!;
  const area = cells * cells;
  const cell = size / cells;
  const faces: Candidate[] = [];
  TINY_ANCHORS.forEach(([anchorWidth, anchorHeight], anchor) => {
    const at = (channel: number, index: number) => data[(anchor * 5 + channel) * area + index]!;
    for (let index = 0; index < area; index++) {
      const prob = sigmoid(at(4, index));
      if (prob < thresh) continue;
      const x = ((index % cells) + sigmoid(at(0, index))) * cell;
      const y = (Math.floor(index / cells) + sigmoid(at(1, index))) * cell;
      const w = Math.exp(at(2, index)) * anchorWidth * cell;
      const h = Math.exp(at(3, index)) * anchorHeight * cell;
      faces.push({ label: 'face', prob, x: x - w / 2, y: y - h / 2, w, h });
    }
  });
  return faces;
}

/** Feature maps of BlazeFace: output suffix, input pixels per cell and anchors per cell (human generateAnchors). */
const BLAZE_MAPS = [
  { suffix: '16', cellPx: 16, anchors: 2 },
  { suffix: '8', cellPx: 32, anchors: 6 },
] as const;

/** Columns of a row: x, y from the anchor's centre, width and height, then six key points; all in input pixels. */
function decodeBlaze(outputs: Record<string, OutputTensor>, size: number, thresh: number): Candidate[] {
  const faces: Candidate[] = [];
  for (const { suffix, cellPx, anchors } of BLAZE_MAPS) {
    const cells = size / cellPx;
    const rows = outputs[`boxes_${suffix}`]!.data;
    outputs[`scores_${suffix}`]!.data.forEach((logit, index) => {
      const prob = sigmoid(logit);
      if (prob < thresh) return;
      const place = Math.floor(index / anchors);
      const x = rows[index * 16]! + ((place % cells) + 0.5) * cellPx;
      const y = rows[index * 16 + 1]! + (Math.floor(place / cells) + 0.5) * cellPx;
      const [w, h] = [rows[index * 16 + 2]!, rows[index * 16 + 3]!];
      faces.push({ label: 'face', prob, x: x - w / 2, y: y - h / 2, w, h });
    });
  }
  return faces;
}

const WHOLE: Outline = { x: 0, y: 0, w: 1, h: 1 };
const ULTRAFACE_OUTLINE: Outline = WHOLE;

const DECODERS: Readonly<Record<FaceDetectorModel, Decoder>> = {
  ssd_mobilenetv1: { thresh: 0.5, iouMax: 0.5, decode: decodeSsd, outline: WHOLE },
  tiny_face_detector: { thresh: 0.5, iouMax: 0.4, decode: decodeTiny, outline: { x: 0.01, y: 0.14, w: 1.6, h: 1 } },
  blazeface: {
    ...{ thresh: 0.5, iouMax: 0.3, decode: decodeBlaze, again: { fromPx: 640, sizePx: 256 } },
    outline: { x: 0.01, y: 0.1, w: 1.12, h: 0.77 },
  },
};
