/**
 * The layers that both converters share, as ONNX nodes. TensorFlow keeps pictures as [batch, height, width, channels] and
 * filters as [height, width, in, out]; ONNX wants the channels first, so weights are transposed here once.
 */
import type { OnnxGraph } from './onnx-graph.js';
import type { Weight } from './tfjs-weights.js';

export type Padding = 'SAME' | 'VALID' | readonly [top: number, left: number, bottom: number, right: number];

export interface ConvOptions {
  readonly filters: Weight;
  readonly bias?: Float32Array;
  readonly stride?: number;
  readonly padding?: Padding;
  /** Filters are [height, width, channels, multiplier], each channel on its own. */
  readonly depthwise?: boolean;
}

/** What the network expects of a pixel value v in 0..255: (v - mean) * scale. */
export interface Normalisation {
  readonly mean: readonly [number, number, number];
  readonly scale: number;
}

/**
 * The graph's input: RGB bytes as frames hold them ([batch, height, width, 3] uint8), so that no tensor has to be packed
 * in JavaScript. The mean is subtracted here, before any padding, because the original nets pad the normalised picture.
 * @returns [batch, 3, height, width] float
 */
export function pixelInput(
  graph: OnnxGraph,
  size: readonly [height: number | string, width: number | string],
  normalisation?: Normalisation,
): string {
  const pixels = graph.input('pixels', 'uint8', ['batch', size[0], size[1], 3]);
  const planes = graph.add('Transpose', [pixels], { perm: [0, 3, 1, 2] });
  let value = graph.add('Cast', [planes], { to: 1 });
  if (!normalisation) return value;
  const { mean, scale } = normalisation;
  if (mean.some((channel) => channel !== 0)) {
    value = graph.add('Sub', [value, graph.constant(Float32Array.from(mean), [1, 3, 1, 1])]);
  }
  return graph.add('Mul', [value, graph.scalar(scale)]);
}

export function conv(graph: OnnxGraph, input: string, options: ConvOptions): string {
  const { filters, bias, stride = 1, padding = 'SAME', depthwise = false } = options;
  const [height, width, channels, out] = filters.shape as [number, number, number, number];
  const dims = depthwise ? [channels * out, 1, height, width] : [out, channels, height, width];
  const data = depthwise ? depthwiseFirst(filters) : outputFirst(filters);
  const inputs = [input, graph.constant(data, dims)];
  if (bias) inputs.push(graph.constant(bias, [bias.length]));
  return graph.add('Conv', inputs, {
    kernel_shape: [height, width],
    strides: [stride, stride],
    group: depthwise ? channels : 1,
    ...paddingAttributes(padding, [height, width], stride),
  });
}

/** SAME with stride 1 has one answer at every size; with a larger stride it depends on the size, so ONNX finds it. */
export function paddingAttributes(
  padding: Padding,
  [height, width]: readonly [number, number],
  stride: number,
): Record<string, number[] | string> {
  if (padding === 'VALID') return { pads: [0, 0, 0, 0] };
  if (padding !== 'SAME') return { pads: [...padding] };
  if (stride > 1) return { auto_pad: 'SAME_UPPER' };
  const [y, x] = [height - 1, width - 1];
  return { pads: [y >> 1, x >> 1, y - (y >> 1), x - (x >> 1)] };
}

export function maxPool(graph: OnnxGraph, input: string, size: number, stride: number, padding: Padding): string {
  return graph.add('MaxPool', [input], {
    kernel_shape: [size, size],
    strides: [stride, stride],
    ...paddingAttributes(padding, [size, size], stride),
  });
}

export function clip(graph: OnnxGraph, input: string, min: number, max: number): string {
  if (max === Number.POSITIVE_INFINITY && min === 0) return graph.add('Relu', [input]);
  return graph.add('Clip', [input, graph.scalar(min), graph.scalar(max)]);
}

/** [height, width, in, out] -> [out, in, height, width] */
function outputFirst({ data, shape }: Weight): Float32Array {
  const [height, width, channels, out] = shape as [number, number, number, number];
  const result = new Float32Array(data.length);
  const area = height * width;
  let from = 0;
  for (let p = 0; p < area; p++) {
    for (let c = 0; c < channels; c++) {
      for (let o = 0; o < out; o++) result[(o * channels + c) * area + p] = data[from++]!;
    }
  }
  return result;
}

/** [height, width, channels, multiplier] -> [channels * multiplier, 1, height, width] */
function depthwiseFirst({ data, shape }: Weight): Float32Array {
  const [height, width, channels, multiplier] = shape as [number, number, number, number];
  const result = new Float32Array(data.length);
  const area = height * width;
  const maps = channels * multiplier;
  for (let p = 0; p < area; p++) {
    for (let m = 0; m < maps; m++) result[m * area + p] = data[p * maps + m]!;
  }
  return result;
}
