/**
 * The six face-api nets as ONNX. Their packages hold weights only, no graph, so each net is described here by hand after
 * the forward functions of @vladmandic/face-api 1.7.15. Batch normalisation and scale layers are folded into the
 * convolutions before them. Every net takes `pixels` [batch, height, width, 3] uint8 RGB.
 */
import { OrchestratorError } from '../contracts/errors.js';
import { clip, conv, maxPool, type Padding, pixelInput } from './layers.js';
import { OnnxGraph } from './onnx-graph.js';
import type { Weight, Weights } from './tfjs-weights.js';

export type NetName =
  | 'tiny_face_detector'
  | 'ssd_mobilenetv1'
  | 'face_landmark_68'
  | 'face_landmark_68_tiny'
  | 'face_recognition'
  | 'age_gender';

/** Mean colour of the pictures that the nets were trained on (face-api: meanRgb). */
const MEAN_RGB = [122.782, 117.001, 104.298] as const;
const TINY_MEAN_RGB = [117.001, 114.697, 97.404] as const;

class Net {
  readonly graph: OnnxGraph;
  private readonly weights: Weights;

  constructor(name: NetName, weights: Weights) {
    this.graph = new OnnxGraph({ name });
    this.weights = weights;
  }

  weight(name: string): Weight {
    const weight = this.weights.get(name);
    if (!weight) throw new OrchestratorError('MODEL_INVALID', `the weights have no ${name}`);
    return weight;
  }

  /** Depthwise 3 x 3, then pointwise 1 x 1 with the bias. */
  separable(input: string, prefix: string, stride: number, padding: Padding): string {
    const filters = this.weight(`${prefix}/depthwise_filter`);
    const depthwise = conv(this.graph, input, { filters, stride, padding, depthwise: true });
    return conv(this.graph, depthwise, {
      filters: this.weight(`${prefix}/pointwise_filter`),
      bias: this.weight(`${prefix}/bias`).data,
    });
  }
}

export function convertNet(name: NetName, weights: Weights): Uint8Array {
  const net = new Net(name, weights);
  if (name === 'tiny_face_detector') tinyFaceDetector(net);
  else if (name === 'ssd_mobilenetv1') ssdMobilenet(net);
  else if (name === 'face_recognition') faceRecognition(net);
  else if (name === 'age_gender') ageGender(net);
  else faceLandmarks(net, name === 'face_landmark_68' ? 4 : 3);
  return net.graph.toBytes();
}

/** Tiny YOLO v2: `grid` [batch, 5 anchors * (x, y, w, h, score), rows, columns], raw. The first convolution is VALID. */
function tinyFaceDetector(net: Net): void {
  const { graph } = net;
  const leaky = (value: string) => graph.add('LeakyRelu', [value], { alpha: { float: 0.10000000149011612 } });
  const input = pixelInput(graph, ['height', 'width'], { mean: TINY_MEAN_RGB, scale: 1 / 255 });
  const first = { filters: net.weight('conv0/filters'), bias: net.weight('conv0/bias').data };
  let value = leaky(conv(graph, input, { ...first, padding: 'VALID' }));
  for (let layer = 1; layer <= 5; layer++) {
    value = maxPool(graph, value, 2, 2, 'SAME');
    value = leaky(net.separable(value, `conv${layer}`, 1, [1, 1, 1, 1]));
  }
  value = maxPool(graph, value, 2, 1, 'SAME');
  value = conv(graph, value, { filters: net.weight('conv8/filters'), bias: net.weight('conv8/bias').data });
  graph.output('grid', value, ['batch', 25, 'rows', 'columns']);
}

/** Layers of MobileNet v1 whose depthwise convolution halves the picture. */
const SSD_STRIDE_2 = new Set([2, 4, 6, 12]);
const SSD_EPSILON = 0.0010000000474974513;
const SSD_PRIORS = 5118;

