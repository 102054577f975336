/**
 * Faces by dlib's MMOD net (convert-mmod.ts): one window of fixed size, searched in every level of an image pyramid. It
 * takes long and finds nearly everything, also turned and half covered faces. dlib lays all levels into one large picture;
 * here each is a run of its own, so scores of the smaller levels differ a little.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { Box } from '../contracts/packet.js';
import type { Engine } from './engine.js';
import { clampRect, suppress } from './geometry.js';
import { resizeFrame } from './images.js';
import type { Pixels } from './warp.js';

/** dlib's pyramid_down<6>: each level has five sixths of the side before. */
const LEVEL_RATIO = 5 / 6;
/** No level has a shorter side: a face that fills it has half of the window's 80 px. The net needs 7. */
const LEVEL_SIDE_MIN_PX = 40;
/** Pixels of the first level. The net takes some 60 bytes for each. */
export const MMOD_PIXELS_MAX = 16 * 1024 ** 2;

export interface MmodOptions {
  /** Times that the frame is doubled first: faces of 80 px are found as they are, of 40 px with 1. */
  readonly upsample: number;
  /** Least probability: a sigmoid of dlib's score, which is 0 at its own threshold. */
  readonly thresh: number;
}

/** @param engine of a model that `convertMmod` made */
export async function detectMmod(engine: Engine, frame: Pixels, { upsample, thresh }: MmodOptions): Promise<Box[]> {
  const pixels = frame.width * frame.height * 4 ** upsample;
  if (pixels > MMOD_PIXELS_MAX) throw tooLarge(frame, upsample, pixels);
  const faces: Box[] = [];
  let iouMax = 1;
  for (const { width, height } of levelsOf(frame, 2 ** upsample)) {
    const { data } = await resizeFrame(frame, width, height);
    const { scores, window } = await engine.run({ data, batch: 1, height, width });
    const [windowWidth, windowHeight, iou, stride, offset] = window!.data as unknown as number[];
    const [scaleX, scaleY] = [frame.width / width, frame.height / height];
    const columns = scores!.dims[3]!;
    iouMax = iou!;
    scores!.data.forEach((score, index) => {
      const prob = 1 / (1 + Math.exp(-score));
      if (prob <= thresh) return;
      // Cells name pixels; the middle of one lies half a pixel further.
      const x = ((index % columns) * stride! + offset! + 0.5) * scaleX;
      const y = (Math.floor(index / columns) * stride! + offset! + 0.5) * scaleY;
      const [w, h] = [windowWidth! * scaleX, windowHeight! * scaleY];
      faces.push({ label: 'face', prob, x: x - w / 2, y: y - h / 2, w, h });
    });
  }
  const kept = suppress(faces, iouMax).map((face) => ({ ...face, ...clampRect(face, frame.width, frame.height) }));
  return kept.filter(({ w, h }) => w >= 1 && h >= 1);
}

function levelsOf(frame: Pixels, scale: number): { width: number; height: number }[] {
  const levels: { width: number; height: number }[] = [];
  let [width, height] = [frame.width * scale, frame.height * scale];
  while (Math.min(width, height) >= LEVEL_SIDE_MIN_PX) {
    levels.push({ width, height });
    [width, height] = [Math.floor(width * LEVEL_RATIO), Math.floor(height * LEVEL_RATIO)];
  }
  return levels;
}

function tooLarge(frame: Pixels, upsample: number, pixels: number): OrchestratorError {
  const message = `a frame of ${frame.width} x ${frame.height} px with upsample ${upsample} is ${pixels} pixels, MMOD takes at most ${MMOD_PIXELS_MAX}`;
  return new OrchestratorError('PICTURE_TOO_LARGE', message, { width: frame.width, height: frame.height, upsample });
}
