/**
 * dlib's MMOD face detector as ONNX. The net sees one level of the image pyramid at a time (mmod-detector.ts makes the
 * levels), with the zeros around it that dlib puts there. What a reader of its scores must know comes out as `window`.
 */
import type { DlibConvolution, MmodNet } from './dlib-file.js';
import { pixelInput } from './layers.js';
import { OnnxGraph } from './onnx-graph.js';

/** dlib: (v - mean) / 256 */
const SCALE = 1 / 256;

/**
 * `scores` [1, 1, rows, columns], above 0 where a face is, and `window` [5]: width and height of a detection in pixels,
 * the IoU above which two are one face, pixels per cell, and the pixel under the first cell.
 */
export function convertMmod(net: MmodNet): Uint8Array {
  const graph = new OnnxGraph({ name: 'mmod' });
  const pad = net.outerPadding;
  let value = pixelInput(graph, ['height', 'width'], { mean: net.mean, scale: SCALE });
  value = graph.add('Pad', [value, graph.int64s([0, 0, pad, pad, 0, 0, pad, pad])]);
  for (const convolution of net.convolutions) value = layer(graph, value, convolution);
  graph.output('scores', value, [1, 1, 'rows', 'columns']);
  const { width, height } = net.window;
  const { stride, offset } = placesOf(net.convolutions);
  const facts = Float32Array.of(width, height, net.iouMax, stride, offset - pad);
  graph.output('window', graph.constant(facts, [facts.length]), [facts.length]);
  return graph.toBytes();
}

/** Affine layers are folded into the convolution below them. */
function layer(
  graph: OnnxGraph,
  input: string,
  { shape, filters, bias, stride, padding, affine, relu }: DlibConvolution,
) {
  const [out, , height, width] = shape;
  const area = filters.length / out;
  const folded =
    affine === null ? filters : filters.map((value, index) => value * affine.gamma[Math.floor(index / area)]!);
  const shift = affine === null ? bias : bias.map((value, index) => value * affine.gamma[index]! + affine.beta[index]!);
  const value = graph.add('Conv', [input, graph.constant(folded, shape), graph.constant(shift, [out])], {
    kernel_shape: [height, width],
    strides: [stride, stride],
    pads: [padding, padding, padding, padding],
  });
  return relu ? graph.add('Relu', [value]) : value;
}

/** Input pixel under the middle of output cell n: n * stride + offset (dlib: map_output_to_input). */
function placesOf(convolutions: readonly DlibConvolution[]): { stride: number; offset: number } {
  let [stride, offset] = [1, 0];
  for (const one of [...convolutions].reverse()) {
    stride *= one.stride;
    offset = offset * one.stride - one.padding + Math.floor(one.shape[3] / 2);
  }
  return { stride, offset };
}
