/**
 * Faces by dlib's HOG detector, a native part that exists only where somebody built it (hog-build.ts). The search runs
 * beside the event loop. Boxes are what dlib itself gives: squares from brows to chin.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { OrchestratorError } from '../contracts/errors.js';
import type { Box } from '../contracts/packet.js';
import { clampRect } from './geometry.js';
import { HOG_HINT, hogPath } from './hog-build.js';
import { defaultCacheDir } from './model-cache.js';
import type { Pixels } from './warp.js';

export interface HogOptions {
  /** Times that the frame is doubled first: faces of 80 px are found as they are, of 40 px with 1. */
  readonly upsample: number;
  readonly cacheDir?: string;
}

export interface HogDetector {
  detect(frame: Pixels): Promise<Box[]>;
  dispose(): Promise<void>;
}

interface Addon {
  /** x, y, w, h and confidence of each face. */
  detect(rgb: Buffer, width: number, height: number, upsample: number): Promise<Float64Array>;
}

/** Pixels that are searched, after doubling. HOG takes some 50 bytes for each; 64 Mpx is 8K doubled once, minus a bit. */
export const HOG_PIXELS_MAX = 64 * 1024 ** 2;
const NUMBERS_PER_FACE = 5;

/** @throws HANDLER_FAILED with the way to get the native part, when it was not built on this machine */
export async function createHogDetector({ upsample, cacheDir = defaultCacheDir() }: HogOptions): Promise<HogDetector> {
  const addon = loadAddon(hogPath(cacheDir));
  return {
    async detect(frame) {
      const pixels = frame.width * frame.height * 4 ** upsample;
      if (pixels > HOG_PIXELS_MAX) throw tooLarge(frame, upsample, pixels);
      const numbers = await addon.detect(frame.data, frame.width, frame.height, upsample);
      const faces = Array.from({ length: numbers.length / NUMBERS_PER_FACE }, (_, face) =>
        toBox(numbers.subarray(face * NUMBERS_PER_FACE), frame),
      );
      return faces.filter(({ w, h }) => w >= 1 && h >= 1).sort((one, other) => other.prob - one.prob);
    },
    // The addon keeps one detector for the life of the process.
    async dispose() {},
  };
}

/** The confidence is a distance from the edge of a support vector machine, 0 to about 3; a sigmoid makes it 0.5..1. */
function toBox([x, y, w, h, confidence]: Float64Array, frame: Pixels): Box {
  const rect = clampRect({ x: x!, y: y!, w: w!, h: h! }, frame.width, frame.height);
  return { label: 'face', prob: 1 / (1 + Math.exp(-confidence!)), ...rect };
}

function loadAddon(path: string): Addon {
  if (!existsSync(path)) {
    const message = `hog_detect_face needs dlib's HOG detector, which was not built here: ${HOG_HINT}; detect_face with model blazeface is faster and finds more`;
    throw new OrchestratorError('HANDLER_FAILED', message, { path });
  }
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (error) {
    const message = `dlib's HOG detector cannot be loaded (${String(error)}); build it again: ${HOG_HINT}`;
    throw new OrchestratorError('HANDLER_FAILED', message, { path }, { cause: error });
  }
}

function tooLarge(frame: Pixels, upsample: number, pixels: number): OrchestratorError {
  const message = `a frame of ${frame.width} x ${frame.height} px with upsample ${upsample} is ${pixels} pixels, HOG takes at most ${HOG_PIXELS_MAX}`;
  return new OrchestratorError('PICTURE_TOO_LARGE', message, { width: frame.width, height: frame.height, upsample });
}