/** `boxes` [batch, 5118, 4] (top, left, bottom, right; 0..1 of the square input) and `scores` [batch, 5118, 1]. */
function ssdMobilenet(net: Net): void {
  const { graph } = net;
  const pointwise = (value: string, prefix: string, stride: number) => {
    const filters = net.weight(`${prefix}_pointwise/weights`);
    const bias = net.weight(`${prefix}_pointwise/convolution_bn_offset`).data;
    return clip(graph, conv(graph, value, { filters, bias, stride }), 0, 6);
  };
  // v / 127.5 - 1 = (v - 127.5) / 127.5
  let value = pixelInput(graph, [512, 512], { mean: [127.5, 127.5, 127.5], scale: 1 / 127.5 });
  value = pointwise(value, 'MobilenetV1/Conv2d_0', 2);
  const features: string[] = [];
  for (let layer = 1; layer <= 13; layer++) {
    const folded = foldedDepthwise(net, `MobilenetV1/Conv2d_${layer}_depthwise`);
    value = conv(graph, value, { ...folded, stride: SSD_STRIDE_2.has(layer) ? 2 : 1, depthwise: true });
    value = pointwise(clip(graph, value, 0, 6), `MobilenetV1/Conv2d_${layer}`, 1);
    if (layer === 11 || layer === 13) features.push(value);
  }
  for (let layer = 0; layer < 8; layer++) {
    value = pointwise(value, `Prediction/Conv2d_${layer}`, layer % 2 === 0 ? 1 : 2);
    if (layer % 2 === 1) features.push(value);
  }
  const heads = (kind: string, columns: number) =>
    graph.add(
      'Concat',
      features.map((feature, index) => ssdHead(net, feature, `Prediction/BoxPredictor_${index}/${kind}`, columns)),
      { axis: 1 },
    );
  graph.output('boxes', ssdBoxes(net, heads('BoxEncodingPredictor', 4)), ['batch', SSD_PRIORS, 4]);
  // Classes are background, face and one unused; face-api takes the sigmoid of the second.
  const face = sliceLast(graph, heads('ClassPredictor', 3), 1, 2);
  graph.output('scores', graph.add('Sigmoid', [face]), ['batch', SSD_PRIORS, 1]);
}

/** [batch, anchors * columns, h, w] -> [batch, h * w * anchors, columns] */
function ssdHead(net: Net, feature: string, prefix: string, columns: number): string {
  const { graph } = net;
  const filters = net.weight(`${prefix}/weights`);
  const value = conv(graph, feature, { filters, bias: net.weight(`${prefix}/biases`).data });
  const last = graph.add('Transpose', [value], { perm: [0, 2, 3, 1] });
  return graph.add('Reshape', [last, graph.int64s([0, -1, columns])]);
}

function sliceLast(graph: OnnxGraph, value: string, start: number, end: number): string {
  return graph.add('Slice', [value, graph.int64s([start]), graph.int64s([end]), graph.int64s([2])]);
}

/** Offsets (y / 10, x / 10, log h / 5, log w / 5) relative to the priors in Output/extra_dim -> corners. */
function ssdBoxes(net: Net, encodings: string): string {
  const { graph } = net;
  const priors = net.weight('Output/extra_dim').data;
  const sizes = new Float32Array(SSD_PRIORS * 2);
  const centres = new Float32Array(SSD_PRIORS * 2);
  for (let prior = 0; prior < SSD_PRIORS; prior++) {
    for (let axis = 0; axis < 2; axis++) {
      const low = priors[prior * 4 + axis]!;
      const high = priors[prior * 4 + axis + 2]!;
      sizes[prior * 2 + axis] = high - low;
      centres[prior * 2 + axis] = (low + high) / 2;
    }
  }
  const dims = [1, SSD_PRIORS, 2];
  const size = graph.constant(sizes, dims);
  const shift = graph.add('Mul', [graph.add('Mul', [sliceLast(graph, encodings, 0, 2), graph.scalar(1 / 10)]), size]);
  const centre = graph.add('Add', [shift, graph.constant(centres, dims)]);
  const growth = graph.add('Exp', [graph.add('Mul', [sliceLast(graph, encodings, 2, 4), graph.scalar(1 / 5)])]);
  const half = graph.add('Mul', [graph.add('Mul', [growth, size]), graph.scalar(0.5)]);
  return graph.add('Concat', [graph.add('Sub', [centre, half]), graph.add('Add', [centre, half])], { axis: 2 });
}

