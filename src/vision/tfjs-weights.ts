/**
 * Reads TensorFlow.js weights from disk: the manifest says name, shape, type and quantisation; the bytes lie one after
 * the other in the .bin shards. Quantised weights come back as 32-bit floats.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { OrchestratorError } from '../contracts/errors.js';

export interface Weight {
  readonly shape: readonly number[];
  /** Row-major; int32 weights (shapes, axes) are exact in a float. */
  readonly data: Float32Array;
}

export type Weights = ReadonlyMap<string, Weight>;

interface ManifestWeight {
  name: string;
  shape: number[];
  dtype: 'float32' | 'int32';
  quantization?: { dtype: 'uint8' | 'uint16' | 'float16'; scale?: number; min?: number };
}

export interface ManifestGroup {
  paths: string[];
  weights: ManifestWeight[];
}

export interface WeightFiles {
  /** Of the manifest and its shards together. */
  readonly bytes: number;
  readonly sha256: string;
  /** @throws MODEL_INVALID when a shard is shorter than the manifest says */
  weights(): Weights;
}

/**
 * @param manifestPath the .json that `groups` came from, with its bytes; shards lie beside it
 * @throws MODEL_INVALID when a shard lies elsewhere
 */
export async function readWeights(
  manifestPath: string,
  groups: readonly ManifestGroup[],
  manifest: Buffer,
): Promise<WeightFiles> {
  const hash = createHash('sha256').update(manifest);
  const shards: Buffer[] = [];
  for (const group of groups) {
    const parts = await Promise.all(group.paths.map((path) => readShard(manifestPath, path)));
    shards.push(Buffer.concat(parts));
    hash.update(shards.at(-1)!);
  }
  return {
    bytes: shards.reduce((sum, shard) => sum + shard.length, manifest.length),
    sha256: hash.digest('hex'),
    weights: () => new Map(groups.flatMap((group, index) => decodeGroup(manifestPath, group, shards[index]!))),
  };
}

function decodeGroup(manifestPath: string, group: ManifestGroup, bytes: Buffer): [string, Weight][] {
  let offset = 0;
  return group.weights.map((entry) => {
    const count = entry.shape.reduce((product, size) => product * size, 1);
    const start = offset;
    offset += count * bytesPerElement(entry);
    if (offset > bytes.length) {
      throw new OrchestratorError('MODEL_INVALID', `${manifestPath}: the weights end before ${entry.name}`);
    }
    return [entry.name, { shape: entry.shape, data: decode(entry, bytes, start, count) }];
  });
}

/** A manifest may come from anybody: it names files beside it, and no others. */
function readShard(manifestPath: string, shard: string): Promise<Buffer> {
  if (basename(shard) === shard) return readFile(join(dirname(manifestPath), shard));
  throw new OrchestratorError('MODEL_INVALID', `${manifestPath}: weights file ${shard} does not lie beside it`);
}

function bytesPerElement(entry: ManifestWeight): number {
  if (!entry.quantization) return 4;
  return entry.quantization.dtype === 'uint8' ? 1 : 2;
}

function decode(entry: ManifestWeight, bytes: Buffer, offset: number, count: number): Float32Array {
  const data = new Float32Array(count);
  const kind = entry.quantization?.dtype ?? entry.dtype;
  const scale = entry.quantization?.scale ?? 1;
  const min = entry.quantization?.min ?? 0;
  for (let i = 0; i < count; i++) {
    if (kind === 'uint8') data[i] = bytes[offset + i]! * scale + min;
    else if (kind === 'uint16') data[i] = bytes.readUInt16LE(offset + 2 * i) * scale + min;
    else if (kind === 'float16') data[i] = halfToFloat(bytes.readUInt16LE(offset + 2 * i));
    else if (kind === 'int32') data[i] = bytes.readInt32LE(offset + 4 * i);
    else data[i] = bytes.readFloatLE(offset + 4 * i);
  }
  return data;
}

/** IEEE 754 binary16 to a number. */
export function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
