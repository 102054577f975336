/**
 * Figures of accuracy as the field defines them: average precision of detections (COCO: detections of all pictures in one
 * list by probability, each truth matched once, precision interpolated at 101 recalls), area under the ROC curve of
 * verification, and rank-1 identification. Pure.
 */
import { iou, type Rect } from './geometry.js';

/** An object that is really there. */
export interface Truth extends Rect {
  readonly label: string;
  /** Neither to be found nor wrong when found: a crowd, or something that the annotator could not tell. */
  readonly ignore?: boolean;
}

export interface Found extends Rect {
  readonly label: string;
  readonly prob: number;
}

export interface Scene {
  readonly truth: readonly Truth[];
  readonly found: readonly Found[];
}

/** COCO: at most so many of a picture count. */
const FOUND_MAX = 100;
const RECALLS = 101;
/** IoU .50, .55, ... .95 */
export const COCO_IOUS: readonly number[] = Array.from({ length: 10 }, (_, step) => 0.5 + step * 0.05);

/** Mean over the labels that are in the truth and over the IoUs; NaN where there is no truth. */
export function meanAveragePrecision(scenes: readonly Scene[], ious: readonly number[]): number {
  const labels = [
    ...new Set(scenes.flatMap(({ truth }) => truth.filter((one) => !one.ignore).map(({ label }) => label))),
  ];
  const values = labels.flatMap((label) => ious.map((iouMin) => averagePrecision(scenes, label, iouMin)));
  return mean(values);
}

export function averagePrecision(scenes: readonly Scene[], label: string, iouMin: number): number {
  let count = 0;
  const verdicts: { prob: number; right: boolean }[] = [];
  for (const { truth, found } of scenes) {
    const wanted = truth.filter((one) => one.label === label);
    count += wanted.filter((one) => !one.ignore).length;
    const claims = found.filter((one) => one.label === label).sort((one, other) => other.prob - one.prob);
    verdicts.push(...judge(wanted, claims.slice(0, FOUND_MAX), iouMin));
  }
  if (count === 0) return Number.NaN;
  return interpolated(
    verdicts.sort((one, other) => other.prob - one.prob),
    count,
  );
}

/** Each claim takes the best truth that is left; what only fits an ignored one does not count at all. */
function judge(wanted: readonly Truth[], claims: readonly Found[], iouMin: number) {
  const left = new Set(wanted.filter((one) => !one.ignore));
  const ignored = wanted.filter((one) => one.ignore);
  return claims.flatMap((claim) => {
    let [best, overlap] = [null as Truth | null, iouMin];
    for (const one of left) {
      const shared = iou(one, claim);
      if (shared >= overlap) [best, overlap] = [one, shared];
    }
    if (best !== null) left.delete(best);
    else if (ignored.some((one) => iou(one, claim) >= iouMin)) return [];
    return [{ prob: claim.prob, right: best !== null }];
  });
}

/** Mean over RECALLS recalls of the best precision at that recall or a higher one. */
function interpolated(verdicts: readonly { readonly right: boolean }[], count: number): number {
  const points: { recall: number; precision: number }[] = [];
  let right = 0;
  verdicts.forEach((verdict, index) => {
    if (verdict.right) right += 1;
    points.push({ recall: right / count, precision: right / (index + 1) });
  });
  for (let at = points.length - 2; at >= 0; at--) {
    points[at]!.precision = Math.max(points[at]!.precision, points[at + 1]!.precision);
  }
  let [sum, at] = [0, 0];
  for (let step = 0; step < RECALLS; step++) {
    while (at < points.length && points[at]!.recall < step / (RECALLS - 1) - 1e-9) at += 1;
    sum += points[at]?.precision ?? 0;
  }
  return sum / RECALLS;
}

export interface Pair {
  /** Whether the two show one person. */
  readonly same: boolean;
  /** Larger = more alike; -Infinity where a face was not found. */
  readonly likeness: number;
}

/** Probability that a pair of one person is more alike than a pair of two, ties counting half; NaN with one kind only. */
export function areaUnderRoc(pairs: readonly Pair[]): number {
  const sorted = [...pairs].sort((one, other) => (one.likeness < other.likeness ? -1 : 1));
  const positives = pairs.filter(({ same }) => same).length;
  const negatives = pairs.length - positives;
  let [won, below] = [0, 0];
  for (let start = 0; start < sorted.length; ) {
    let end = start;
    while (end < sorted.length && sorted[end]!.likeness === sorted[start]!.likeness) end += 1;
    const tied = sorted.slice(start, end);
    const alike = tied.filter(({ same }) => same).length;
    won += alike * (below + (tied.length - alike) / 2);
    below += tied.length - alike;
    start = end;
  }
  return won / (positives * negatives);
}

/** A picture of a person; without an embedding no face was found in it. */
export interface Portrait {
  readonly person: string;
  readonly embedding: Float32Array | null;
}

/** Of the pictures whose person has another one: the share whose most alike other picture is of the same person. */
export function rankOne(portraits: readonly Portrait[]): number {
  const queries = portraits.filter((one) => portraits.some((other) => other !== one && other.person === one.person));
  const right = queries.filter((query) => {
    let [person, best] = ['', Number.NEGATIVE_INFINITY];
    for (const other of portraits) {
      const alike = other === query ? Number.NEGATIVE_INFINITY : likeness(query.embedding, other.embedding);
      if (alike > best) [person, best] = [other.person, alike];
    }
    return person === query.person;
  });
  return queries.length === 0 ? Number.NaN : right.length / queries.length;
}

/** Cosine of two normalised embeddings; -Infinity where either is missing. */
export function likeness(one: Float32Array | null, other: Float32Array | null): number {
  if (one === null || other === null) return Number.NEGATIVE_INFINITY;
  return one.reduce((sum, value, index) => sum + value * other[index]!, 0);
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