function foldedDepthwise(net: Net, prefix: string): { filters: Weight; bias: Float32Array } {
  const [gamma, beta, mean, variance] = ['gamma', 'beta', 'moving_mean', 'moving_variance'].map(
    (name) => net.weight(`${prefix}/BatchNorm/${name}`).data,
  ) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const scale = gamma.map((value, channel) => value / Math.sqrt(variance[channel]! + SSD_EPSILON));
  const filters = net.weight(`${prefix}/depthwise_weights`);
  const channels = scale.length;
  return {
    filters: { shape: filters.shape, data: filters.data.map((value, index) => value * scale[index % channels]!) },
    bias: beta.map((value, channel) => value - mean[channel]! * scale[channel]!),
  };
}

/**
 * Dense blocks over a 112 x 112 face: `points` [batch, 136], x and y in turn, 0..1 of the square input.
 * @param convolutions per block: 4 (three reductions more) or 3 (tiny); also the number of blocks
 */
function faceLandmarks(net: Net, convolutions: 3 | 4): void {
  const { graph } = net;
  let value = pixelInput(graph, [112, 112], { mean: MEAN_RGB, scale: 1 / 255 });
  for (let block = 0; block < convolutions; block++) value = denseBlock(net, value, block, convolutions);
  const pooled = graph.add('Flatten', [graph.add('GlobalAveragePool', [value])], { axis: 1 });
  graph.output('points', fullyConnected(net, pooled, 'fc/weights', 'fc/bias'), ['batch', 136]);
}

/** Each convolution sees the relu of the sum of all outputs before it in the block. */
function denseBlock(net: Net, input: string, block: number, convolutions: number): string {
  const { graph } = net;
  const prefix = `dense${block}`;
  const filters = block === 0 ? net.weight(`${prefix}/conv0/filters`) : null;
  const bias = net.weight(`${prefix}/conv0/bias`).data;
  const first = filters
    ? conv(graph, input, { filters, bias, stride: 2 })
    : net.separable(input, `${prefix}/conv0`, 2, 'SAME');
  let sum = relu(graph, first);
  let value = sum;
  for (let layer = 1; layer < convolutions; layer++) {
    sum = graph.add('Add', [sum, net.separable(value, `${prefix}/conv${layer}`, 1, 'SAME')]);
    value = relu(graph, sum);
  }
  return value;
}

function fullyConnected(net: Net, input: string, weights: string, bias?: string): string {
  const { data, shape } = net.weight(weights);
  const inputs = [input, net.graph.constant(data, shape)];
  if (bias) inputs.push(net.graph.constant(net.weight(bias).data, [shape[1]!]));
  return net.graph.add('Gemm', inputs);
}

/** Tiny Xception: `age` [batch, 1] in years, `gender` [batch, 2] (male, female; 0..1). */
function ageGender(net: Net): void {
  const { graph } = net;
  const input = pixelInput(graph, [112, 112], { mean: MEAN_RGB, scale: 1 / 255 });
  let value = relu(graph, biased(net, input, 'entry_flow/conv_in', 2));
  value = reductionBlock(net, value, value, 'entry_flow/reduction_block_0');
  value = reductionBlock(net, value, relu(graph, value), 'entry_flow/reduction_block_1');
  for (const block of ['middle_flow/main_block_0', 'middle_flow/main_block_1']) {
    let inner = value;
    for (let layer = 0; layer < 3; layer++) {
      inner = net.separable(relu(graph, inner), `${block}/separable_conv${layer}`, 1, 'SAME');
    }
    value = graph.add('Add', [inner, value]);
  }
  value = reductionBlock(net, value, relu(graph, value), 'exit_flow/reduction_block');
  value = relu(graph, net.separable(value, 'exit_flow/separable_conv', 1, 'SAME'));
  const pooled = graph.add('Flatten', [graph.add('GlobalAveragePool', [value])], { axis: 1 });
  graph.output('age', fullyConnected(net, pooled, 'fc/age/weights', 'fc/age/bias'), ['batch', 1]);
  const gender = fullyConnected(net, pooled, 'fc/gender/weights', 'fc/gender/bias');
  graph.output('gender', graph.add('Softmax', [gender]), ['batch', 2]);
}

