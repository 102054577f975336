/** The service file that a measured figure is written back into; everything else in the file stays as it is. */
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { parseDocument } from '#vendor/yaml.js';
import { readDocument } from '../../config/documents.js';
import { documentFiles, loadServiceFiles } from '../../config/resources.js';
import { OrchestratorError } from '../../contracts/errors.js';
import type { Service } from '../../contracts/service.js';
import type { ServiceFile } from '../../contracts/service-file.js';
import { writeWhole } from '../../vision/model-files.js';
import { builtInTypes } from '../handler-types.js';
import type { VariantFigures } from './evaluate.js';
import type { HandlerFigures } from './profile.js';

export interface ServiceAt {
  readonly service: Service;
  readonly file: string;
}

/** @throws SERVICE_NOT_FOUND naming those there are; SERVICE_FILE_INVALID for a file that is wrong */
export function findServiceFiles(path: string, wanted: string | null): ServiceAt[] {
  const all = documentFiles(path).map((file): ServiceAt => {
    const { items, problems } = loadServiceFiles([file], builtInTypes());
    if (problems[0] !== undefined) throw problems[0];
    return { service: items[0]!, file };
  });
  const found = all.filter(
    ({ service }) =>
      service.template === null &&
      (wanted === null || service.service_name === wanted || String(service.service_id) === wanted),
  );
  if (found.length > 0) return found;
  const known = all.filter(({ service }) => service.template === null).map(({ service }) => service.service_name);
  throw new OrchestratorError(
    'SERVICE_NOT_FOUND',
    `${path} has no service ${wanted ?? ''} to measure; there are ${known.join(', ') || 'none'}`,
  );
}

type Place = readonly (string | number)[];
type Edit = readonly [place: Place, value: string | number];

/** Measured accuracies and what they were measured on, into the variants. */
export async function writeAccuracies(
  file: string,
  figures: readonly Pick<VariantFigures, 'variant' | 'accuracy'>[],
  dataset: string,
): Promise<void> {
  const { variants = [] } = readDocument(file) as ServiceFile;
  await edit(
    file,
    figures.flatMap(({ variant, accuracy }): Edit[] => {
      const at = variants.findIndex((one) => one.variant_name === variant);
      if (at < 0) return [];
      // The schema wants more than 0, and an accuracy of nothing found is nothing to choose by.
      const shown = Math.max(0.001, rounded(accuracy, 3));
      return [
        [['variants', at, 'accuracy'], shown],
        [['variants', at, 'dataset'], dataset],
      ];
    }),
  );
}

type MeasuredCost = Pick<HandlerFigures, 'handler' | 'alternative' | 'cpu_ms_speed_1' | 'mem_mb' | 'out_bytes'>;

/** Measured costs on a node of speed 1, into the alternatives of the handlers, or the handlers that have none. */
export async function writeCosts(file: string, figures: readonly MeasuredCost[]): Promise<void> {
  const { handlers = [] } = readDocument(file) as ServiceFile;
  await edit(
    file,
    figures.flatMap((row): Edit[] => {
      const at = handlers.findIndex((one) => one.handler_name === row.handler);
      if (at < 0) return [];
      const alternative = handlers[at]!.alternatives?.findIndex(({ name }) => name === row.alternative) ?? -1;
      const place = ['handlers', at, ...(alternative < 0 ? [] : ['alternatives', alternative]), 'cost'];
      return [
        [[...place, 'cpu_ms'], rounded(row.cpu_ms_speed_1, 1)],
        [[...place, 'mem_mb'], Math.ceil(row.mem_mb)],
        [[...place, 'out_bytes'], row.out_bytes],
      ];
    }),
  );
}

const rounded = (value: number, digits: number) => Number(value.toFixed(digits));

/** YAML keeps its comments, JSON is written with two spaces. */
async function edit(file: string, edits: readonly Edit[]): Promise<void> {
  const document = parseDocument(readFileSync(file, 'utf8'));
  for (const [place, value] of edits) document.setIn(place, value);
  const isJson = extname(file).toLowerCase() === '.json';
  await writeWhole(file, isJson ? `${JSON.stringify(document.toJS(), null, 2)}\n` : document.toString());
}
