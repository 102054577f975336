/**
 * Builds ONNX graphs and writes them as protobuf bytes. Only the messages and fields that the converters need are
 * described; the field numbers are those of onnx/onnx.proto3 (IR version 8).
 * Nodes must be added in topological order: each after the nodes that make its inputs.
 */
import protobuf from 'protobufjs/light.js';

/** Opset whose operator definitions the converters follow. */
const OPSET = 18;
const IR_VERSION = 8;

const DATA_TYPE = { float: 1, uint8: 2, int64: 7 } as const;
const ATTRIBUTE_TYPE = { float: 1, int: 2, string: 3, ints: 7 } as const;

type ElementType = keyof typeof DATA_TYPE;
/** A dimension: its size, or a name where it is chosen at run time. */
export type Dimension = number | string;
/** Whole numbers become INT, lists INTS, text STRING; `{ float }` becomes FLOAT. */
export type Attribute = number | readonly number[] | string | { readonly float: number };

const optional = (type: string, id: number) => ({ type, id });
const repeated = (type: string, id: number) => ({ rule: 'repeated', type, id });

const root = protobuf.Root.fromJSON({
  nested: {
    Model: {
      fields: {
        irVersion: optional('int64', 1),
        producerName: optional('string', 2),
        graph: optional('Graph', 7),
        opsetImport: repeated('OperatorSet', 8),
      },
    },
    OperatorSet: { fields: { domain: optional('string', 1), version: optional('int64', 2) } },
    Graph: {
      fields: {
        node: repeated('Node', 1),
        name: optional('string', 2),
        initializer: repeated('Tensor', 5),
        input: repeated('ValueInfo', 11),
        output: repeated('ValueInfo', 12),
      },
    },
    Node: {
      fields: {
        input: repeated('string', 1),
        output: repeated('string', 2),
        name: optional('string', 3),
        opType: optional('string', 4),
        attribute: repeated('Attribute', 5),
      },
    },
    Attribute: {
      fields: {
        name: optional('string', 1),
        f: optional('float', 2),
        i: optional('int64', 3),
        s: optional('bytes', 4),
        ints: repeated('int64', 8),
        type: optional('int32', 20),
      },
    },
    Tensor: {
      fields: {
        dims: repeated('int64', 1),
        dataType: optional('int32', 2),
        name: optional('string', 8),
        rawData: optional('bytes', 9),
      },
    },
    ValueInfo: { fields: { name: optional('string', 1), type: optional('ValueType', 2) } },
    ValueType: { fields: { tensorType: optional('TensorType', 1) } },
    TensorType: { fields: { elemType: optional('int32', 1), shape: optional('Shape', 2) } },
    Shape: { fields: { dim: repeated('Dim', 1) } },
    Dim: { fields: { dimValue: optional('int64', 1), dimParam: optional('string', 2) } },
  },
});
export const OnnxModel = root.lookupType('Model');

export class OnnxGraph {
  private readonly nodes: object[] = [];
  private readonly tensors: object[] = [];
  private readonly inputs: object[] = [];
  private readonly outputs: object[] = [];
  private readonly scalars = new Map<string, string>();
  private readonly name: string;

  private readonly prefix: string;

  /** `prefix` begins every name of its own, for a graph that is to be joined with another. */
  constructor(options: { readonly name: string; readonly prefix?: string }) {
    this.name = options.name;
    this.prefix = options.prefix ?? '';
  }

  /** @returns the name of the new value (its first output) */
  add(opType: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    return this.addAll(opType, inputs, attributes, 1)[0]!;
  }

  /** For operators with several outputs: @returns the names of the first `count` */
  addAll(
    opType: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>>,
    count: number,
  ): string[] {
    const name = `${this.prefix}${opType.toLowerCase()}_${this.nodes.length}`;
    const attribute = Object.entries(attributes).map(([key, value]) => encodeAttribute(key, value));
    const output = Array.from({ length: count }, (_, index) => (index === 0 ? name : `${name}_${index}`));
    this.nodes.push({ opType, name, input: inputs, output, attribute });
    return output;
  }

  /** A constant tensor, row-major; an empty `dims` is a scalar. */
  constant(data: Float32Array | BigInt64Array, dims: readonly number[]): string {
    const name = `${this.prefix}constant_${this.tensors.length}`;
    const dataType = data instanceof Float32Array ? DATA_TYPE.float : DATA_TYPE.int64;
    this.tensors.push({ name, dims, dataType, rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) });
    return name;
  }

  scalar(value: number): string {
    const key = String(value);
    const name = this.scalars.get(key) ?? this.constant(Float32Array.of(value), []);
    this.scalars.set(key, name);
    return name;
  }

  int64s(values: readonly number[]): string {
    return this.constant(BigInt64Array.from(values, BigInt), [values.length]);
  }

  input(name: string, type: ElementType, dims: readonly Dimension[]): string {
    this.inputs.push(valueInfo(name, type, dims));
    return name;
  }

  /** Makes `value` an output of the model under `name`; without `dims` its shape is left open. */
  output(name: string, value: string, dims?: readonly Dimension[]): void {
    this.nodes.push({
      opType: 'Identity',
      name: `${this.prefix}${name}`,
      input: [value],
      output: [name],
      attribute: [],
    });
    this.outputs.push(valueInfo(name, 'float', dims));
  }

  toBytes(): Uint8Array {
    const message = OnnxModel.create({
      irVersion: IR_VERSION,
      producerName: 'vision-orchestrator',
      opsetImport: [{ domain: '', version: OPSET }],
      graph: { name: this.name, node: this.nodes, initializer: this.tensors, input: this.inputs, output: this.outputs },
    });
    return OnnxModel.encode(message).finish();
  }
}

function encodeAttribute(name: string, value: Attribute): object {
  if (typeof value === 'number') return { name, i: value, type: ATTRIBUTE_TYPE.int };
  if (typeof value === 'string') return { name, s: Buffer.from(value), type: ATTRIBUTE_TYPE.string };
  if ('float' in value) return { name, f: value.float, type: ATTRIBUTE_TYPE.float };
  return { name, ints: value, type: ATTRIBUTE_TYPE.ints };
}

function valueInfo(name: string, type: ElementType, dims?: readonly Dimension[]): object {
  if (dims === undefined) return { name, type: { tensorType: { elemType: DATA_TYPE[type] } } };
  const dim = dims.map((size) => (typeof size === 'number' ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType: DATA_TYPE[type], shape: { dim } } } };
}
