/**
 * TensorFlow.js graph models (model.json with a node list) as ONNX. Starting from the wanted outputs, each node is
 * converted after its inputs, so the order of the file does not matter and unused branches fall away.
 * Every four-dimensional activation is kept channels first ("planes"); where a node needs TensorFlow's order (Reshape),
 * one transpose is put before it. Chains of relu, minimum and maximum become a single Clip.
 */
import { OrchestratorError } from '../contracts/errors.js';
import { type CentreMaps, centreBoxes, PAIRS_MAX } from './centre-boxes.js';
import { clip, conv, type Normalisation, type Padding, paddingAttributes, pixelInput } from './layers.js';
import { type Dimension, OnnxGraph } from './onnx-graph.js';
import type { Weight, Weights } from './tfjs-weights.js';

interface TfAttribute {
  s?: string;
  b?: boolean;
  list?: { i?: string[]; s?: string[] };
  shape?: { dim?: { size?: string }[] };
}

export interface TfNode {
  readonly name: string;
  readonly op: string;
  readonly input?: readonly string[];
  readonly attr?: Readonly<Record<string, TfAttribute>>;
}

export interface GraphConversion {
  readonly name: string;
  readonly nodes: readonly TfNode[];
  readonly weights: Weights;
  readonly normalisation?: Normalisation;
  /** Input size; a name where it is chosen at run time. */
  readonly size: readonly [height: Dimension, width: Dimension];
  /** New name -> node of the original and the shape in ONNX order, open when not given. */
  readonly outputs: Readonly<Record<string, { readonly node: string; readonly dims?: readonly Dimension[] }>>;
  /** The nodes of CenterNet's maps: the model then gives `boxes` (centre-boxes.ts) in the place of `outputs`. */
  readonly centres?: CentreMaps;
}

/** A converted value. `planes`: [batch, channels, height, width] where TensorFlow has the channels last. */
interface Value {
  readonly name: string;
  readonly planes: boolean;
  /** Of planes, where it is known. */
  readonly channels?: number;
  /** A bound not yet written: clip(name, min, max); merged with the bounds that follow. */
  readonly bounds?: readonly [min: number, max: number];
}

type Handler = (converter: Converter, node: TfNode) => Value;

export function convertGraph(conversion: GraphConversion): Uint8Array {
  const converter = new Converter(conversion);
  const { centres } = conversion;
  if (centres !== undefined) {
    const maps = { ...centres, logits: converter.read(centres.logits).name, sides: converter.read(centres.sides).name };
    converter.graph.output('boxes', centreBoxes(converter.graph, maps), [1, PAIRS_MAX, 6]);
    return converter.graph.toBytes();
  }
  for (const [name, { node, dims }] of Object.entries(conversion.outputs)) {
    converter.graph.output(name, converter.read(node).name, dims);
  }
  return converter.graph.toBytes();
}

class Converter {
  readonly graph: OnnxGraph;
  readonly conversion: GraphConversion;
  private readonly nodes: ReadonlyMap<string, TfNode>;
  private readonly done = new Map<string, Value>();
  private readonly written = new Map<Value, Value>();

  constructor(conversion: GraphConversion) {
    this.conversion = conversion;
    this.graph = new OnnxGraph({ name: conversion.name });
    this.nodes = new Map(conversion.nodes.map((node) => [node.name, node]));
  }

  /** The value of a node's first output, bounds still open. */
  readOpen(reference: string): Value {
    const name = reference.replace(/^\^/, '').replace(/:0$/, '');
    const known = this.done.get(name);
    if (known) return known;
    const node = this.nodes.get(name);
    const handler = node && HANDLERS[node.op];
    if (!handler) throw this.invalid(node ? `operator ${node.op} (${name}) is not supported` : `no node ${name}`);
    const value = handler(this, node);
    this.done.set(name, value);
    return value;
  }

