/**
 * Models that the operator of a node has imported: NAME.onnx, which takes `pixels` like every converted model, and
 * NAME.json, which says what it is. A model counts as imported when both are there and the hash in the second fits the
 * first. Handlers name imported models like those of the catalogue; a request can never name a model by its path.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import Type, { type Static } from '#vendor/typebox.js';
import { OrchestratorError } from '../contracts/errors.js';
import { parseWith } from '../contracts/schema.js';
import { HEADS } from './heads.js';
import { writeWhole } from './model-files.js';

export const MODEL_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

const ImportedModelSchema = Type.Object({
  name: Type.String({ pattern: MODEL_NAME.source }),
  task: Type.Enum(['detect_face', 'recognize_face', 'detect_object']),
  origin: Type.String(),
  licence: Type.String(),
  licence_any_use: Type.Boolean(),
  /** Of the file that was imported. */
  source_sha256: Type.String(),
  source_bytes: Type.Integer(),
  /** Of NAME.onnx. */
  sha256: Type.String(),
  /** Input in pixels. */
  width: Type.Integer({ minimum: 1 }),
  height: Type.Integer({ minimum: 1 }),
  /** False where the file takes one picture at a time. */
  batches: Type.Boolean(),
  /** Nets beside the first, each in NAME.PART.onnx: part -> sha256. */
  parts: Type.Optional(Type.Record(Type.String({ pattern: '^[a-z]{1,16}$' }), Type.String())),
  /** How outputs are read: a head of heads.ts, or like the catalogue model of that name, or as `mmod` or `mtcnn`. */
  head: Type.Optional(Type.Enum([...HEADS])),
  like: Type.Optional(Type.String()),
  fit: Type.Enum(['letterbox', 'stretch']),
  labels: Type.Optional(Type.Array(Type.String(), { minItems: 1 })),
  embedding_dim: Type.Optional(Type.Integer({ minimum: 2 })),
  /** Pose of the faces that a recogniser wants. */
  pose: Type.Optional(Type.Enum(['dlib', 'arcface'])),
  /** Least probability of a box; for recognisers the largest distance. */
  thresh: Type.Number({ minimum: 0, maximum: 2 }),
});
export type ImportedModel = Static<typeof ImportedModelSchema>;

/** Models of one node; a directory with more is no directory of ours. */
const MODELS_MAX = 1000;

const directoryOf = (cacheDir: string) => join(cacheDir, 'imported');

/** What is imported, by name; descriptions that cannot be read are reported and left out. */
export async function listImported(cacheDir: string, onBad: (message: string) => void): Promise<ImportedModel[]> {
  const names = (await readdir(directoryOf(cacheDir)).catch(() => [])).filter((name) => name.endsWith('.json'));
  const models: ImportedModel[] = [];
  for (const name of names.sort().slice(0, MODELS_MAX)) {
    const model = await findImported(name.slice(0, -'.json'.length), cacheDir).catch((error: Error) => {
      onBad(error.message);
      return null;
    });
    if (model !== null) models.push(model);
  }
  return models;
}

/** null when there is none of that name. @throws MODEL_INVALID when its description cannot be read */
export async function findImported(name: string, cacheDir: string): Promise<ImportedModel | null> {
  if (!MODEL_NAME.test(name)) return null;
  const path = join(directoryOf(cacheDir), `${name}.json`);
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new OrchestratorError('MODEL_INVALID', `${path} is no JSON: ${String(error)}`, { path });
  }
  return parseWith(ImportedModelSchema, value, 'MODEL_INVALID', path);
}

/** The model's ONNX bytes, or those of a part. @throws MODEL_INVALID when they are not those that were imported */
export async function readImported(model: ImportedModel, cacheDir: string, part?: string): Promise<Uint8Array> {
  const path = join(directoryOf(cacheDir), fileOf(model.name, part));
  const bytes = await readFile(path).catch((error: unknown) => {
    throw new OrchestratorError(
      'MODEL_INVALID',
      `${path} cannot be read; import ${model.name} again`,
      {},
      { cause: error },
    );
  });
  const sha256 = part === undefined ? model.sha256 : model.parts?.[part];
  if (createHash('sha256').update(bytes).digest('hex') === sha256) return bytes;
  throw new OrchestratorError(
    'MODEL_INVALID',
    `${path} has changed since ${model.name} was imported; import it again`,
    {
      path,
    },
  );
}

const fileOf = (name: string, part?: string) => (part === undefined ? `${name}.onnx` : `${name}.${part}.onnx`);

/** The nets first, then their description: a kill in between leaves nothing that counts as imported. */
export async function storeImported(
  model: ImportedModel,
  onnx: Uint8Array,
  cacheDir: string,
  parts: Readonly<Record<string, Uint8Array>> = {},
): Promise<void> {
  const directory = directoryOf(cacheDir);
  await mkdir(directory, { recursive: true });
  await rm(join(directory, `${model.name}.json`), { force: true });
  for (const [part, bytes] of Object.entries(parts)) await writeWhole(join(directory, fileOf(model.name, part)), bytes);
  await writeWhole(join(directory, fileOf(model.name)), onnx);
  await writeWhole(join(directory, `${model.name}.json`), `${JSON.stringify(model, null, 2)}\n`);
}
