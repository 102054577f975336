/**
 * Embeddings of aligned faces. Vectors are L2-normalised; distances are reported on the scale on which the model's
 * published thresholds were chosen, so that dlib's 0.6 means what its users know.
 */
import type { Crop } from '../contracts/packet.js';
import { type Chip, chipFor } from './align.js';
import { createEngine, type EngineOptions } from './engine.js';
import { type AnyModel, resolveModel } from './model-cache.js';
import { sampleRect } from './warp.js';

export const RECOGNIZERS = ['face_recognition', 'faceres'] as const;
export type RecognizerModel = (typeof RECOGNIZERS)[number];

export interface RecognizerOptions extends EngineOptions {
  /** Of the catalogue, or imported. */
  readonly model?: string;
}

export interface Recognizer {
  readonly model: string;
  /** Changes with the weights: embeddings that are kept are of this key. */
  readonly key: string;
  /** The aligned face that the net wants. */
  readonly chip: Chip;
  /** Length of an embedding. */
  readonly dim: number;
  /** Largest distance between two faces that are taken for one person. */
  readonly thresh: number;
  /** Distance = this * euclidean distance of the normalised embeddings. */
  readonly distanceScale: number;
  /** L2-normalised embeddings, one per chip in their order. Chips of another size are stretched. */
  embed(chips: readonly Crop[]): Promise<Float32Array[]>;
  dispose(): Promise<void>;
}

/** Faces lower than this are not named: at 32 px every threshold breaks down. */
export const FACE_HEIGHT_MIN_PX = 48;
export const TOO_SMALL_NOTE = 'too small to recognize';

/** Faces of one run; bounds the memory of a crowd. */
const BATCH_MAX = 16;

const SCALES: Readonly<Record<RecognizerModel, { readonly thresh: number; readonly distanceScale: number }>> = {
  // dlib's descriptors are compared without normalising; over the sample faces their length is 1.47 +- 0.03.
  face_recognition: { thresh: 0.55, distanceScale: 1.47 },
  // The nearest two of the 22 sample faces lie 0.81 apart; degraded copies of one face 0.1 to 0.4.
  faceres: { thresh: 0.8, distanceScale: 1 },
};

/** What a recogniser is, whether of the catalogue or imported. */
interface RecognizerFacts {
  readonly key: string;
  readonly chip: Chip;
  readonly dim: number;
  readonly thresh: number;
  readonly distanceScale: number;
  /** Faces of one run. */
  readonly batchMax: number;
}

function factsOf({ row, imported }: AnyModel): RecognizerFacts {
  const net = (row?.name ?? imported?.like) as RecognizerModel | undefined;
  const scale = net === undefined ? { thresh: 1, distanceScale: 1 } : SCALES[net];
  if (imported === null) {
    const chip = chipFor('dlib', row!.input_sizes[0]!);
    return { ...scale, key: row!.name, chip, dim: row!.embedding_dim!, batchMax: BATCH_MAX };
  }
  const { pose = 'arcface', width, embedding_dim, thresh, batches } = imported;
  return {
    key: `${imported.name} ${imported.sha256}`,
    distanceScale: scale.distanceScale,
    thresh,
    chip: chipFor(pose, width),
    dim: embedding_dim!,
    batchMax: batches ? BATCH_MAX : 1,
  };
}

export async function createRecognizer(options: RecognizerOptions = {}): Promise<Recognizer> {
  const { model = 'face_recognition' } = options;
  const { batchMax, ...facts } = factsOf(await resolveModel(model, options.cacheDir, 'recognize_face'));
  const side = facts.chip.sidePx;
  const engine = await createEngine(model, options);

  async function embedBatch(chips: readonly Crop[]): Promise<Float32Array[]> {
    const bytes = side * side * 3;
    const data = new Uint8Array(chips.length * bytes);
    chips.forEach((chip, index) => {
      data.set(fitChip(chip, side), index * bytes);
    });
    const [descriptor] = Object.values(await engine.run({ data, batch: chips.length, height: side, width: side }));
    return chips.map((_, index) => normalise(descriptor!.data.slice(index * facts.dim, (index + 1) * facts.dim)));
  }

  return {
    model,
    ...facts,
    async embed(chips) {
      const embeddings: Float32Array[] = [];
      for (let start = 0; start < chips.length; start += batchMax) {
        embeddings.push(...(await embedBatch(chips.slice(start, start + batchMax))));
      }
      return embeddings;
    },
    dispose: () => engine.dispose(),
  };
}

function fitChip(chip: Crop, side: number): Buffer {
  if (chip.width === side && chip.height === side) return chip.data;
  return sampleRect(chip, { x: 0, y: 0, w: chip.width, h: chip.height }, side, side).data;
}

function normalise(vector: Float32Array): Float32Array {
  let sum = 0;
  for (const value of vector) sum += value * value;
  const scale = sum > 0 ? 1 / Math.sqrt(sum) : 0;
  for (let i = 0; i < vector.length; i++) vector[i]! *= scale;
  return vector;
}
