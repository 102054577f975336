/** `evaluate` and `profile` by the name of a service: find its file, measure, and write back what was asked to be. */
import { resolve } from 'node:path';
import { SERVICES_DIR } from '../package-facts.js';
import { type Dataset, readDataset } from './dataset.js';
import { evaluateService, type VariantFigures, variantsOf } from './evaluate.js';
import type { EyesOptions } from './eyes.js';
import { type Profiles, profileServices } from './profile.js';
import { withSampleSet } from './sample-set.js';
import { findServiceFiles, type ServiceAt, writeAccuracies, writeCosts } from './service-file.js';

interface NamedOptions extends EyesOptions {
  readonly services?: string | undefined;
  readonly write: boolean;
}

export interface EvaluateNamedOptions extends NamedOptions {
  readonly name: string;
  /** The set made of the sample pictures when not given. */
  readonly data?: string | undefined;
  readonly variant?: string | undefined;
  readonly iou: number;
}

export async function evaluateNamed(options: EvaluateNamedOptions): Promise<VariantFigures[]> {
  const [found] = findServiceFiles(resolve(options.services ?? SERVICES_DIR), options.name);
  const { service, file } = found!;
  const { data, cacheDir, iou, variant, threads, onProgress } = options;
  const variants = variantsOf(service, variant);
  const measure = (dataset: Dataset) =>
    evaluateService({ variants, dataset, ious: [iou], cacheDir, threads, onProgress });
  const figures =
    data === undefined
      ? await withSampleSet(sampleKind(found!), cacheDir, async (directory) => measure(readDataset(directory)))
      : await measure(readDataset(resolve(data)));
  if (options.write) await writeAccuracies(file, figures, describe(figures, data, iou));
  return figures;
}

const FACE = /face|recognize/;

/** People are what the sample pictures show to a detector of objects. */
function sampleKind({ service }: ServiceAt) {
  const types = service.variants.flatMap(({ handlers }) => handlers.map((one) => one.handler_type_name));
  return types.some((type) => FACE.test(type)) ? 'faces' : 'people';
}

function describe(figures: readonly VariantFigures[], data: string | undefined, iou: number): string {
  const [first] = figures;
  const parts = [
    first?.map == null ? [] : [`mAP at IoU ${iou}`],
    first?.rank_1 == null && first?.auc == null ? [] : [first.rank_1 == null ? 'AUC' : 'rank-1'],
  ].flat();
  const set = data === undefined ? "face-api's sample1..6.jpg, by themselves and 4, 9, 16 to a picture" : resolve(data);
  return `${parts.join(' times ')} on ${set} (orchestrator evaluate)`;
}

export interface ProfileNamedOptions extends NamedOptions {
  /** null: every service. */
  readonly name: string | null;
  readonly calls: number;
}

export async function profileNamed({ name, services, write, ...options }: ProfileNamedOptions): Promise<Profiles> {
  const found = findServiceFiles(resolve(services ?? SERVICES_DIR), name);
  const profiles = await profileServices({ ...options, services: found.map(({ service }) => service) });
  if (!write) return profiles;
  for (const { service, file } of found) {
    await writeCosts(
      file,
      profiles.handlers.filter((row) => row.service === service.service_name),
    );
  }
  return profiles;
}
