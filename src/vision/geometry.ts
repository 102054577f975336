/**
 * Pure geometry of boxes and points: overlap, suppression, similarity transforms. Nothing here sees a pixel.
 * Coordinates are pixels with x to the right and y down; a pixel's centre lies at +0.5.
 */

export type Point = readonly [number, number];

export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

/** x' = a*x - b*y + tx, y' = b*x + a*y + ty: rotation, uniform scale and shift, no reflection. */
export interface Similarity {
  readonly a: number;
  readonly b: number;
  readonly tx: number;
  readonly ty: number;
}

/** Intersection over union, 0..1; 0 where either has no area. */
export function iou(first: Rect, second: Rect): number {
  const w = Math.min(first.x + first.w, second.x + second.w) - Math.max(first.x, second.x);
  const h = Math.min(first.y + first.h, second.y + second.h) - Math.max(first.y, second.y);
  if (w <= 0 || h <= 0) return 0;
  const shared = w * h;
  return shared / (first.w * first.h + second.w * second.h - shared);
}

/**
 * Greedy non-maximum suppression, best `prob` first.
 * @param iouMax boxes that overlap a better one of the same label by more than this are dropped.
 */
export function suppress<T extends Rect & { readonly prob: number; readonly label: string }>(
  boxes: readonly T[],
  iouMax: number,
): T[] {
  const kept: T[] = [];
  for (const box of [...boxes].sort((one, other) => other.prob - one.prob)) {
    if (!kept.some((better) => better.label === box.label && iou(better, box) > iouMax)) kept.push(box);
  }
  return kept;
}

/** The part of a rectangle inside a width x height picture (may be empty: w or h 0). */
export function clampRect(rect: Rect, width: number, height: number): Rect {
  const x = Math.min(Math.max(rect.x, 0), width);
  const y = Math.min(Math.max(rect.y, 0), height);
  return {
    x,
    y,
    w: Math.max(Math.min(rect.x + rect.w, width) - x, 0),
    h: Math.max(Math.min(rect.y + rect.h, height) - y, 0),
  };
}

/** The rectangle grown by `margin` of its width and height on each side. */
export function expandRect(rect: Rect, margin: number): Rect {
  return {
    x: rect.x - rect.w * margin,
    y: rect.y - rect.h * margin,
    w: rect.w * (1 + 2 * margin),
    h: rect.h * (1 + 2 * margin),
  };
}

/** The square of side max(w, h) around the centre of a rectangle. */
export function squareRect(rect: Rect): Rect {
  const side = Math.max(rect.w, rect.h);
  return { x: rect.x + (rect.w - side) / 2, y: rect.y + (rect.h - side) / 2, w: side, h: side };
}

/**
 * Least-squares similarity that takes `from` to `to` (Umeyama 1991, closed form for two dimensions without reflection).
 * Both lists have the same length, at least two different points.
 */
export function fitSimilarity(from: readonly Point[], to: readonly Point[]): Similarity {
  const n = from.length;
  let [fx, fy, ux, uy] = [0, 0, 0, 0];
  for (let i = 0; i < n; i++) {
    fx += from[i]![0] / n;
    fy += from[i]![1] / n;
    ux += to[i]![0] / n;
    uy += to[i]![1] / n;
  }
  let [dot, cross, norm] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const [px, py] = [from[i]![0] - fx, from[i]![1] - fy];
    const [qx, qy] = [to[i]![0] - ux, to[i]![1] - uy];
    dot += px * qx + py * qy;
    cross += px * qy - py * qx;
    norm += px * px + py * py;
  }
  const a = norm > 0 ? dot / norm : 1;
  const b = norm > 0 ? cross / norm : 0;
  return { a, b, tx: ux - a * fx + b * fy, ty: uy - b * fx - a * fy };
}

export function applySimilarity(transform: Similarity, [x, y]: Point): [number, number] {
  return [transform.a * x - transform.b * y + transform.tx, transform.b * x + transform.a * y + transform.ty];
}
