/**
 * The fixed prefix of a frame, 80 bytes, little endian:
 *
 *   0 u16 magic | 2 u8 kind | 3 u8 payload type or drop reason | 4 u32 metadata bytes | 8 u32 payload bytes
 *  12 u32 width | 16 u32 height | 20 u32 JSON bytes in the payload (boxes)
 *  24 f64 sequence (ack: settled) | 32 f64 timestamp | 40 f64 deadline | 48 f64 sent at
 *  56 f64 handler_id (drop), received (ack) | 64 f64 first sequence (runs)
 *  72 f64 ordinal: position of a packet on its link since the handshake; ack: how many packets came on its connection
 *
 * A ping carries its sender's own time in `sent at`, and the pong that answers it gives it back in `timestamp`; only who
 * sent it reads it, so it may be of any clock. Ordinals put the packets of a striped link in order again, and the count of
 * an ack tells the sender what is still on the way on each of its connections. Sequences are doubles because 2^53 is the
 * bound of a sequence anyway. Invariant: `readPrefix` gives only lengths that are within bounds and agree with each other.
 */
import { OrchestratorError } from '../contracts/errors.js';
import { METADATA_BYTES_MAX, PAYLOAD_BYTES_MAX } from '../contracts/limits.js';
import type { DropReason, PayloadType } from '../contracts/packet.js';

export const PREFIX_BYTES = 80;
const MAGIC = 0x4c4f;

const KINDS = ['data', 'drop', 'end', 'skip', 'ack', 'ping', 'pong'] as const;
export type FrameKind = (typeof KINDS)[number];
/** By their number on the wire. */
export const PAYLOAD_TYPES: readonly PayloadType[] = ['frame', 'jpeg', 'boxes', 'bytes'];
export const DROP_REASONS: readonly DropReason[] = ['queue', 'late', 'join', 'error', 'failover'];

/** Detail of a drop marker on the wire, characters; it is a sentence for people, not a stack. */
export const DROP_DETAIL_CHARS_MAX = 500;

export interface FramePrefix {
  readonly kind: FrameKind;
  readonly code: number;
  readonly metadataBytes: number;
  readonly payloadBytes: number;
  readonly width: number;
  readonly height: number;
  readonly jsonBytes: number;
  readonly sequence: number;
  readonly timestamp: number;
  readonly deadline: number;
  readonly sentAt: number;
  readonly extra: number;
  readonly first: number;
  readonly ordinal: number;
}

export function writePrefix(view: DataView, at: number, prefix: FramePrefix): void {
  view.setUint16(at, MAGIC, true);
  view.setUint8(at + 2, KINDS.indexOf(prefix.kind) + 1);
  view.setUint8(at + 3, prefix.code);
  view.setUint32(at + 4, prefix.metadataBytes, true);
  view.setUint32(at + 8, prefix.payloadBytes, true);
  view.setUint32(at + 12, prefix.width, true);
  view.setUint32(at + 16, prefix.height, true);
  view.setUint32(at + 20, prefix.jsonBytes, true);
  view.setFloat64(at + 24, prefix.sequence, true);
  view.setFloat64(at + 32, prefix.timestamp, true);
  view.setFloat64(at + 40, prefix.deadline, true);
  view.setFloat64(at + 48, prefix.sentAt, true);
  view.setFloat64(at + 56, prefix.extra, true);
  view.setFloat64(at + 64, prefix.first, true);
  view.setFloat64(at + 72, prefix.ordinal, true);
}

/** Reads and checks the PREFIX_BYTES at `at`. Throws LINK_PROTOCOL. */
export function readPrefix(view: DataView, at: number): FramePrefix {
  const magic = view.getUint16(at, true);
  if (magic !== MAGIC) throw malformed(`magic ${magic} is not ${MAGIC}`);
  const kind = KINDS[view.getUint8(at + 2) - 1];
  if (kind === undefined) throw malformed(`frame kind ${view.getUint8(at + 2)} is unknown`);
  const prefix = {
    kind,
    code: view.getUint8(at + 3),
    metadataBytes: bounded('metadata', view.getUint32(at + 4, true), METADATA_BYTES_MAX),
    payloadBytes: bounded('payload', view.getUint32(at + 8, true), PAYLOAD_BYTES_MAX),
    width: view.getUint32(at + 12, true),
    height: view.getUint32(at + 16, true),
    jsonBytes: view.getUint32(at + 20, true),
    sequence: view.getFloat64(at + 24, true),
    timestamp: view.getFloat64(at + 32, true),
    deadline: view.getFloat64(at + 40, true),
    sentAt: view.getFloat64(at + 48, true),
    extra: view.getFloat64(at + 56, true),
    first: view.getFloat64(at + 64, true),
    ordinal: view.getFloat64(at + 72, true),
  };
  check(prefix);
  return prefix;
}

function check(prefix: FramePrefix): void {
  const { kind, payloadBytes, metadataBytes, timestamp, deadline, sentAt } = prefix;
  if (!(Number.isFinite(timestamp) && Number.isFinite(deadline) && Number.isFinite(sentAt))) {
    throw malformed('a time is not finite');
  }
  if (kind === 'ack' || kind === 'ping' || kind === 'pong') {
    if (payloadBytes + metadataBytes > 0) throw malformed(`a ${kind} has a body`);
    if (kind === 'ack') checkAck(prefix);
    return;
  }
  integer('sequence', prefix.sequence, 0);
  if (integer('first sequence', prefix.first, 0) > prefix.sequence) {
    throw malformed(`first sequence ${prefix.first} is after ${prefix.sequence}`);
  }
  integer('ordinal', prefix.ordinal, 0);
  if (kind === 'data') checkData(prefix);
  else if (payloadBytes > 0 || (kind !== 'drop' && metadataBytes > 0)) throw malformed(`a ${kind} frame has a body`);
  else if (kind === 'drop') checkDrop(prefix);
}

function checkAck({ sequence, extra, ordinal }: FramePrefix): void {
  integer('settled', sequence, -1);
  integer('received', extra, -1);
  integer('packets carried', ordinal, 0);
}

function checkData({ code, sequence, first, width, height, payloadBytes, jsonBytes }: FramePrefix): void {
  const type = PAYLOAD_TYPES[code];
  if (type === undefined) throw malformed(`payload type ${code} is unknown`);
  if (first !== sequence) throw malformed('a data packet has one sequence');
  if (type === 'frame') checkFrameSize(width, height, payloadBytes);
  if (type === 'boxes' && jsonBytes > payloadBytes) throw malformed(`JSON of ${jsonBytes} in ${payloadBytes} bytes`);
}

function checkDrop({ code, metadataBytes, extra }: FramePrefix): void {
  if (DROP_REASONS[code] === undefined) throw malformed(`drop reason ${code} is unknown`);
  bounded('detail', metadataBytes, DROP_DETAIL_CHARS_MAX * 4);
  integer('handler_id', extra, 0);
}

/** Throws LINK_PROTOCOL unless `bytes` are a frame of that size. */
export function checkFrameSize(width: number, height: number, bytes: number): void {
  if (width * height * 3 !== bytes) throw malformed(`a frame of ${width}x${height} has ${bytes} bytes`);
}

export function bounded(what: string, value: number, max: number): number {
  if (value <= max) return value;
  throw malformed(`${what} of ${value} bytes is over ${max}`);
}

function integer(what: string, value: number, min: number): number {
  if (Number.isSafeInteger(value) && value >= min) return value;
  throw malformed(`${what} ${value} is not an integer of at least ${min}`);
}

export function malformed(message: string): OrchestratorError {
  return new OrchestratorError('LINK_PROTOCOL', message);
}