const relu = (graph: OnnxGraph, value: string) => graph.add('Relu', [value]);

function biased(net: Net, input: string, prefix: string, stride: number): string {
  const bias = net.weight(`${prefix}/bias`).data;
  return conv(net.graph, input, { filters: net.weight(`${prefix}/filters`), bias, stride });
}

/** Halves the picture: two separable convolutions of `activated` and pooling, beside a plain convolution of `value`. */
function reductionBlock(net: Net, value: string, activated: string, prefix: string): string {
  const { graph } = net;
  const first = net.separable(activated, `${prefix}/separable_conv0`, 1, 'SAME');
  const second = net.separable(relu(graph, first), `${prefix}/separable_conv1`, 1, 'SAME');
  const pooled = maxPool(graph, second, 3, 2, 'SAME');
  return graph.add('Add', [pooled, biased(net, value, `${prefix}/expansion_conv`, 2)]);
}

/** dlib's ResNet: `descriptor` [batch, 128], not normalised, of a 150 x 150 aligned face. */
function faceRecognition(net: Net): void {
  const { graph } = net;
  const layer = (value: string, prefix: string, stride: 1 | 2) => {
    const folded = foldedScale(net, prefix);
    return conv(graph, value, { ...folded, stride, padding: stride === 2 ? 'VALID' : 'SAME' });
  };
  let value = pixelInput(graph, [150, 150], { mean: MEAN_RGB, scale: 1 / 255 });
  value = maxPool(graph, relu(graph, layer(value, 'conv32_down', 2)), 3, 2, 'VALID');
  let size = 35; // (150 - 7) / 2 + 1 = 72, pooled (72 - 3) / 2 + 1 = 35
  for (const block of RESNET_BLOCKS) {
    const down = block.includes('down');
    const inner = layer(relu(graph, layer(value, `${block}/conv1`, down ? 2 : 1)), `${block}/conv2`, 1);
    const shortcut = down ? pooledShortcut(net, value, block) : value;
    // Where the size is even, pooling yields one row and column more than the convolution: zeros at bottom and right.
    const padded = down && size % 2 === 0 ? graph.add('Pad', [inner, graph.int64s([0, 0, 0, 0, 0, 0, 1, 1])]) : inner;
    value = relu(graph, graph.add('Add', [padded, shortcut]));
    if (down) size = size >> 1;
  }
  const pooled = graph.add('Flatten', [graph.add('GlobalAveragePool', [value])], { axis: 1 });
  graph.output('descriptor', fullyConnected(net, pooled, 'fc'), ['batch', 128]);
}

const RESNET_BLOCKS = [
  'conv32_1',
  'conv32_2',
  'conv32_3',
  'conv64_down',
  'conv64_1',
  'conv64_2',
  'conv64_3',
  'conv128_down',
  'conv128_1',
  'conv128_2',
  'conv256_down',
  'conv256_1',
  'conv256_2',
  'conv256_down_out',
] as const;

/** Average of 2 x 2; new channels are zero. */
function pooledShortcut(net: Net, value: string, block: string): string {
  const { graph } = net;
  const pooled = graph.add('AveragePool', [value], { kernel_shape: [2, 2], strides: [2, 2] });
  const [, , channels, out] = net.weight(`${block}/conv1/conv/filters`).shape as [number, number, number, number];
  return out === channels ? pooled : graph.add('Pad', [pooled, graph.int64s([0, 0, 0, 0, 0, out - channels, 0, 0])]);
}

function foldedScale(net: Net, prefix: string): { filters: Weight; bias: Float32Array } {
  const filters = net.weight(`${prefix}/conv/filters`);
  const scale = net.weight(`${prefix}/scale/weights`).data;
  const shift = net.weight(`${prefix}/scale/biases`).data;
  const out = scale.length;
  return {
    filters: { shape: filters.shape, data: filters.data.map((value, index) => value * scale[index % out]!) },
    bias: net.weight(`${prefix}/conv/bias`).data.map((value, channel) => value * scale[channel]! + shift[channel]!),
  };
}
