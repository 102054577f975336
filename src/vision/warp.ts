/**
 * Sampling of pictures: a rectangle or a face of one picture becomes a new small picture.
 * Sources that are much larger than the result are halved first (each step the mean of 2 x 2 pixels), because bilinear
 * sampling alone skips pixels and aliases. What lies outside the source is black.
 */
import type { Box, Crop } from '../contracts/packet.js';
import { expandRect, type Rect, type Similarity } from './geometry.js';

/** Faces travel with this share of their width and height added on each side, so that another node can align them. */
export const CROP_MARGIN = 0.25;

/** Longer side of a travelling crop, pixels: a 224 px chip still finds its resolution, a close-up stays under 310 kB. */
export const CROP_SIDE_MAX_PX = 320;

/** A picture whose pixels can be read: Frame and Crop both are. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Buffer;
}

/** Affine map from the result to the source: sx = ax*x + bx*y + cx, sy = ay*x + by*y + cy (pixel centres at +0.5). */
interface Affine {
  ax: number;
  bx: number;
  cx: number;
  ay: number;
  by: number;
  cy: number;
}

/**
 * Exactly the rectangle `rect` of `source`, sampled to width x height RGB.
 * @returns Crop of width x height; parts outside the source are black.
 */
export function sampleRect(source: Pixels, rect: Rect, width: number, height: number): Crop {
  const scaleX = rect.w / width;
  const scaleY = rect.h / height;
  return sample(source, { ax: scaleX, bx: 0, cx: rect.x, ay: 0, by: scaleY, cy: rect.y }, width, height);
}

/** `rect` (frame pixels) from the frame, or from the box's own crop, which shows the box grown by CROP_MARGIN. */
export function sampleBox(box: Box, rect: Rect, side: number, frame?: Pixels): Crop {
  if (frame) return sampleRect(frame, rect, side, side);
  const crop = box.crop!;
  const shown = expandRect(box, CROP_MARGIN);
  const scaleX = crop.width / shown.w;
  const scaleY = crop.height / shown.h;
  const inside = {
    x: (rect.x - shown.x) * scaleX,
    y: (rect.y - shown.y) * scaleY,
    w: rect.w * scaleX,
    h: rect.h * scaleY,
  };
  return sampleRect(crop, inside, side, side);
}

/**
 * The width x height picture whose points are taken from `source` by the similarity `toSource` (result -> source pixels).
 */
export function warpSimilarity(source: Pixels, toSource: Similarity, width: number, height: number): Crop {
  const { a, b, tx, ty } = toSource;
  return sample(source, { ax: a, bx: -b, cx: tx, ay: b, by: a, cy: ty }, width, height);
}

/**
 * The box and `margin` of its size around it. The geometry is exact: the crop shows precisely
 * `expandRect(box, margin)`, scaled so that its longer side is at most CROP_SIDE_MAX_PX; outside the frame it is black.
 */
export function cropWithMargin(frame: Pixels, box: Rect, margin = CROP_MARGIN): Crop {
  const rect = expandRect(box, margin);
  const scale = Math.min(1, CROP_SIDE_MAX_PX / Math.max(rect.w, rect.h, 1));
  const width = Math.max(1, Math.round(rect.w * scale));
  const height = Math.max(1, Math.round(rect.h * scale));
  return sampleRect(frame, rect, width, height);
}

/** The pixels of `rect` as they are (edges rounded to whole pixels); outside the source black. */
export function cropPixels(source: Pixels, rect: Rect): Crop {
  const x0 = Math.round(rect.x);
  const y0 = Math.round(rect.y);
  const width = Math.max(1, Math.round(rect.x + rect.w) - x0);
  const height = Math.max(1, Math.round(rect.y + rect.h) - y0);
  const data = Buffer.alloc(width * height * 3);
  const left = Math.max(0, -x0);
  const columns = Math.min(source.width - x0, width) - left;
  if (columns > 0) {
    for (let y = Math.max(0, -y0); y < height && y0 + y < source.height; y++) {
      const from = ((y0 + y) * source.width + x0 + left) * 3;
      source.data.copy(data, (y * width + left) * 3, from, from + columns * 3);
    }
  }
  return { width, height, data };
}

