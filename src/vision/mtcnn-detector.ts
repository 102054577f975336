/**
 * Faces by MTCNN (Zhang et al. 2016): a small net proposes boxes on every level of an image pyramid, two larger ones look
 * into each proposal and refine or drop it. Steps and constants are those of face-api's and facenet's versions. Time grows
 * with the number of proposals, so a busy picture takes longer than an empty one; STAGE_BOXES_MAX bounds it.
 */
import type { Box } from '../contracts/packet.js';
import type { Engine, OutputTensor } from './engine.js';
import { clampRect, iou, type Rect } from './geometry.js';
import { resizeFrame } from './images.js';
import { type Pixels, sampleRect } from './warp.js';

export interface MtcnnEngines {
  readonly pnet: Engine;
  readonly rnet: Engine;
  readonly onet: Engine;
}

export interface MtcnnOptions {
  /** Smallest face that is looked for, px of the frame; the time of the first stage falls with its square. */
  readonly minFacePx: number;
  /** Least probability of the last stage, 0..1. */
  readonly thresh: number;
}

export const MTCNN_DEFAULTS: MtcnnOptions = { minFacePx: 20, thresh: 0.7 };
/** The proposal net sees squares of 12 px, one every 2 px. */
const [CELL_PX, CELL_STRIDE_PX] = [12, 2];
const LEVEL_RATIO = 0.709;
const LEVELS_MAX = 10;
const THRESH = { pnet: 0.6, rnet: 0.7 } as const;
const NMS = { level: 0.5, stage: 0.7 } as const;
/** Boxes that go from one stage to the next, the likeliest: a crowd of a thousand faces has some ten thousand proposals. */
const STAGE_BOXES_MAX = 1000;
/** Boxes of one run of the second and third net. */
const BATCH_MAX = 64;

interface Candidate extends Rect {
  readonly prob: number;
}

export async function detectMtcnn(engines: MtcnnEngines, frame: Pixels, options: MtcnnOptions): Promise<Box[]> {
  const proposed = await propose(engines.pnet, frame, options.minFacePx);
  const refined = (await look(engines.rnet, frame, proposed, 24)).filter(({ prob }) => prob > THRESH.rnet);
  const kept = suppressBy(iou, refined, NMS.stage).map(moved).map(squared);
  const found = (await look(engines.onet, frame, kept, 48)).filter(({ prob }) => prob > options.thresh).map(moved);
  return suppressBy(shareOfSmaller, found, NMS.stage)
    .map((face) => ({ label: 'face', prob: face.prob, ...clampRect(face, frame.width, frame.height) }))
    .filter(({ w, h }) => w >= 1 && h >= 1);
}

async function propose(pnet: Engine, frame: Pixels, minFacePx: number): Promise<Candidate[]> {
  const all: Proposal[] = [];
  let scale = CELL_PX / minFacePx;
  for (let level = 0; level < LEVELS_MAX; level++, scale *= LEVEL_RATIO) {
    const [width, height] = [Math.floor(frame.width * scale), Math.floor(frame.height * scale)];
    if (Math.min(width, height) <= CELL_PX) break;
    const { data } = await resizeFrame(frame, width, height);
    const outputs = await pnet.run({ data, batch: 1, height, width });
    all.push(...suppressBy(iou, cellsOf(outputs, scale), NMS.level));
  }
  return suppressBy(iou, all, NMS.stage).slice(0, STAGE_BOXES_MAX).map(moved).map(squared);
}

/** A box, and what a net says of it: shifts of its sides in its widths and heights. */
interface Proposal extends Candidate {
  readonly shift: readonly [left: number, top: number, right: number, bottom: number];
}

function cellsOf({ scores, regions }: Record<string, OutputTensor>, scale: number): Proposal[] {
  const [columns, area] = [scores!.dims[3]!, scores!.data.length];
  const cells: Proposal[] = [];
  scores!.data.forEach((prob, index) => {
    if (prob < THRESH.pnet) return;
    const [x, y] = [(index % columns) * CELL_STRIDE_PX, Math.floor(index / columns) * CELL_STRIDE_PX].map(
      (at) => (at + 1) / scale,
    ) as [number, number];
    const side = (CELL_PX - 1) / scale;
    const shift = [0, 1, 2, 3].map((at) => regions!.data[at * area + index]!) as unknown as Proposal['shift'];
    cells.push({ prob, x, y, w: side, h: side, shift });
  });
  return cells;
}

async function look(net: Engine, frame: Pixels, boxes: readonly Candidate[], sidePx: number): Promise<Proposal[]> {
  const seen: Proposal[] = [];
  for (let start = 0; start < boxes.length; start += BATCH_MAX) {
    const batch = boxes.slice(start, start + BATCH_MAX);
    const bytes = sidePx * sidePx * 3;
    const data = new Uint8Array(batch.length * bytes);
    for (const [index, box] of batch.entries()) data.set(sampleRect(frame, box, sidePx, sidePx).data, index * bytes);
    const { scores, regions } = await net.run({ data, batch: batch.length, height: sidePx, width: sidePx });
    for (const [index, box] of batch.entries()) {
      const shift = [...regions!.data.subarray(index * 4, index * 4 + 4)] as unknown as Proposal['shift'];
      seen.push({ ...box, prob: scores!.data[index]!, shift });
    }
  }
  return seen;
}

function moved({ prob, x, y, w, h, shift: [left, top, right, bottom] }: Proposal): Candidate {
  return { prob, x: x + left * w, y: y + top * h, w: w * (1 + right - left), h: h * (1 + bottom - top) };
}

function squared({ prob, x, y, w, h }: Candidate): Candidate {
  const side = Math.max(w, h, 1);
  return { prob, x: x + (w - side) / 2, y: y + (h - side) / 2, w: side, h: side };
}

/** A face inside another is the same face, however much smaller. */
function shareOfSmaller(one: Rect, other: Rect): number {
  const shared = iou(one, other) * ((one.w * one.h + other.w * other.h) / (1 + iou(one, other)));
  return shared / Math.min(one.w * one.h, other.w * other.h);
}

function suppressBy<T extends Candidate>(
  overlap: (one: Rect, other: Rect) => number,
  boxes: readonly T[],
  overlapMax: number,
): T[] {
  const kept: T[] = [];
  for (const box of [...boxes].sort((one, other) => other.prob - one.prob)) {
    if (!kept.some((better) => overlap(better, box) > overlapMax)) kept.push(box);
  }
  return kept;
}