  /** The value with its bounds written into the graph. */
  read(reference: string): Value {
    const open = this.readOpen(reference);
    if (!open.bounds) return open;
    const known = this.written.get(open);
    if (known) return known;
    const { bounds, ...rest } = open;
    const value = { ...rest, name: clip(this.graph, open.name, ...bounds) };
    this.written.set(open, value);
    return value;
  }

  input(node: TfNode, index: number): Value {
    return this.read(this.reference(node, index));
  }

  reference(node: TfNode, index: number): string {
    const reference = node.input?.[index];
    if (reference === undefined) throw this.invalid(`${node.name} has no input ${index}`);
    return reference;
  }

  /** The node behind an input; undefined for what is none. */
  nodeAt(node: TfNode, index: number): TfNode | undefined {
    return this.nodes.get(this.reference(node, index).replace(/:0$/, ''));
  }

  /** The constant behind an input, or null when it is computed. */
  weightOf(node: TfNode, index: number): Weight | null {
    const name = this.reference(node, index).replace(/:0$/, '');
    return this.conversion.weights.get(name) ?? null;
  }

  weight(node: TfNode, index: number): Weight {
    const weight = this.weightOf(node, index);
    if (!weight) throw this.invalid(`input ${index} of ${node.name} is not a constant`);
    return weight;
  }

  invalid(message: string): OrchestratorError {
    return new OrchestratorError('MODEL_INVALID', `${this.conversion.name}: ${message}`);
  }
}

const text = (base64: string) => Buffer.from(base64, 'base64').toString();
const padding = (node: TfNode) => text(node.attr?.padding?.s ?? '') as 'SAME' | 'VALID';
const spatial = (node: TfNode, key: string): [number, number] => {
  const list = node.attr?.[key]?.list?.i ?? ['1', '1', '1', '1'];
  return [Number(list[1]), Number(list[2])];
};

/** Conv2D and depthwise, with the bias and activation that TensorFlow may have fused into the node. */
function convolution(depthwise: boolean): Handler {
  return (converter, node) => {
    const fused = (node.attr?.fused_ops?.list?.s ?? []).map(text);
    const unknown = fused.find((op) => !['BiasAdd', 'Relu', 'Relu6'].includes(op));
    if (unknown) throw converter.invalid(`fused operator ${unknown} (${node.name}) is not supported`);
    if (spatial(node, 'dilations').some((step) => step !== 1)) throw converter.invalid(`${node.name} is dilated`);
    const filters = converter.weight(node, 1);
    const [, , inputs, outputs] = filters.shape as [number, number, number, number];
    const name = conv(converter.graph, converter.input(node, 0).name, {
      filters,
      bias: fused.includes('BiasAdd') ? converter.weight(node, 2).data : undefined,
      stride: spatial(node, 'strides')[0],
      padding: padding(node) as Padding,
      depthwise,
    });
    const value = { name, planes: true, channels: depthwise ? inputs * outputs : outputs };
    if (fused.includes('Relu6')) return { ...value, bounds: [0, 6] };
    return {
      ...value,
      ...(fused.includes('Relu') ? { bounds: [0, Number.POSITIVE_INFINITY] as const } : {}),
    };
  };
}

/** Two-sided arithmetic; constants are laid out so that they broadcast along the channels. */
function binary(opType: string): Handler {
  return (converter, node) => {
    const weights = [converter.weightOf(node, 0), converter.weightOf(node, 1)];
    const values = weights.map((weight, index) => (weight ? null : converter.input(node, index)));
    const planes = values.some((value) => value?.planes);
    const names = values.map((value, index) => value?.name ?? constant(converter, weights[index]!, planes));
    return { name: converter.graph.add(opType, names), planes };
  };
}

/** A node that adds a number to a value, or multiplies by it. */
function withNumber(converter: Converter, node: TfNode): { readonly value: string; readonly number: number } | null {
  const [first, second] = [converter.weightOf(node, 0), converter.weightOf(node, 1)];
  const weight = first ?? second;
  if (weight === null || weight.data.length !== 1) return null;
  return { value: converter.reference(node, first === null ? 0 : 1), number: weight.data[0]! };
}

