/**
 * A gallery for the demo: the largest faces of some sample pictures, cropped and enrolled under invented names, so that
 * labels appear. The same pictures are then recognised: it shows the chain at work and measures no accuracy.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import type { Box } from '../contracts/packet.js';
import { createFaceDetector } from '../vision/face-detector.js';
import { cropFrame, decodePicture, encodeJpeg } from '../vision/images.js';
import type { Progress } from '../vision/model-cache.js';
import type { Pixels } from '../vision/warp.js';

export interface GalleryOptions {
  readonly pictures: readonly string[];
  /** Made; gets one folder per face. */
  readonly directory: string;
  readonly cacheDir: string;
  readonly onProgress: Progress;
}

/** Around a face, as a share of its size: the detector must find it again in the crop. */
const MARGIN = 0.6;
const JPEG_QUALITY = 92;
const FACES_PER_PICTURE = 2;
const NAMES = ['Ash', 'Blair', 'Casey', 'Drew', 'Ellis', 'Finley', 'Gray', 'Harper', 'Jules', 'Kim'];

/** Returns the names enrolled, in the order of the pictures. */
export async function enrolFaces(options: GalleryOptions): Promise<string[]> {
  const detector = await createFaceDetector({ cacheDir: options.cacheDir, onProgress: options.onProgress });
  const enrolled: string[] = [];
  try {
    for (const picture of options.pictures) {
      const frame = await decodePicture(readFileSync(picture));
      const boxes = (await detector.detect(frame)).sort((a, b) => b.w * b.h - a.w * a.h);
      for (const box of boxes.slice(0, FACES_PER_PICTURE)) {
        const name = NAMES[enrolled.length % NAMES.length]!;
        const directory = join(options.directory, name);
        mkdirSync(directory, { recursive: true });
        const file = `${basename(picture, extname(picture))}-${enrolled.length}.jpg`;
        writeFileSync(join(directory, file), await encodeJpeg(cropFrame(frame, withMargin(box, frame)), JPEG_QUALITY));
        enrolled.push(name);
      }
    }
  } finally {
    await detector.dispose();
  }
  return enrolled;
}

function withMargin(box: Box, frame: Pixels) {
  const x = Math.max(0, Math.floor(box.x - box.w * MARGIN));
  const y = Math.max(0, Math.floor(box.y - box.h * MARGIN));
  const right = Math.min(frame.width, Math.ceil(box.x + box.w * (1 + MARGIN)));
  const bottom = Math.min(frame.height, Math.ceil(box.y + box.h * (1 + MARGIN)));
  return { x, y, w: right - x, h: bottom - y };
}
