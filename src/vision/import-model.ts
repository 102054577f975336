/**
 * Takes a model file of another maker into a node: ONNX, a TensorFlow.js graph model, a face-api weights manifest, or
 * dlib's MMOD net.
 * What its outputs mean is recognised by their shapes on a trial run, unless it is stated; what cannot be told is refused,
 * so that a model that was imported is one that runs.
 */
import { createHash } from 'node:crypto';
import type { InferenceSession } from 'onnxruntime-node';
import { OrchestratorError } from '../contracts/errors.js';
import { MODELS } from './catalogue.js';
import type { NetName } from './convert-nets.js';
import { HEADS, type Head, recogniseHead } from './heads.js';
import { type ImportedModel, MODEL_NAME, storeImported } from './imported-models.js';
import { KNOWN_FILES, type KnownFile } from './known-files.js';
import { invalid, type Readable, readModelFile } from './model-file-reader.js';
import type { Preparation } from './onnx-join.js';

/** Sides of a model's input, pixels. */
const SIDE_PX_MAX = 4096;
const SIDE_PX = { detection: 640, recognition: 112 } as const;

export interface ImportOptions {
  readonly path: string;
  /** That of a known file, else made of the path, when not given. */
  readonly name?: string;
  readonly cacheDir: string;
  readonly task?: ImportedModel['task'];
  /** One of HEADS. */
  readonly head?: string;
  readonly labels?: readonly string[];
  /** Where the model takes any size. */
  readonly width?: number;
  readonly height?: number;
  readonly mean?: readonly [number, number, number];
  readonly scale?: readonly [number, number, number];
  readonly channels?: 'rgb' | 'bgr';
  readonly fit?: 'letterbox' | 'stretch';
  readonly pose?: 'dlib' | 'arcface';
  readonly thresh?: number;
  /** Graph models: the node whose value is the output, where the graph has more than is wanted. */
  readonly output?: string;
  readonly origin?: string;
  readonly licence?: string;
  readonly licenceAnyUse?: boolean;
}

type Dims = Record<string, { readonly dims: readonly number[] }>;

const IDLE: Preparation = { mean: [0, 0, 0], scale: [1, 1, 1], channels: 'rgb' };

/** @throws MODEL_NOT_FOUND (no file), MODEL_INVALID with what is wrong with it */
export async function importModel(asked: ImportOptions): Promise<ImportedModel> {
  const file = await readModelFile(asked.path, asked.output);
  const known = KNOWN_FILES.find((one) => one.sha256 === file.sourceSha256);
  const name = asked.name ?? known?.name ?? nameOf(asked.path);
  checkName(name);
  const options: ImportOptions & { readonly name: string } = { ...known?.import, ...defined(asked), name };
  const where = asked.path;
  if (file.pyramid !== undefined) return importPyramid(file, file.pyramid, options, known);
  const like = file.net === undefined ? undefined : netRow(file.net, where);
  const task = options.task ?? (like?.task as ImportOptions['task']);
  const trialSize = sizeOf(file, options, like?.input_sizes[0] ?? SIDE_PX.detection);
  const outputs = await trial(file.build(IDLE), trialSize, 1, where);
  const reading = like === undefined ? readingOf(outputs, trialSize, { ...options, task }, where) : { task: task! };
  const onnx = file.build(preparationOf(reading, options));
  const batches = await trial(onnx, trialSize, 2, where).then(
    () => true,
    () => false,
  );
  const model: ImportedModel = {
    name: options.name,
    ...originOf(known, options, like?.licence),
    source_sha256: file.sourceSha256,
    source_bytes: file.sourceBytes,
    sha256: createHash('sha256').update(onnx).digest('hex'),
    ...trialSize,
    batches,
    ...(like === undefined ? {} : { like: like.name, embedding_dim: like.embedding_dim }),
    fit: options.fit ?? (LETTERBOXED.has(reading.head ?? '') ? 'letterbox' : 'stretch'),
    thresh: options.thresh ?? (reading.task === 'recognize_face' ? 1 : 0.5),
    ...(reading.task === 'recognize_face' ? { pose: options.pose ?? (like ? 'dlib' : 'arcface') } : {}),
    ...reading,
  };
  await storeImported(JSON.parse(JSON.stringify(model)) as ImportedModel, onnx, options.cacheDir);
  return model;
}