/**
 * x * f * relu6(x + s), the activation of MobileNet v3, as x * clip(f * x + f * s, 0, 6 * f) with a 1 x 1 depthwise
 * convolution for what is inside: so it stays in ONNX Runtime's own layout of a convolution's result, which arithmetic
 * with numbers would have put back into planes and then again into that layout.
 */
function hardSwish(converter: Converter, node: TfNode): Value | null {
  const sides = [converter.nodeAt(node, 0), converter.nodeAt(node, 1)];
  const scaledBy = sides.find((side) => side?.op === 'Mul');
  const clipped = sides.find((side) => side?.op === 'Relu6');
  const shiftedBy = clipped === undefined ? undefined : converter.nodeAt(clipped, 0);
  if (scaledBy === undefined || (shiftedBy?.op !== 'Add' && shiftedBy?.op !== 'AddV2')) return null;
  const [scaled, shifted] = [withNumber(converter, scaledBy), withNumber(converter, shiftedBy)];
  if (scaled === null || scaled.value !== shifted?.value) return null;
  const { name, channels } = converter.read(scaled.value);
  if (channels === undefined) return null;
  const { graph } = converter;
  const all = (value: number) => new Float32Array(channels).fill(value);
  const inside = conv(graph, name, {
    filters: { shape: [1, 1, channels, 1], data: all(scaled.number) },
    ...{ bias: all(scaled.number * shifted.number), depthwise: true },
  });
  const gate = clip(graph, inside, 0, 6 * scaled.number);
  return { name: graph.add('Mul', [name, gate]), planes: true, channels };
}

function constant(converter: Converter, weight: Weight, planes: boolean): string {
  if (weight.shape.length === 0) return converter.graph.scalar(weight.data[0]!);
  const dims = planes && weight.shape.length === 1 ? [1, weight.shape[0]!, 1, 1] : weight.shape;
  if (planes && weight.shape.length > 1) throw converter.invalid('a constant picture is not supported');
  return converter.graph.constant(weight.data, dims);
}

function unary(opType: string): Handler {
  return (converter, node) => {
    const input = converter.input(node, 0);
    return { name: converter.graph.add(opType, [input.name]), planes: input.planes };
  };
}

/** relu, relu6, minimum and maximum with a constant: one open bound after another. */
function bound(limits: (converter: Converter, node: TfNode) => readonly [min: number, max: number]): Handler {
  return (converter, node) => {
    const input = converter.readOpen(converter.reference(node, 0));
    const [min, max] = limits(converter, node);
    const [low, high] = input.bounds ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    return { ...input, bounds: [Math.max(low, min), Math.min(high, max)] };
  };
}

function maxPool(converter: Converter, node: TfNode): Value {
  const [kernel, strides] = [spatial(node, 'ksize'), spatial(node, 'strides')];
  const pads = paddingAttributes(padding(node), kernel, strides[0]);
  const attributes = { kernel_shape: kernel, strides, ...pads };
  return { name: converter.graph.add('MaxPool', [converter.input(node, 0).name], attributes), planes: true };
}

function mean(converter: Converter, node: TfNode): Value {
  const axes = [...converter.weight(node, 1).data].join();
  const input = converter.input(node, 0);
  if (!input.planes || axes !== '1,2') throw converter.invalid(`${node.name}: mean over axes ${axes}`);
  const pooled = converter.graph.add('GlobalAveragePool', [input.name]);
  if (node.attr?.keep_dims?.b) return { name: pooled, planes: true };
  return { name: converter.graph.add('Flatten', [pooled], { axis: 1 }), planes: false };
}

/** TensorFlow's [begin, end] pairs per axis -> ONNX: all begins, then all ends, channels second. */
function pad(converter: Converter, node: TfNode): Value {
  const pairs = converter.weight(node, 1).data;
  const order = [0, 3, 1, 2];
  const pads = [...order.map((axis) => pairs[axis * 2]!), ...order.map((axis) => pairs[axis * 2 + 1]!)];
  const name = converter.graph.add('Pad', [converter.input(node, 0).name, converter.graph.int64s(pads)]);
  return { name, planes: true };
}

