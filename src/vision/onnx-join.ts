/**
 * Puts a graph of ours before a foreign ONNX model, so that it takes RGB bytes as frames hold them (`pixels`, as every
 * converted model does): no tensor is packed in JavaScript, whatever the model's own layout, mean and channel order are.
 * The foreign bytes are not decoded and encoded again (fields that we do not describe would be lost): the two messages
 * are cut into their fields and the fields are put together anew.
 */
import { OrchestratorError } from '../contracts/errors.js';
import { OnnxGraph, OnnxModel } from './onnx-graph.js';

/** What a model expects of a pixel value v: (v - mean) * scale per channel, in `channels` order. */
export interface Preparation {
  readonly mean: readonly [number, number, number];
  readonly scale: readonly [number, number, number];
  readonly channels: 'rgb' | 'bgr';
}

export interface ForeignInput {
  readonly name: string;
  /** Bytes as they are ([batch, height, width, 3]) need no preparation. */
  readonly layout: 'bytes' | 'planes' | 'rows';
  readonly half: boolean;
  /** null where the model takes any size. */
  readonly height: number | null;
  readonly width: number | null;
}

const ELEMENT = { float: 1, uint8: 2, half: 10 } as const;
/** Fields of onnx.proto3. */
const MODEL_IR_VERSION = 1;
const MODEL_GRAPH = 7;
const GRAPH = { node: 1, initializer: 5, input: 11, output: 12 } as const;
/** From this version on, constants need not be listed among the inputs. */
const IR_VERSION_MIN = 4;

interface Decoded {
  irVersion: { toNumber(): number } | number;
  graph: {
    initializer: { name: string }[];
    input: ValueInfo[];
    output: ValueInfo[];
  } | null;
}

interface ValueInfo {
  name: string;
  type: { tensorType: { elemType: number; shape: { dim: { dimValue?: unknown; dimParam?: string }[] } | null } | null };
}

/** The picture input of a foreign model. @throws MODEL_INVALID: no ONNX, several inputs, or an input that is no picture */
export function foreignInput(bytes: Uint8Array, where: string): ForeignInput {
  const { graph } = decode(bytes, where);
  const constants = new Set(graph.initializer.map((tensor) => tensor.name));
  const inputs = graph.input.filter((input) => !constants.has(input.name));
  if (inputs.length !== 1) {
    const names = inputs.map((input) => input.name).join(', ') || 'none';
    throw invalid(where, `it has ${inputs.length} inputs (${names}), one picture is expected`);
  }
  const [input] = inputs as [ValueInfo];
  const tensor = input.type?.tensorType;
  const dims = (tensor?.shape?.dim ?? []).map((dim) => Number(dim.dimValue ?? 0));
  const { elemType } = tensor ?? { elemType: 0 };
  const shown = `${input.name} [${dims.map((dim) => dim || '?').join(', ')}]`;
  if (dims.length !== 4) throw invalid(where, `its input ${shown} is no picture of four dimensions`);
  if (dims[0]! > 1) throw invalid(where, `its input ${shown} takes batches of ${dims[0]} only; export it with one`);
  const sides = (height: number, width: number) => ({ height: dims[height] || null, width: dims[width] || null });
  const base = { name: input.name, half: elemType === ELEMENT.half };
  if (elemType === ELEMENT.uint8 && dims[3] === 3) return { ...base, layout: 'bytes', ...sides(1, 2) };
  if (elemType !== ELEMENT.float && elemType !== ELEMENT.half) {
    throw invalid(where, `its input ${shown} has element type ${elemType}; float, half and uint8 are taken`);
  }
  if (dims[1] === 3) return { ...base, layout: 'planes', ...sides(2, 3) };
  if (dims[3] === 3) return { ...base, layout: 'rows', ...sides(1, 2) };
  throw invalid(where, `its input ${shown} has no dimension of 3 colour channels`);
}

