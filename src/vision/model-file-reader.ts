/**
 * Reads a model file of another maker and tells what it is: how large its input, and how it becomes a model that takes
 * `pixels`. What its outputs mean is the importer's question (import-model.ts).
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { OrchestratorError } from '../contracts/errors.js';
import { convertGraph, type TfNode } from './convert-graph.js';
import { convertMmod } from './convert-mmod.js';
import { convertMtcnn } from './convert-mtcnn.js';
import { convertNet, type NetName } from './convert-nets.js';
import { readMmod } from './dlib-file.js';
import { foreignInput, type Preparation, takePixels } from './onnx-join.js';
import { type ManifestGroup, readWeights } from './tfjs-weights.js';

/** The largest model file that is read, bytes: protobuf itself allows 2 GiB. */
export const MODEL_BYTES_MAX = 1024 ** 3;

/** A file as the importer sees it: how large its input is, and how it becomes a model that takes `pixels`. */
export interface Readable {
  readonly sourceSha256: string;
  readonly sourceBytes: number;
  readonly width: number | null;
  readonly height: number | null;
  build(preparation: Preparation): Uint8Array;
  readonly net?: NetName;
  /** A face detector that searches a pyramid of its own and has no fixed input. */
  readonly pyramid?: { readonly like: 'mmod' | 'mtcnn'; readonly parts: Readonly<Record<string, Uint8Array>> };
}

export const invalid = (where: string, why: string, cause?: unknown) =>
  new OrchestratorError('MODEL_INVALID', `${where}: ${why}`, { path: where }, { cause });

/** @throws MODEL_NOT_FOUND (no file), MODEL_INVALID with what is wrong with it */
export async function readModelFile(path: string, output?: string): Promise<Readable> {
  const facts = await stat(path).catch((error: unknown) => {
    throw new OrchestratorError('MODEL_NOT_FOUND', `${path} cannot be read`, { path }, { cause: error });
  });
  if (!facts.isFile()) throw invalid(path, 'it is no file');
  if (facts.size > MODEL_BYTES_MAX)
    throw invalid(path, `it has ${facts.size} bytes, at most ${MODEL_BYTES_MAX} are read`);
  const bytes = await readFile(path);
  if (path.toLowerCase().endsWith('.json')) return readTfjs(path, bytes, output);
  const source = { sourceSha256: createHash('sha256').update(bytes).digest('hex'), sourceBytes: bytes.length };
  if (path.toLowerCase().endsWith('.dat')) {
    const net = readMmod(bytes, path);
    return {
      ...source,
      width: null,
      height: null,
      pyramid: { like: 'mmod', parts: {} },
      build: () => convertMmod(net),
    };
  }
  const input = foreignInput(bytes, path);
  return {
    ...source,
    width: input.width,
    height: input.height,
    build: (preparation) => takePixels(bytes, input, preparation),
  };
}

async function readTfjs(path: string, json: Buffer, output?: string): Promise<Readable> {
  let parsed: ManifestGroup[] | { weightsManifest?: ManifestGroup[]; modelTopology?: { node?: TfNode[] } };
  try {
    parsed = JSON.parse(json.toString());
  } catch (error) {
    throw invalid(path, 'it is no JSON', error);
  }
  const groups = Array.isArray(parsed) ? parsed : parsed.weightsManifest;
  if (!Array.isArray(groups))
    throw invalid(path, 'it is neither a graph model nor a weights manifest of TensorFlow.js');
  const files = await readWeights(path, groups, json).catch((error: unknown) => {
    throw invalid(path, `its weights cannot be read: ${error instanceof Error ? error.message : String(error)}`, error);
  });
  const weights = files.weights();
  const { bytes, sha256 } = files;
  const source = { sourceSha256: sha256, sourceBytes: bytes };
  if (weights.has('pnet/conv1/weights')) {
    const parts = { rnet: convertMtcnn('rnet', weights), onet: convertMtcnn('onet', weights) };
    const build = () => convertMtcnn('pnet', weights);
    return { ...source, width: null, height: null, pyramid: { like: 'mtcnn', parts }, build };
  }
  if (Array.isArray(parsed)) {
    const net = NETS.find(([, weight]) => weights.has(weight))?.[0];
    if (net === undefined) throw invalid(path, `its weights are of none of ${NETS.map(([name]) => name).join(', ')}`);
    return { ...source, width: null, height: null, net, build: () => convertNet(net, weights) };
  }
  const nodes = parsed.modelTopology?.node;
  if (!Array.isArray(nodes))
    throw invalid(path, 'it has no modelTopology; layers models are not taken, graph models are');
  const [height, width] = placeholderSize(nodes);
  const wanted = output === undefined ? sinksOf(nodes) : [output];
  const outputs = Object.fromEntries(wanted.map((node, index) => [`output_${index}`, { node }]));
  return {
    ...source,
    width,
    height,
    build: ({ mean, scale }) =>
      convertGraph({
        name: path,
        nodes,
        weights,
        normalisation: { mean, scale: scale[0] },
        size: [height ?? 'height', width ?? 'width'],
        outputs,
      }),
  };
}

/** A weight that only this net has; the tiny landmark net comes last because its names are a subset of the other's. */
const NETS: readonly (readonly [NetName, string])[] = [
  ['tiny_face_detector', 'conv8/filters'],
  ['ssd_mobilenetv1', 'MobilenetV1/Conv2d_0_pointwise/weights'],
  ['face_recognition', 'conv32_down/conv/filters'],
];

function placeholderSize(nodes: readonly TfNode[]): [height: number | null, width: number | null] {
  const shape = nodes.find((node) => node.op === 'Placeholder')?.attr?.shape?.shape?.dim ?? [];
  const side = (index: number) => (Number(shape[index]?.size) > 0 ? Number(shape[index]?.size) : null);
  return [side(1), side(2)];
}

/** Nodes whose value no other node takes. */
function sinksOf(nodes: readonly TfNode[]): string[] {
  const taken = new Set(
    nodes.flatMap((node) => node.input ?? []).map((name) => name.replace(/^\^/, '').split(':')[0]!),
  );
  return nodes.filter((node) => !taken.has(node.name)).map((node) => node.name);
}