/** Its input is any picture; what is recorded as its size is that of the trial. */
async function importPyramid(
  file: Readable,
  { like, parts }: NonNullable<Readable['pyramid']>,
  options: ImportOptions & { readonly name: string },
  known: KnownFile | undefined,
): Promise<ImportedModel> {
  if (options.task !== undefined && options.task !== 'detect_face') throw invalid(options.path, 'it finds faces');
  const size = { width: SIDE_PX.detection, height: SIDE_PX.detection };
  const onnx = file.build(IDLE);
  await trial(onnx, size, 1, options.path);
  const sha256Of = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
  const model: ImportedModel = {
    name: options.name,
    task: 'detect_face',
    ...originOf(known, options),
    source_sha256: file.sourceSha256,
    source_bytes: file.sourceBytes,
    sha256: sha256Of(onnx),
    ...(Object.keys(parts).length === 0
      ? {}
      : { parts: Object.fromEntries(Object.entries(parts).map(([part, bytes]) => [part, sha256Of(bytes)])) }),
    ...size,
    batches: false,
    like,
    fit: 'stretch',
    labels: ['face'],
    thresh: options.thresh ?? 0.5,
  };
  await storeImported(model, onnx, options.cacheDir, parts);
  return model;
}

function checkName(name: string): void {
  if (!MODEL_NAME.test(name)) {
    throw new OrchestratorError('USAGE', `model name ${name} does not fit ${MODEL_NAME.source}`);
  }
  if (MODELS.some((row) => row.name === name)) {
    throw new OrchestratorError('USAGE', `model name ${name} is taken by the catalogue; give another with --name`);
  }
}

/** `Some Net_v2.onnx` -> `some-net_v2` */
function nameOf(path: string): string {
  const base = path.replace(/^.*[/\\]/, '').replace(/\.[^.]*$/, '');
  return (
    base
      .toLowerCase()
      .replaceAll(/[^a-z0-9._-]+/g, '-')
      .replace(/^[^a-z0-9]+/, '') || 'model'
  );
}

/** Without the keys that are undefined: they must not hide what is known. */
function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T;
}

function netRow(net: NetName, where: string) {
  const row = MODELS.find((one) => one.name === net)!;
  if (row.task === 'detect_face' || row.task === 'recognize_face')
    return row as typeof row & { embedding_dim?: number };
  throw invalid(where, `nets of the task ${row.task} are not imported; the catalogue has them`);
}

function sizeOf(file: Readable, options: ImportOptions, otherwise: number): { width: number; height: number } {
  const width = file.width ?? options.width ?? otherwise;
  const height = file.height ?? options.height ?? options.width ?? otherwise;
  for (const side of [width, height]) {
    if (side < 1 || side > SIDE_PX_MAX) {
      throw invalid(options.path, `its input is ${width} x ${height} pixels; sides of 1 to ${SIDE_PX_MAX} are taken`);
    }
  }
  return { width, height };
}

