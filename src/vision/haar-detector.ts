/**
 * Faces by a cascade of OpenCV, which runs as WebAssembly (the optional package opencv-wasm). It works on the event loop:
 * a search takes some 200 ms at 640 x 480, so its handler has a host of its own, and large pictures are made smaller.
 */
import { createRequire } from 'node:module';
import { OrchestratorError } from '../contracts/errors.js';
import type { Box } from '../contracts/packet.js';
import { resizeFrame } from './images.js';
import type { Pixels } from './warp.js';

export interface HaarOptions {
  /** Bytes of the cascade's XML. */
  readonly cascade: Buffer;
  readonly scaleFactor: number;
  readonly minNeighbours: number;
  /** Smallest side of a face, pixels of the frame. */
  readonly minSizePx: number;
  /** The longer side of a larger frame is brought to this first; 0 = never. */
  readonly sidePxMax: number;
}

export interface HaarDetector {
  detect(frame: Pixels): Promise<Box[]>;
  dispose(): Promise<void>;
}

interface Mat {
  readonly data: Uint8Array;
  delete(): void;
}

interface Rects {
  size(): number;
  get(index: number): { x: number; y: number; width: number; height: number };
  delete(): void;
}

interface Cascade {
  load(path: string): boolean;
  detectMultiScale(picture: Mat, rects: Rects, scale: number, neighbours: number, flags: number, least: object): void;
  delete(): void;
}

interface OpenCv {
  readonly Mat: new (rows: number, columns: number, type: number) => Mat;
  readonly RectVector: new () => Rects;
  readonly CascadeClassifier: new () => Cascade;
  readonly Size: new (width: number, height: number) => object;
  readonly CV_8UC3: number;
  readonly CV_8UC1: number;
  readonly COLOR_RGB2GRAY: number;
  cvtColor(from: Mat, to: Mat, code: number): void;
  equalizeHist(from: Mat, to: Mat): void;
  FS_createDataFile(dir: string, name: string, data: Uint8Array, read: boolean, write: boolean, own: boolean): void;
  FS_unlink(path: string): void;
}

/** A cascade says yes or no; what it found counts as likely as that. */
const PROB = 1;

/** @throws HANDLER_FAILED when opencv-wasm is not installed, MODEL_INVALID when the XML is no cascade */
export async function createHaarDetector(options: HaarOptions): Promise<HaarDetector> {
  const cv = loadOpenCv();
  const cascade = loadCascade(cv, options.cascade);
  return {
    async detect(frame) {
      const scale = options.sidePxMax === 0 ? 1 : Math.max(1, Math.max(frame.width, frame.height) / options.sidePxMax);
      const [width, height] = [frame.width, frame.height].map((side) => Math.max(1, Math.round(side / scale)));
      const small = await resizeFrame(frame, width!, height!);
      return search(cv, cascade, small, { ...options, minSizePx: Math.max(1, options.minSizePx / scale) }).map(
        (rect) => ({
          label: 'face',
          prob: PROB,
          x: rect.x * scale,
          y: rect.y * scale,
          w: rect.width * scale,
          h: rect.height * scale,
        }),
      );
    },
    async dispose() {
      cascade.delete();
    },
  };
}

function loadOpenCv(): OpenCv {
  try {
    const { cv } = createRequire(import.meta.url)('opencv-wasm') as { cv: OpenCv };
    return cv;
  } catch (error) {
    const message =
      'haar_detect_face needs the optional npm package opencv-wasm, which is not installed: npm install opencv-wasm';
    throw new OrchestratorError('HANDLER_FAILED', message, {}, { cause: error });
  }
}

const FILE = 'cascade.xml';

function loadCascade(cv: OpenCv, xml: Buffer): Cascade {
  const cascade = new cv.CascadeClassifier();
  cv.FS_createDataFile('/', FILE, xml, true, false, false);
  let loaded = false;
  try {
    loaded = cascade.load(FILE);
  } catch {
    // OpenCV throws a bare number for XML that it cannot parse.
  } finally {
    cv.FS_unlink(`/${FILE}`);
  }
  if (loaded) return cascade;
  cascade.delete();
  throw new OrchestratorError('MODEL_INVALID', "the cascade is no XML of OpenCV's classifiers");
}

function search(cv: OpenCv, cascade: Cascade, picture: Pixels, options: HaarOptions) {
  const colour = new cv.Mat(picture.height, picture.width, cv.CV_8UC3);
  const grey = new cv.Mat(picture.height, picture.width, cv.CV_8UC1);
  const rects = new cv.RectVector();
  try {
    colour.data.set(picture.data);
    cv.cvtColor(colour, grey, cv.COLOR_RGB2GRAY);
    cv.equalizeHist(grey, grey);
    const least = new cv.Size(Math.round(options.minSizePx), Math.round(options.minSizePx));
    cascade.detectMultiScale(grey, rects, options.scaleFactor, options.minNeighbours, 0, least);
    return Array.from({ length: rects.size() }, (_, index) => rects.get(index));
  } finally {
    colour.delete();
    grey.delete();
    rects.delete();
  }
}