function concat(converter: Converter, node: TfNode): Value {
  const count = (node.input?.length ?? 0) - 1;
  const inputs = Array.from({ length: count }, (_, index) => converter.input(node, index));
  const axis = converter.weight(node, count).data[0]!;
  const planes = inputs[0]!.planes;
  const planeAxis = [0, 2, 3, 1][axis < 0 ? axis + 4 : axis]!;
  const names = inputs.map((input) => input.name);
  return { name: converter.graph.add('Concat', names, { axis: planes ? planeAxis : axis }), planes };
}

function reshape(converter: Converter, node: TfNode): Value {
  const input = converter.input(node, 0);
  const { graph } = converter;
  const name = input.planes ? graph.add('Transpose', [input.name], { perm: [0, 2, 3, 1] }) : input.name;
  return { name: graph.add('Reshape', [name, graph.int64s(openShape(converter.weight(node, 1).data))]), planes: false };
}

/** The number of rows in [1, rows, columns] follows from the size of the input, which need not be the original one. */
function openShape(shape: Float32Array): number[] {
  return shape.length === 3 && shape[0] === 1 ? [1, -1, shape[2]!] : [...shape];
}

/**
 * The nets in use double the size each time, whatever the size of the input, so the factor is written and not the size.
 * TensorFlow without half_pixel_centers samples at x / 2: "asymmetric" in ONNX.
 */
function resizeBilinear(converter: Converter, node: TfNode): Value {
  if (node.attr?.align_corners?.b || node.attr?.half_pixel_centers?.b) {
    throw converter.invalid(`${node.name}: only the plain resize is supported`);
  }
  const { graph } = converter;
  const scales = graph.constant(Float32Array.of(1, 1, 2, 2), [4]);
  const attributes = { mode: 'linear', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' };
  return { name: graph.add('Resize', [converter.input(node, 0).name, '', scales], attributes), planes: true };
}

function matMul(converter: Converter, node: TfNode): Value {
  const { graph } = converter;
  const fused = (node.attr?.fused_ops?.list?.s ?? []).map(text);
  const weight = converter.weight(node, 1);
  const inputs = [converter.input(node, 0).name, graph.constant(weight.data, weight.shape)];
  if (fused.includes('BiasAdd')) {
    const bias = converter.weight(node, 2);
    inputs.push(graph.constant(bias.data, bias.shape));
  }
  const name = graph.add('Gemm', inputs);
  return { name: fused.includes('Relu') ? graph.add('Relu', [name]) : name, planes: false };
}

const HANDLERS: Readonly<Record<string, Handler>> = {
  Placeholder: ({ graph, conversion }) => ({
    name: pixelInput(graph, conversion.size, conversion.normalisation),
    planes: true,
  }),
  Conv2D: convolution(false),
  _FusedConv2D: convolution(false),
  DepthwiseConv2dNative: convolution(true),
  FusedDepthwiseConv2dNative: convolution(true),
  Add: binary('Add'),
  AddV2: binary('Add'),
  Mul: (converter, node) => hardSwish(converter, node) ?? binary('Mul')(converter, node),
  Sub: binary('Sub'),
  Sigmoid: unary('Sigmoid'),
  Softmax: unary('Softmax'),
  Identity: (converter, node) => converter.readOpen(converter.reference(node, 0)),
  Relu: bound(() => [0, Number.POSITIVE_INFINITY]),
  Relu6: bound(() => [0, 6]),
  Minimum: bound((converter, node) => [Number.NEGATIVE_INFINITY, converter.weight(node, 1).data[0]!]),
  Maximum: bound((converter, node) => [converter.weight(node, 1).data[0]!, Number.POSITIVE_INFINITY]),
  MaxPool: maxPool,
  Mean: mean,
  Pad: pad,
  ConcatV2: concat,
  Reshape: reshape,
  ResizeBilinear: resizeBilinear,
  _FusedMatMul: matMul,
  MatMul: matMul,
};
