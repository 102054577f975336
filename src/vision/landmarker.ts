/**
 * 68 facial landmarks (iBUG order: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67) of boxes.
 * The face is taken from the frame, or from the crop that travels with the box, so it can run on another node.
 */
import type { Box } from '../contracts/packet.js';
import { findModel } from './catalogue.js';
import { createEngine, type EngineOptions } from './engine.js';
import { type Point, type Rect, squareRect } from './geometry.js';
import { type Pixels, sampleBox } from './warp.js';

export const LANDMARKERS = ['face_landmark_68', 'face_landmark_68_tiny'] as const;
export type LandmarkerModel = (typeof LANDMARKERS)[number];

export interface LandmarkerOptions extends EngineOptions {
  readonly model?: LandmarkerModel;
}

export interface Landmarker {
  readonly model: LandmarkerModel;
  /**
   * The boxes with `landmarks` in frame pixels; a box that has neither frame nor crop is returned as it is.
   * @param frame the frame of the boxes; without it each box's crop (`cropWithMargin`) is used
   */
  locate(boxes: readonly Box[], frame?: Pixels): Promise<Box[]>;
  dispose(): Promise<void>;
}

const SIDE_PX = 112;
const POINTS = 68;
/** Faces of one run; bounds the memory of a crowd. */
const BATCH_MAX = 16;

export async function createLandmarker(options: LandmarkerOptions = {}): Promise<Landmarker> {
  const { model = 'face_landmark_68' } = options;
  findModel(model, 'landmarks');
  const engine = await createEngine(model, options);

  async function locateBatch(boxes: readonly Box[], frame?: Pixels): Promise<Box[]> {
    const bytes = SIDE_PX * SIDE_PX * 3;
    const data = new Uint8Array(boxes.length * bytes);
    const squares = boxes.map((box) => squareRect(box));
    boxes.forEach((box, index) => {
      data.set(sampleBox(box, squares[index]!, SIDE_PX, frame).data, index * bytes);
    });
    const { points } = await engine.run({ data, batch: boxes.length, height: SIDE_PX, width: SIDE_PX });
    return boxes.map((box, index) => {
      const row = points!.data.subarray(index * POINTS * 2, (index + 1) * POINTS * 2);
      return { ...box, landmarks: toFrame(row, squares[index]!) };
    });
  }

  return {
    model,
    async locate(boxes, frame) {
      const usable = boxes.filter((box) => frame !== undefined || box.crop !== undefined);
      const located = new Map<Box, Box>();
      for (let start = 0; start < usable.length; start += BATCH_MAX) {
        const batch = usable.slice(start, start + BATCH_MAX);
        const done = await locateBatch(batch, frame);
        batch.forEach((box, index) => {
          located.set(box, done[index]!);
        });
      }
      return boxes.map((box) => located.get(box) ?? box);
    },
    dispose: () => engine.dispose(),
  };
}

function toFrame(row: Float32Array, square: Rect): Point[] {
  return Array.from({ length: POINTS }, (_, point) => [
    square.x + row[point * 2]! * square.w,
    square.y + row[point * 2 + 1]! * square.h,
  ]);
}