function sample(source: Pixels, map: Affine, width: number, height: number): Crop {
  let picture = source;
  let affine = map;
  const scale = () => Math.sqrt(Math.abs(affine.ax * affine.by - affine.bx * affine.ay));
  if (scale() >= 2) {
    const region = sourceRegion(source, affine, width, height);
    if (region === null) return { width, height, data: Buffer.alloc(width * height * 3) };
    picture = cropPixels(source, region);
    affine = { ...affine, cx: affine.cx - region.x, cy: affine.cy - region.y };
    while (scale() >= 2 && picture.width > 1 && picture.height > 1) {
      picture = halve(picture);
      affine = halveAffine(affine);
    }
  }
  return bilinear(picture, affine, width, height);
}

function halveAffine(map: Affine): Affine {
  return { ax: map.ax / 2, bx: map.bx / 2, cx: map.cx / 2, ay: map.ay / 2, by: map.by / 2, cy: map.cy / 2 };
}

/** Whole-pixel rectangle of the source that the result can touch, cut to the source; null if it misses it. */
function sourceRegion(source: Pixels, map: Affine, width: number, height: number): Rect | null {
  let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of [
    [0, 0],
    [width, 0],
    [0, height],
    [width, height],
  ] as const) {
    const sx = map.ax * x + map.bx * y + map.cx;
    const sy = map.ay * x + map.by * y + map.cy;
    x0 = Math.min(x0, sx);
    x1 = Math.max(x1, sx);
    y0 = Math.min(y0, sy);
    y1 = Math.max(y1, sy);
  }
  const pad = 2 * Math.ceil(Math.hypot(map.ax, map.ay));
  x0 = Math.max(0, Math.floor(x0) - pad);
  y0 = Math.max(0, Math.floor(y0) - pad);
  x1 = Math.min(source.width, Math.ceil(x1) + pad);
  y1 = Math.min(source.height, Math.ceil(y1) + pad);
  return x1 > x0 && y1 > y0 ? { x: x0, y: y0, w: x1 - x0, h: y1 - y0 } : null;
}

/** Mean of 2 x 2 pixels; an odd last row or column is dropped. */
export function halve(source: Pixels): Crop {
  const width = source.width >> 1;
  const height = source.height >> 1;
  const data = Buffer.allocUnsafe(width * height * 3);
  const from = source.data;
  const stride = source.width * 3;
  let out = 0;
  for (let y = 0; y < height; y++) {
    let at = 2 * y * stride;
    for (let x = 0; x < width; x++, at += 6) {
      for (let c = at; c < at + 3; c++) {
        data[out++] = (from[c]! + from[c + 3]! + from[c + stride]! + from[c + stride + 3]! + 2) >> 2;
      }
    }
  }
  return { width, height, data };
}

function bilinear(source: Pixels, map: Affine, width: number, height: number): Crop {
  const { width: sw, height: sh, data: from } = source;
  const data = Buffer.alloc(width * height * 3);
  let out = 0;
  for (let y = 0; y < height; y++) {
    let sx = map.ax * 0.5 + map.bx * (y + 0.5) + map.cx - 0.5;
    let sy = map.ay * 0.5 + map.by * (y + 0.5) + map.cy - 0.5;
    for (let x = 0; x < width; x++, out += 3, sx += map.ax, sy += map.ay) {
      if (sx < -0.5 || sy < -0.5 || sx > sw - 0.5 || sy > sh - 0.5) continue;
      const fx = sx < 0 ? 0 : Math.min(sx, sw - 1);
      const fy = sy < 0 ? 0 : Math.min(sy, sh - 1);
      const x0 = fx | 0;
      const y0 = fy | 0;
      const right = x0 + 1 < sw ? 3 : 0;
      const down = y0 + 1 < sh ? sw * 3 : 0;
      const wx = fx - x0;
      const wy = fy - y0;
      const at = (y0 * sw + x0) * 3;
      for (let c = 0; c < 3; c++) {
        const p = at + c;
        const top = from[p]! + (from[p + right]! - from[p]!) * wx;
        const low = from[p + down]! + (from[p + down + right]! - from[p + down]!) * wx;
        data[out + c] = top + (low - top) * wy + 0.5;
      }
    }
  }
  return { width, height, data };
}
