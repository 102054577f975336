/**
 * The three nets of MTCNN as ONNX, from face-api's weights. They were trained on pictures with x and y exchanged and blue
 * first (MATLAB); filters and fully connected weights are turned here once, so that they take `pixels` as frames hold them.
 */
import { OrchestratorError } from '../contracts/errors.js';
import { conv, maxPool, pixelInput } from './layers.js';
import { OnnxGraph } from './onnx-graph.js';
import type { Weight, Weights } from './tfjs-weights.js';

export type MtcnnNet = 'pnet' | 'rnet' | 'onet';

/**
 * pnet: `scores` [1, 1, rows, columns] and `regions` [1, 4, rows, columns] of a picture of any size; rnet (24 px): `scores`
 * [batch, 1], `regions` [batch, 4]; onet (48 px): also `points` [batch, 10], five x then five y. Regions are shifts of
 * left, top, right and bottom in widths and heights of the box that was looked into.
 */
export function convertMtcnn(net: MtcnnNet, weights: Weights): Uint8Array {
  const graph = new OnnxGraph({ name: net });
  if (net === 'pnet') proposals(graph, partOf(weights, net));
  else faces(graph, partOf(weights, net), net);
  return graph.toBytes();
}

type Part = (name: string) => Weight;

function partOf(weights: Weights, net: MtcnnNet): Part {
  return (name) => {
    const weight = weights.get(`${net}/${name}`);
    if (weight) return weight;
    throw new OrchestratorError('MODEL_INVALID', `the weights have no ${net}/${name}`);
  };
}

function input(graph: OnnxGraph, size: readonly [number | string, number | string]): string {
  return pixelInput(graph, size, { mean: [127.5, 127.5, 127.5], scale: 1 / 128 });
}

function proposals(graph: OnnxGraph, part: Part): void {
  let value = maxPool(graph, layer(graph, input(graph, ['height', 'width']), part, 1), 2, 2, 'SAME');
  value = layer(graph, layer(graph, value, part, 2), part, 3);
  const head = (name: string) =>
    conv(graph, value, { filters: turned(part(`${name}/weights`)), bias: part(`${name}/bias`).data, padding: 'VALID' });
  graph.output('scores', second(graph, head('conv4_1')), [1, 1, 'rows', 'columns']);
  graph.output('regions', head('conv4_2'), [1, 4, 'rows', 'columns']);
}

/** Side of the last feature map. */
const MAP_SIDE = 3;

function faces(graph: OnnxGraph, part: Part, net: 'rnet' | 'onet'): void {
  const side = net === 'rnet' ? 24 : 48;
  let value = maxPool(graph, layer(graph, input(graph, [side, side]), part, 1), 3, 2, 'SAME');
  value = layer(graph, maxPool(graph, layer(graph, value, part, 2), 3, 2, 'VALID'), part, 3);
  if (net === 'onet') value = layer(graph, maxPool(graph, value, 2, 2, 'SAME'), part, 4);
  const fc1 = part('fc1/weights');
  value = graph.add('Flatten', [value], { axis: 1 });
  value = gemm(graph, value, { shape: fc1.shape, data: channelsFirst(fc1) }, part('fc1/bias'));
  value = prelu(graph, value, part(net === 'rnet' ? 'prelu4_alpha' : 'prelu5_alpha').data, false);
  const head = (name: string) => gemm(graph, value, part(`${name}/weights`), part(`${name}/bias`));
  graph.output('scores', second(graph, head('fc2_1')), ['batch', 1]);
  graph.output('regions', head('fc2_2'), ['batch', 4]);
  if (net === 'onet') graph.output('points', head('fc2_3'), ['batch', 10]);
}

function layer(graph: OnnxGraph, value: string, part: Part, index: number): string {
  const filters = turned(part(`conv${index}/weights`), index === 1);
  const bias = part(`conv${index}/bias`).data;
  return prelu(graph, conv(graph, value, { filters, bias, padding: 'VALID' }), part(`prelu${index}_alpha`).data, true);
}

/** alpha * x + (1 - alpha) * relu(x); on maps as depthwise 1 x 1 convolutions, which ONNX Runtime runs faster than PRelu. */
function prelu(graph: OnnxGraph, value: string, alpha: Float32Array, maps: boolean): string {
  const scaled = (input: string, factors: Float32Array) =>
    maps
      ? conv(graph, input, { filters: { shape: [1, 1, factors.length, 1], data: factors }, depthwise: true })
      : graph.add('Mul', [input, graph.constant(factors, [1, factors.length])]);
  const rest = alpha.map((value) => 1 - value);
  return graph.add('Add', [scaled(value, alpha), scaled(graph.add('Relu', [value]), rest)]);
}

/** Probability of the second of two classes. */
function second(graph: OnnxGraph, value: string): string {
  const likelihoods = graph.add('Softmax', [value], { axis: 1 });
  return graph.add('Slice', [likelihoods, graph.int64s([1]), graph.int64s([2]), graph.int64s([1])]);
}

function gemm(graph: OnnxGraph, value: string, { shape, data }: Weight, bias: Weight): string {
  return graph.add('Gemm', [value, graph.constant(data, shape), graph.constant(bias.data, bias.shape)]);
}

/** [x, y, in, out] -> [y, x, in, out], and the channels of the picture from blue first to red first. */
function turned({ shape, data }: Weight, picture = false): Weight {
  const [width, height, channels, out] = shape as [number, number, number, number];
  const result = new Float32Array(data.length);
  let from = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      for (let c = 0; c < channels; c++) {
        const channel = picture ? channels - 1 - c : c;
        for (let o = 0; o < out; o++) result[((y * width + x) * channels + channel) * out + o] = data[from++]!;
      }
    }
  }
  return { shape: [height, width, channels, out], data: result };
}

/** Rows of a fully connected layer after [x, y, channels] -> after [channels, y, x]. */
function channelsFirst({ shape, data }: Weight): Float32Array {
  const [rows, out] = shape as [number, number];
  const channels = rows / MAP_SIDE ** 2;
  const result = new Float32Array(data.length);
  let from = 0;
  for (let x = 0; x < MAP_SIDE; x++) {
    for (let y = 0; y < MAP_SIDE; y++) {
      for (let c = 0; c < channels; c++) {
        result.set(data.subarray(from, from + out), ((c * MAP_SIDE + y) * MAP_SIDE + x) * out);
        from += out;
      }
    }
  }
  return result;
}
