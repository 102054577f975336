/** What all detectors do: look into a frame, or into the crop of each box, and tell positions in pixels of the frame. */
import { OrchestratorError } from '../contracts/errors.js';
import type { Box, Boxes, Crop, Frame } from '../contracts/packet.js';
import type { ProcessingHandler } from '../handler-kit/define.js';
import { clampRect, expandRect, type Rect, suppress } from '../vision/geometry.js';
import { CROP_MARGIN, cropWithMargin } from '../vision/images.js';
import { asAsked } from './models.js';
import { boxesOf, inputAs } from './ports.js';

/** Faces found in two overlapping crops are one face when they share this much (IoU). */
export const SAME_FACE_IOU = 0.4;

export interface DetectionOptions {
  readonly detector: {
    /** Boxes in pixels of `picture`. */
    detect(picture: Crop): Promise<readonly Box[]>;
    dispose(): Promise<void>;
  };
  readonly params: { readonly multiple: boolean; readonly with_crop: boolean };
  /** Smallest height of a box, px of the frame. */
  readonly heightMinPx: number;
  /** Overlap (IoU) above which two boxes of one label, found in different crops, are one object. */
  readonly iouMax: number;
}

export function detectionHandler({ detector, params, heightMinPx, iouMax }: DetectionOptions): ProcessingHandler {
  const keep = (found: readonly Box[]) =>
    asAsked(
      found.filter((box) => box.h >= heightMinPx),
      { multiple: params.multiple, with_crop: true },
    );

  async function inFrame(frame: Frame): Promise<Box[]> {
    const boxes = keep(await detector.detect(frame));
    return params.with_crop ? boxes.map((box) => ({ ...box, crop: cropWithMargin(frame, box) })) : boxes;
  }

  async function inCrops(input: Boxes): Promise<Box[]> {
    const found: Box[] = [];
    for (const outer of input.boxes) {
      const crop = detectionCrop(outer);
      for (const inner of await detector.detect(crop)) {
        const box = { ...inner, ...clampRect(toFrame(inner, outer, crop), input.frame_width, input.frame_height) };
        found.push(params.with_crop ? { ...box, crop: cropWithMargin(crop, toCrop(box, outer, crop)) } : box);
      }
    }
    return keep(suppress(found, iouMax));
  }

  return {
    kind: 'processing',
    async process(packets) {
      const input = inputAs(packets, 0, 'frame', 'boxes');
      return { outputs: [boxesOf(input, input.type === 'frame' ? await inFrame(input) : await inCrops(input))] };
    },
    close: () => detector.dispose(),
  };
}

/** An aligned crop (it has landmarks) is turned: what is found in it has no upright place in the frame. */
function detectionCrop(box: Box): Crop {
  if (box.crop !== undefined && box.landmarks === undefined) return box.crop;
  const why = box.crop === undefined ? 'has no crop; set with_crop on the handler before' : 'has an aligned crop';
  throw new OrchestratorError('HANDLER_FAILED', `box ${box.label} ${why}; a detector needs the crop of a detector`);
}

/** A crop shows the box grown by CROP_MARGIN, whatever its size in pixels. */
function toFrame(inner: Rect, outer: Box, crop: Crop): Rect {
  const shown = expandRect(outer, CROP_MARGIN);
  const [sx, sy] = [shown.w / crop.width, shown.h / crop.height];
  return { x: shown.x + inner.x * sx, y: shown.y + inner.y * sy, w: inner.w * sx, h: inner.h * sy };
}

function toCrop(rect: Rect, outer: Box, crop: Crop): Rect {
  const shown = expandRect(outer, CROP_MARGIN);
  const [sx, sy] = [crop.width / shown.w, crop.height / shown.h];
  return { x: (rect.x - shown.x) * sx, y: (rect.y - shown.y) * sy, w: rect.w * sx, h: rect.h * sy };
}
