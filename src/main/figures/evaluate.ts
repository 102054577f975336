/**
 * `evaluate`: how accurate each variant of a service is on pictures whose truth is known. Variants are measured as they
 * run, thresholds included. The accuracy of a variant, which the allocator reads from the service file, is the product of
 * what the set lets one measure: mean average precision of what is detected, and of recognition rank-1 (or the area under
 * the ROC curve, where the set names pairs).
 */
import { OrchestratorError } from '../../contracts/errors.js';
import type { Box } from '../../contracts/packet.js';
import type { Service, Variant } from '../../contracts/service.js';
import {
  areaUnderRoc,
  likeness,
  meanAveragePrecision,
  type Pair,
  type Portrait,
  rankOne,
  type Scene,
} from '../../vision/accuracy.js';
import type { Dataset } from './dataset.js';
import { type Eyes, type EyesOptions, openEyes } from './eyes.js';

export interface EvaluateOptions extends EyesOptions {
  readonly variants: readonly Variant[];
  readonly dataset: Dataset;
  /** Overlaps at which a detection is right. */
  readonly ious: readonly number[];
}

export interface VariantFigures {
  readonly variant: string;
  readonly accuracy: number;
  /** Mean average precision; null without annotated pictures. */
  readonly map: number | null;
  /** Of verification; null without portraits. */
  readonly auc: number | null;
  readonly rank_1: number | null;
  /** Portraits in which no face was found that is large enough to be recognised. */
  readonly missed: number;
  /** Declared CPU time of all handlers, per packet on a node of speed 1. */
  readonly cpu_ms: number;
  /** A variant that costs no more and is as accurate. */
  readonly dominated_by: string | null;
}

export async function evaluateService(options: EvaluateOptions): Promise<VariantFigures[]> {
  const figures: VariantFigures[] = [];
  for (const variant of options.variants) figures.push(await evaluateVariant(variant, options));
  return figures.map((one) => ({ ...one, dominated_by: dominatorOf(one, figures) }));
}

/** All, or the one that is named. @throws USAGE naming those there are */
export function variantsOf({ service_name, variants }: Service, only?: string): readonly Variant[] {
  const chosen = variants.filter(({ variant_name }) => only === undefined || variant_name === only);
  if (chosen.length > 0) return chosen;
  const known = variants.map(({ variant_name }) => variant_name).join(', ') || 'none';
  throw new OrchestratorError('USAGE', `${service_name} has no variant ${only}; there are ${known}`);
}

function dominatorOf(one: VariantFigures, all: readonly VariantFigures[]): string | null {
  const better = all.find(
    (other) =>
      other !== one &&
      other.accuracy >= one.accuracy &&
      other.cpu_ms <= one.cpu_ms &&
      (other.accuracy > one.accuracy || other.cpu_ms < one.cpu_ms),
  );
  return better?.variant ?? null;
}

async function evaluateVariant(variant: Variant, options: EvaluateOptions): Promise<VariantFigures> {
  const { dataset, ious } = options;
  const say = (done: number, what: string, all: number) =>
    options.onProgress(`${variant.variant_name}: ${what} ${done + 1} of ${all}`);
  options.onProgress(`${variant.variant_name}: loading models`);
  const eyes = await openEyes(variant, options);
  try {
    const scenes: Scene[] = [];
    for (const [index, { path, truth }] of dataset.scenes.entries()) {
      say(index, 'picture', dataset.scenes.length);
      scenes.push({ truth, found: await eyes.look(path) });
    }
    const map = scenes.length > 0 ? meanAveragePrecision(scenes, ious) : null;
    const recognition = await recognitionOf(dataset, eyes, (done, all) => say(done, 'portrait', all));
    const parts = [map, dataset.pairs === null ? recognition.rank_1 : recognition.auc].filter((one) => one !== null);
    return {
      variant: variant.variant_name,
      accuracy: parts.reduce((product, one) => product * one, 1),
      map,
      ...recognition,
      cpu_ms: variant.handlers.reduce((sum, { alternatives }) => sum + alternatives[0]!.cost.cpu_ms, 0),
      dominated_by: null,
    };
  } finally {
    await eyes.close();
  }
}

type Recognition = Pick<VariantFigures, 'auc' | 'rank_1' | 'missed'>;

async function recognitionOf(
  { portraits, pairs }: Dataset,
  eyes: Eyes,
  say: (done: number, all: number) => void,
): Promise<Recognition> {
  const paths = [
    ...new Set([...portraits.map(({ path }) => path), ...(pairs ?? []).flatMap(({ one, other }) => [one, other])]),
  ];
  if (paths.length === 0) return { auc: null, rank_1: null, missed: 0 };
  const embeddings = new Map<string, Float32Array | null>();
  for (const [index, path] of paths.entries()) {
    say(index, paths.length);
    embeddings.set(path, embeddingOf(await eyes.look(path)));
  }
  const embedded = portraits.map(({ path, person }): Portrait => ({ person, embedding: embeddings.get(path)! }));
  const compared = (pairs ?? allPairs(portraits)).map(
    ({ one, other, same }): Pair => ({ same, likeness: likeness(embeddings.get(one)!, embeddings.get(other)!) }),
  );
  return {
    auc: orNull(areaUnderRoc(compared)),
    rank_1: orNull(rankOne(embedded)),
    missed: [...embeddings.values()].filter((one) => one === null).length,
  };
}

const orNull = (value: number) => (Number.isNaN(value) ? null : value);

/** Of the likeliest face; null where it has none because it was too small, or no face was found. */
function embeddingOf(boxes: readonly Box[]): Float32Array | null {
  const [first] = [...boxes].sort((one, other) => other.prob - one.prob);
  return first?.embedding ?? null;
}

function allPairs(portraits: Dataset['portraits']) {
  return portraits.flatMap((one, index) =>
    portraits
      .slice(index + 1)
      .map((other) => ({ one: one.path, other: other.path, same: one.person === other.person })),
  );
}