/** The model with `pixels` [batch, height, width, 3] uint8 RGB as its input. */
export function takePixels(bytes: Uint8Array, input: ForeignInput, preparation: Preparation): Uint8Array {
  const front = fieldsOf(graphOf(frontGraph(input, preparation).toBytes()));
  const model = fieldsOf(bytes);
  const graph = fieldsOf(graphOf(bytes));
  const inputOf = (field: Field) => field.number === GRAPH.input && nameOf(field.content) === input.name;
  const joined = [
    ...front.filter((field) => field.number === GRAPH.node || field.number === GRAPH.initializer),
    ...front.filter((field) => field.number === GRAPH.input),
    ...graph.filter((field) => !inputOf(field)),
  ];
  const kept = model.filter((field) => field.number !== MODEL_GRAPH && field.number !== MODEL_IR_VERSION);
  const { irVersion } = OnnxModel.decode(bytes) as unknown as Decoded;
  const version = Math.max(Number(irVersion), IR_VERSION_MIN);
  const content = Buffer.concat(joined.map((field) => field.whole));
  return Buffer.concat([
    Buffer.from([MODEL_IR_VERSION << 3, version]),
    ...kept.map((field) => field.whole),
    Buffer.from([(MODEL_GRAPH << 3) | 2]),
    varint(content.length),
    content,
  ]);
}

function frontGraph({ name, layout, half, height, width }: ForeignInput, preparation: Preparation): OnnxGraph {
  const graph = new OnnxGraph({ name: 'pixels', prefix: 'orchestrator_' });
  const pixels = graph.input('pixels', 'uint8', ['batch', height ?? 'height', width ?? 'width', 3]);
  let value = pixels;
  if (preparation.channels === 'bgr') value = graph.add('Gather', [value, graph.int64s([2, 1, 0])], { axis: 3 });
  if (layout !== 'bytes') {
    value = graph.add('Cast', [value], { to: ELEMENT.float });
    value = perChannel(graph, 'Sub', value, preparation.mean, 0);
    value = perChannel(graph, 'Mul', value, preparation.scale, 1);
    if (layout === 'planes') value = graph.add('Transpose', [value], { perm: [0, 3, 1, 2] });
    if (half) value = graph.add('Cast', [value], { to: ELEMENT.half });
  }
  graph.output(name, value);
  return graph;
}

function perChannel(graph: OnnxGraph, op: string, value: string, numbers: readonly number[], idle: number): string {
  if (numbers.every((number) => number === idle)) return value;
  return graph.add(op, [value, graph.constant(Float32Array.from(numbers), [3])]);
}

interface Field {
  readonly number: number;
  /** Tag, length and content. */
  readonly whole: Uint8Array;
  readonly content: Uint8Array;
}

const invalid = (where: string, why: string) => new OrchestratorError('MODEL_INVALID', `${where}: ${why}`);

function decode(bytes: Uint8Array, where: string): { graph: NonNullable<Decoded['graph']> } {
  let model: Decoded;
  try {
    model = OnnxModel.decode(bytes) as unknown as Decoded;
  } catch (error) {
    throw new OrchestratorError('MODEL_INVALID', `${where}: it is no ONNX model`, {}, { cause: error });
  }
  if (!model.graph || model.graph.output.length === 0) throw invalid(where, 'it is no ONNX model (it has no graph)');
  return { graph: model.graph };
}

function graphOf(model: Uint8Array): Uint8Array {
  return fieldsOf(model).find((field) => field.number === MODEL_GRAPH)!.content;
}

/** A ValueInfo's name is its field 1. */
function nameOf(message: Uint8Array): string {
  const field = fieldsOf(message).find((one) => one.number === 1);
  return Buffer.from(field?.content ?? []).toString();
}

/** Cuts a protobuf message into its fields; the message was decoded before, so it is well formed. */
function fieldsOf(message: Uint8Array): Field[] {
  const fields: Field[] = [];
  for (let at = 0; at < message.length; ) {
    const [tag, afterTag] = readVarint(message, at);
    let [start, end] = [afterTag, afterTag];
    if ((tag & 7) === 0) end = readVarint(message, afterTag)[1];
    else if ((tag & 7) === 1) end = afterTag + 8;
    else if ((tag & 7) === 5) end = afterTag + 4;
    else {
      const [length, afterLength] = readVarint(message, afterTag);
      [start, end] = [afterLength, afterLength + length];
    }
    fields.push({ number: tag >>> 3, whole: message.subarray(at, end), content: message.subarray(start, end) });
    at = end;
  }
  return fields;
}

function readVarint(bytes: Uint8Array, start: number): [value: number, end: number] {
  let [value, factor, at] = [0, 1, start];
  for (; ; factor *= 128) {
    const byte = bytes[at++]!;
    value += (byte & 127) * factor;
    if (byte < 128) return [value, at];
  }
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Uint8Array.from([...bytes, rest]);
}