/** Shapes of the outputs for grey pictures. @throws MODEL_INVALID when ONNX Runtime does not load or run it */
async function trial(
  onnx: Uint8Array,
  { width, height }: { width: number; height: number },
  batch: number,
  where: string,
): Promise<Dims> {
  const runtime = await import('onnxruntime-node');
  let session: InferenceSession | null = null;
  try {
    session = await runtime.InferenceSession.create(onnx, { logSeverityLevel: 4, intraOpNumThreads: 1 });
    const data = new Uint8Array(batch * width * height * 3).fill(128);
    const outputs = await session.run({ pixels: new runtime.Tensor('uint8', data, [batch, height, width, 3]) });
    const wrong = Object.entries(outputs).find(([, { dims }]) => batch > 1 && dims[0] !== batch);
    if (wrong !== undefined) throw new Error(`output ${wrong[0]} ignores the batch`);
    return Object.fromEntries(Object.entries(outputs).map(([name, { dims }]) => [name, { dims }]));
  } catch (error) {
    throw invalid(where, `it does not run: ${error instanceof Error ? error.message : String(error)}`, error);
  } finally {
    await session?.release();
  }
}

type Read = Pick<ImportedModel, 'task' | 'head' | 'labels' | 'embedding_dim'>;

function readingOf(
  outputs: Dims,
  size: { width: number; height: number },
  options: ImportOptions,
  where: string,
): Read {
  const { task, labels } = options;
  const embedding = Object.values(outputs).find(({ dims }) => dims.length === 2 && dims[1]! >= 64)?.dims[1];
  if (options.head === undefined && Object.keys(outputs).length === 1 && embedding !== undefined) {
    if (task === undefined || task === 'recognize_face') return { task: 'recognize_face', embedding_dim: embedding };
  }
  if (task === 'recognize_face') throw invalid(where, 'a recogniser has one output of [batch, 64 or more]');
  const { head, classes } = statedOr(outputs, size, options, where);
  const detects = task ?? (classes === 1 || head === 'ultraface' ? 'detect_face' : 'detect_object');
  if (detects === 'detect_face') return { task: detects, head, labels: ['face'] };
  if (labels === undefined && classes !== null && classes !== 80) {
    throw invalid(where, `it tells ${classes} classes; give a file of their names with --labels`);
  }
  return { task: detects, head, ...(labels === undefined ? {} : { labels: [...labels] }) };
}

function statedOr(
  outputs: Dims,
  size: { width: number; height: number },
  { head, labels }: ImportOptions,
  where: string,
) {
  if (head !== undefined) return { head: statedHead(head), classes: labels?.length ?? null };
  try {
    return recogniseHead({ outputs, ...size, labels: labels?.length });
  } catch (error) {
    throw error instanceof OrchestratorError ? invalid(where, error.message, error) : error;
  }
}

function statedHead(name: string): Head {
  const head = HEADS.find((one) => one === name);
  if (head !== undefined) return head;
  throw new OrchestratorError('USAGE', `head ${name} is none of ${HEADS.join(', ')}`);
}

const LETTERBOXED: ReadonlySet<string> = new Set(['yolov5', 'yolov8', 'yolox', 'end_to_end'] satisfies Head[]);

const third = (value: number) => [value, value, value] as const;

/** What the makers of each family feed their nets. */
function preparationOf({ head, task }: Read, { mean, scale, channels }: ImportOptions): Preparation {
  let usual: Preparation = { mean: third(127.5), scale: third(1 / 127.5), channels: 'rgb' };
  if (head === 'yolox') usual = { ...IDLE, channels: 'bgr' };
  else if (head === 'nanodet') {
    usual = { mean: [103.53, 116.28, 123.675], scale: [1 / 57.375, 1 / 57.12, 1 / 58.395], channels: 'bgr' };
  } else if (head === 'ultraface') usual = { mean: third(127), scale: third(1 / 128), channels: 'rgb' };
  else if (head !== 'ssd' && task !== 'recognize_face') usual = { ...IDLE, scale: third(1 / 255) };
  return { mean: mean ?? usual.mean, scale: scale ?? usual.scale, channels: channels ?? usual.channels };
}

function originOf(known: KnownFile | undefined, options: ImportOptions, licence?: string) {
  return {
    origin: options.origin ?? known?.origin ?? options.path,
    licence: options.licence ?? known?.licence ?? licence ?? 'not stated',
    licence_any_use: options.licenceAnyUse ?? known?.licence_any_use ?? false,
  };
}
