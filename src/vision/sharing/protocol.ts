/**
 * Frames between a handler and the model process that serves it, over one Unix socket: a header of fixed length and a
 * payload of the length that it tells. Pixels and outputs travel as they lie in memory (both ends are one machine), so
 * that nothing is converted: a payload is read into memory of its own, which then becomes the tensor.
 *
 *     handler: hello, then run ...        model process: welcome, then one result | late | failed for each run
 */
import { OrchestratorError } from '../../contracts/errors.js';
import type { OutputTensor } from '../engine.js';

/** "VM" and the version of the protocol: both ends come from one installation, so others are refused. */
const MAGIC = 0x4d56;
const VERSION = 1;

export const HEADER_BYTES = 32;

/** Pixels of one run, bytes: sixteen 1024 x 1024 pictures fit. */
export const RUN_BYTES_MAX = 64 * 1024 * 1024;
/** Outputs of one run, bytes: far more than any detector's. */
export const RESULT_BYTES_MAX = 64 * 1024 * 1024;

const KINDS = ['hello', 'welcome', 'run', 'result', 'late', 'failed'] as const;
export type FrameKind = (typeof KINDS)[number];

/** Four numbers mean what the kind says; see the functions below. */
export interface FrameHeader {
  readonly kind: FrameKind;
  /** Of the run; 0 in hello and welcome. */
  readonly id: number;
  readonly payloadBytes: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
}

export function encodeHeader({ kind, id, payloadBytes, a, b, c, d }: FrameHeader): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt16LE(MAGIC, 0);
  header.writeUInt8(VERSION, 2);
  header.writeUInt8(KINDS.indexOf(kind), 3);
  header.writeUInt32LE(id, 4);
  header.writeUInt32LE(payloadBytes, 8);
  header.writeUInt32LE(a, 12);
  header.writeUInt32LE(b, 16);
  header.writeUInt32LE(c, 20);
  header.writeDoubleLE(d, 24);
  return header;
}

/** Throws LINK_PROTOCOL for bytes that are none, and for a payload over its bound. */
export function decodeHeader(header: Buffer): FrameHeader {
  const kind = KINDS[header.readUInt8(3)];
  if (header.readUInt16LE(0) !== MAGIC || header.readUInt8(2) !== VERSION || kind === undefined) {
    throw new OrchestratorError('LINK_PROTOCOL', `${header.subarray(0, 4).toString('hex')} begins no frame of a model`);
  }
  const payloadBytes = header.readUInt32LE(8);
  const bound = kind === 'run' ? RUN_BYTES_MAX : RESULT_BYTES_MAX;
  if (payloadBytes > bound) {
    throw new OrchestratorError('LINK_PROTOCOL', `${kind} has ${payloadBytes} bytes, at most ${bound} are taken`);
  }
  return {
    ...{ kind, id: header.readUInt32LE(4), payloadBytes },
    ...{ a: header.readUInt32LE(12), b: header.readUInt32LE(16), c: header.readUInt32LE(20) },
    d: header.readDoubleLE(24),
  };
}

/** Cuts what comes from a socket into frames. Each payload has memory of its own, from its first byte. */
export class FrameReader {
  readonly #onFrame: (header: FrameHeader, payload: Buffer) => void;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #frame: FrameHeader | null = null;
  #payload: Buffer = Buffer.alloc(0);
  #payloadBytes = 0;

  constructor(onFrame: (header: FrameHeader, payload: Buffer) => void) {
    this.#onFrame = onFrame;
  }

  /** Throws LINK_PROTOCOL. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#frame === null) {
        const taken = chunk.copy(this.#header, this.#headerBytes, at);
        at += taken;
        this.#headerBytes += taken;
        if (this.#headerBytes < HEADER_BYTES) return;
        this.#frame = decodeHeader(this.#header);
        this.#payload = Buffer.allocUnsafeSlow(this.#frame.payloadBytes);
        this.#headerBytes = this.#payloadBytes = 0;
      }
      const taken = chunk.copy(this.#payload, this.#payloadBytes, at);
      at += taken;
      this.#payloadBytes += taken;
      if (this.#payloadBytes < this.#payload.length) return;
      const [frame, payload] = [this.#frame, this.#payload];
      this.#frame = null;
      this.#onFrame(frame, payload);
    }
  }
}

const DIMS_MAX = 8;

/** Payload of `result`: per output the length of its name, name, number of dimensions, dimensions; then the numbers. */
export function encodeOutputs(outputs: Readonly<Record<string, OutputTensor>>): Buffer[] {
  const described = Object.entries(outputs).flatMap(([name, { dims }]) => {
    const nameBytes = Buffer.from(name);
    const numbers = Buffer.alloc(1 + 4 * dims.length);
    numbers.writeUInt8(dims.length, 0);
    dims.forEach((dim, index) => {
      numbers.writeUInt32LE(dim, 1 + 4 * index);
    });
    return [Buffer.from([nameBytes.length]), nameBytes, numbers];
  });
  const bytes = described.reduce((sum, part) => sum + part.length, 0);
  const padding = Buffer.alloc(-bytes & 3);
  const values = Object.values(outputs).map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  return [...described, padding, ...values];
}

/** The outputs lie in `payload`, which starts where its memory does. `count` of them; throws LINK_PROTOCOL. */
export function decodeOutputs(payload: Buffer, count: number): Record<string, OutputTensor> {
  try {
    return readOutputs(payload, count);
  } catch (error) {
    if (error instanceof OrchestratorError) throw error;
    throw new OrchestratorError('LINK_PROTOCOL', `a result cannot be read: ${(error as Error).message}`);
  }
}

function readOutputs(payload: Buffer, count: number): Record<string, OutputTensor> {
  const shapes: { name: string; dims: number[]; length: number }[] = [];
  let at = 0;
  for (let index = 0; index < count; index++) {
    const nameEnd = at + 1 + payload.readUInt8(at);
    const name = payload.toString('utf8', at + 1, nameEnd);
    const rank = payload.readUInt8(nameEnd);
    if (rank > DIMS_MAX) throw new OrchestratorError('LINK_PROTOCOL', `output ${name} has ${rank} dimensions`);
    const dims = Array.from({ length: rank }, (_, dim) => payload.readUInt32LE(nameEnd + 1 + 4 * dim));
    shapes.push({ name, dims, length: dims.reduce((product, dim) => product * dim, 1) });
    at = nameEnd + 1 + 4 * rank;
  }
  at += -at & 3;
  const outputs: Record<string, OutputTensor> = {};
  for (const { name, dims, length } of shapes) {
    outputs[name] = { data: new Float32Array(payload.buffer, payload.byteOffset + at, length), dims };
    at += 4 * length;
  }
  if (at !== payload.length) {
    throw new OrchestratorError('LINK_PROTOCOL', `a result has ${payload.length} bytes, its outputs take ${at}`);
  }
  return outputs;
}
