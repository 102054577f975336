/**
 * A folder of pictures whose truth is known. It may hold any of these, and what it holds is what is measured:
 * `annotations.json` in COCO's form beside its pictures (detection), one folder of pictures per person, and `pairs.txt` with
 * `PICTURE PICTURE same|different` a line (verification).
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve, sep } from 'node:path';
import Type, { type Static } from '#vendor/typebox.js';
import { readDocument } from '../../config/documents.js';
import { OrchestratorError } from '../../contracts/errors.js';
import { parseWith } from '../../contracts/schema.js';
import { isPictureName } from '../../handlers/capture/files.js';
import type { Truth } from '../../vision/accuracy.js';

export interface AnnotatedPicture {
  readonly path: string;
  readonly truth: readonly Truth[];
}

export interface PortraitPicture {
  readonly path: string;
  readonly person: string;
}

export interface PicturePair {
  readonly one: string;
  readonly other: string;
  readonly same: boolean;
}

export interface Dataset {
  readonly name: string;
  readonly scenes: readonly AnnotatedPicture[];
  readonly portraits: readonly PortraitPicture[];
  /** As `pairs.txt` has them; null where all portraits are compared with one another. */
  readonly pairs: readonly PicturePair[] | null;
}

export const ANNOTATIONS_FILE = 'annotations.json';
const PAIRS_FILE = 'pairs.txt';
/** COCO's validation set has 5000; every picture is decoded and looked at once per variant. */
const PICTURES_MAX = 100_000;
/** All pairs of so many portraits are 2 million. */
const PORTRAITS_MAX = 2000;

const Id = Type.Union([Type.Integer(), Type.String()]);
const AnnotationsSchema = Type.Object({
  images: Type.Array(Type.Object({ id: Id, file_name: Type.String({ minLength: 1 }) }), { maxItems: PICTURES_MAX }),
  categories: Type.Array(Type.Object({ id: Id, name: Type.String({ minLength: 1 }) }), { minItems: 1 }),
  annotations: Type.Array(
    Type.Object({
      image_id: Id,
      category_id: Id,
      bbox: Type.Tuple([Type.Number(), Type.Number(), Type.Number({ minimum: 0 }), Type.Number({ minimum: 0 })]),
      iscrowd: Type.Optional(Type.Union([Type.Integer({ minimum: 0, maximum: 1 }), Type.Boolean()])),
    }),
  ),
});
export type Annotations = Static<typeof AnnotationsSchema>;

/** @throws DATASET_INVALID naming the file and what is wrong with it */
export function readDataset(dir: string): Dataset {
  if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory()) throw invalid(dir, 'is no directory');
  const annotations = join(dir, ANNOTATIONS_FILE);
  const pairs = join(dir, PAIRS_FILE);
  const scenes = existsSync(annotations) ? annotatedPictures(annotations, dir) : [];
  const dataset = {
    name: dir,
    scenes,
    portraits: portraitsIn(dir, new Set(scenes.map(({ path }) => path))),
    pairs: existsSync(pairs) ? pairsIn(pairs, dir) : null,
  };
  if (dataset.scenes.length + dataset.portraits.length + (dataset.pairs?.length ?? 0) > 0) return dataset;
  throw invalid(dir, `holds no ${ANNOTATIONS_FILE}, no ${PAIRS_FILE} and no folder of pictures per person`);
}

const invalid = (where: string, why: string) => new OrchestratorError('DATASET_INVALID', `${where} ${why}`);

function annotatedPictures(file: string, dir: string): AnnotatedPicture[] {
  const { images, categories, annotations } = parseWith(
    AnnotationsSchema,
    readDocument(file, 'DATASET_INVALID'),
    'DATASET_INVALID',
    file,
  );
  const labels = new Map(categories.map(({ id, name }) => [id, name]));
  const truths = new Map(images.map(({ id }) => [id, [] as Truth[]]));
  annotations.forEach(({ image_id, category_id, bbox, iscrowd }, index) => {
    const label = labels.get(category_id);
    const truth = truths.get(image_id);
    if (label === undefined) throw invalid(file, `annotations[${index}]: there is no category ${category_id}`);
    if (truth === undefined) throw invalid(file, `annotations[${index}]: there is no image ${image_id}`);
    const [x, y, w, h] = bbox;
    truth.push({ label, x, y, w, h, ...(iscrowd ? { ignore: true } : {}) });
  });
  return images.map(({ id, file_name }) => ({ path: pictureOf(file_name, dir, file), truth: truths.get(id)! }));
}

function pictureOf(name: string, dir: string, file: string): string {
  const path = resolve(dir, name);
  if (!path.startsWith(resolve(dir) + sep)) throw invalid(file, `names ${name}, which lies outside ${dir}`);
  if (!existsSync(path)) throw invalid(file, `names ${name}, which is not there`);
  return path;
}

/** A folder that holds annotated pictures is nobody. */
function portraitsIn(dir: string, annotated: ReadonlySet<string>): PortraitPicture[] {
  const folders = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const people = folders
    .map(({ name }) => ({ person: name, files: picturesOf(resolve(dir, name)) }))
    .filter(({ files }) => !files.some((path) => annotated.has(path)));
  const portraits = people.flatMap(({ person, files }) => files.map((path) => ({ person, path })));
  if (portraits.length > PORTRAITS_MAX) {
    throw invalid(
      dir,
      `holds ${portraits.length} portraits; of more than ${PORTRAITS_MAX} name the pairs in ${PAIRS_FILE}`,
    );
  }
  return portraits;
}

function picturesOf(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && isPictureName(entry.name))
    .map((entry) => join(folder, entry.name))
    .sort();
}

const SAME = new Map([
  ['same', true],
  ['1', true],
  ['different', false],
  ['0', false],
]);

function pairsIn(file: string, dir: string): PicturePair[] {
  const lines = readFileSync(file, 'utf8').split(/\r?\n/);
  const pairs = lines.flatMap((line, index) => {
    if (line.trim() === '' || line.startsWith('#')) return [];
    const [one, other, verdict, ...more] = line.trim().split(/[\t, ]+/);
    const same = SAME.get(verdict ?? '');
    if (same === undefined || more.length > 0) {
      throw invalid(file, `line ${index + 1} is not PICTURE PICTURE same|different: ${line}`);
    }
    return [{ one: pictureOf(one!, dir, file), other: pictureOf(other!, dir, file), same }];
  });
  if (pairs.some(({ same }) => same) && pairs.some(({ same }) => !same)) return pairs;
  throw invalid(file, 'needs pairs of both kinds, same and different');
}
