/** The nets of MTCNN, converted from weights made here, give what TensorFlow.js gives on a real picture that is turned as face-api turns it. */
import { beforeAll, expect, it } from 'vitest';
import { convertMtcnn, type MtcnnNet } from '../../src/vision/convert-mtcnn.js';
import { decodePicture } from '../../src/vision/images.js';
import type { Weight, Weights } from '../../src/vision/tfjs-weights.js';
import { runOnnx } from './agreement.testing.js';
import { sampleBytes } from './samples.testing.js';
import { loadBundle, type TfTensor } from './tfjs.testing.js';

/** What of TensorFlow.js the yardstick calls. */
interface Tf {
  tensor(data: Float32Array, shape: readonly number[]): TfTensor;
  transpose(x: TfTensor, perm: readonly number[]): TfTensor;
  reverse(x: TfTensor, axis: number): TfTensor;
  conv2d(x: TfTensor, filters: TfTensor, stride: number, padding: string): TfTensor;
  maxPool(x: TfTensor, size: number, stride: number, padding: string): TfTensor;
  add(x: TfTensor, y: TfTensor): TfTensor;
  prelu(x: TfTensor, alpha: TfTensor): TfTensor;
  matMul(x: TfTensor, y: TfTensor): TfTensor;
  reshape(x: TfTensor, shape: readonly number[]): TfTensor;
  softmax(x: TfTensor): TfTensor;
}

const SHAPES: Readonly<Record<MtcnnNet, readonly [name: string, shape: readonly number[]][]>> = {
  pnet: [
    ...layer(1, [3, 3, 3, 10]),
    ...layer(2, [3, 3, 10, 16]),
    ...layer(3, [3, 3, 16, 32]),
    ...head('conv4_1', [1, 1, 32, 2]),
    ...head('conv4_2', [1, 1, 32, 4]),
  ],
  rnet: [
    ...layer(1, [3, 3, 3, 28]),
    ...layer(2, [3, 3, 28, 48]),
    ...layer(3, [2, 2, 48, 64]),
    ...head('fc1', [576, 128]),
    ['prelu4_alpha', [128]],
    ...head('fc2_1', [128, 2]),
    ...head('fc2_2', [128, 4]),
  ],
  onet: [
    ...layer(1, [3, 3, 3, 32]),
    ...layer(2, [3, 3, 32, 64]),
    ...layer(3, [3, 3, 64, 64]),
    ...layer(4, [2, 2, 64, 128]),
    ...head('fc1', [1152, 256]),
    ['prelu5_alpha', [256]],
    ...head('fc2_1', [256, 2]),
    ...head('fc2_2', [256, 4]),
    ...head('fc2_3', [256, 10]),
  ],
};

function head(name: string, shape: readonly number[]): [string, readonly number[]][] {
  return [
    [`${name}/weights`, shape],
    [`${name}/bias`, [shape.at(-1)!]],
  ];
}
function layer(index: number, shape: readonly number[]): [string, readonly number[]][] {
  return [...head(`conv${index}`, shape), [`prelu${index}_alpha`, [shape.at(-1)!]]];
}

/** Fixed values of about the size that training gives. */
function weightsOf(net: MtcnnNet): Weights {
  let seed = 7;
  const next = () => {
    seed = (seed * 16_807) % 2_147_483_647;
    return seed / 2_147_483_647 - 0.5;
  };
  const made = SHAPES[net].map(([name, shape]): [string, Weight] => {
    const count = shape.reduce((product, size) => product * size, 1);
    const spread = shape.length === 1 ? 0.5 : 3 / Math.sqrt(count / shape.at(-1)!);
    return [`${net}/${name}`, { shape, data: Float32Array.from({ length: count }, () => next() * spread) }];
  });
  return new Map(made);
}

let tf: Tf;
beforeAll(async () => {
  tf = (await loadBundle()).tf as unknown as Tf;
});

/** The forward functions of face-api: x and y exchanged, blue first, (v - 127.5) / 128. */
function yardstick(net: MtcnnNet, weights: Weights, pixels: Uint8Array, side: number): Record<string, TfTensor> {
  const part = (name: string) => {
    const { data, shape } = weights.get(`${net}/${name}`)!;
    return tf.tensor(data, shape);
  };
  const plain = (x: TfTensor, name: string) =>
    tf.add(tf.conv2d(x, part(`${name}/weights`), 1, 'valid'), part(`${name}/bias`));
  const active = (x: TfTensor, index: number) => tf.prelu(plain(x, `conv${index}`), part(`prelu${index}_alpha`));
  const full = (x: TfTensor, name: string) => tf.add(tf.matMul(x, part(`${name}/weights`)), part(`${name}/bias`));
  const values = Float32Array.from(pixels, (value) => (value - 127.5) / 128);
  let x = tf.transpose(tf.reverse(tf.tensor(values, [1, side, side, 3]), 3), [0, 2, 1, 3]);
  if (net === 'pnet') {
    x = active(active(tf.maxPool(active(x, 1), 2, 2, 'same'), 2), 3);
    return { scores: tf.softmax(plain(x, 'conv4_1')), regions: plain(x, 'conv4_2') };
  }
  x = active(tf.maxPool(active(tf.maxPool(active(x, 1), 3, 2, 'same'), 2), 3, 2, 'valid'), 3);
  if (net === 'onet') x = active(tf.maxPool(x, 2, 2, 'same'), 4);
  x = tf.prelu(full(tf.reshape(x, [1, -1]), 'fc1'), part(net === 'rnet' ? 'prelu4_alpha' : 'prelu5_alpha'));
  const both = { scores: tf.softmax(full(x, 'fc2_1')), regions: full(x, 'fc2_2') };
  return net === 'rnet' ? both : { ...both, points: full(x, 'fc2_3') };
}

it.each([
  ['pnet', 64],
  ['rnet', 24],
  ['onet', 48],
] as const)(
  '%s',
  async (net, side) => {
    const weights = weightsOf(net);
    const { data: pixels } = await decodePicture(sampleBytes(0), { width: side, height: side });
    const expected = yardstick(net, weights, pixels, side);
    const actual = await runOnnx(convertMtcnn(net, weights), pixels, side);
    expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
    for (const [name, tensor] of Object.entries(expected)) {
      const [right, { data, dims }] = [await tensor.data(), actual[name]!];
      const columns = tensor.shape.at(-1)!;
      const kept = name === 'scores' ? [1] : Array.from({ length: columns }, (_, index) => index);
      // Maps: ours [1, kept, y, x], theirs [1, x, y, columns].
      const [height, width] = dims.length === 4 ? [dims[2]!, dims[3]!] : [1, 1];
      let [difference, range] = [0, 0];
      for (const [at, channel] of kept.entries()) {
        for (let y = 0; y < height; y++) {
          for (let xx = 0; xx < width; xx++) {
            const theirs = right[(xx * height + y) * columns + channel]!;
            difference = Math.max(difference, Math.abs(theirs - data[(at * height + y) * width + xx]!));
            range = Math.max(range, Math.abs(theirs));
          }
        }
      }
      expect(difference / range, `${net} ${name}`).toBeLessThan(1e-5);
    }
  },
  60_000,
);
