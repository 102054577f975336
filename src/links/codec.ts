/**
 * The link's frames: a fixed prefix of 80 bytes, then metadata, then payload. Both directions use it.
 *
 *   0 u16 magic | 2 u8 kind | 3 u8 payload type or drop reason | 4 u32 metadata bytes | 8 u32 payload bytes
 *  12 u32 width | 16 u32 height | 20 u32 JSON bytes in the payload (boxes)
 *  24 f64 sequence (ack: settled) | 32 f64 timestamp | 40 f64 deadline | 48 f64 sent at
 *  56 f64 handler_id (drop), received (ack) | 64 f64 first sequence (runs)
 *  72 f64 ordinal: position of a packet on its link since the handshake; ack: how many packets came on its connection
 *
 * A ping carries its sender's own time in `sent at`, and the pong that answers it gives it back in `timestamp`; only who
 * sent it reads it, so it may be of any clock. Ordinals put the packets of a striped link in order again,
 * and the count of an ack tells the sender what is still on the way on each of its connections.
 * All little endian; sequences are doubles because 2^53 is the bound of a sequence anyway. Metadata is JSON (data) or
 * the detail's text (drop). Invariant: every length is checked before anything is allocated for it, and what
 * `encodePacket` lets through the decoder accepts. The sender never joins header and payload: it writes the pieces.
 */
import { OrchestratorError } from '../contracts/errors.js';
import { METADATA_BYTES_MAX, PAYLOAD_BYTES_MAX } from '../contracts/limits.js';
import type { DataPacket, DropReason, PacketMetadata, Payload, PayloadType } from '../contracts/packet.js';
import { decodeBoxes, encodeBoxes, parseJson } from './boxes-codec.js';
import { firstOf, type LinkAck, type LinkDrop, type LinkPacket } from './link.js';

export const PREFIX_BYTES = 80;
const MAGIC = 0x4c4f;

const KINDS = ['data', 'drop', 'end', 'skip', 'ack', 'ping', 'pong'] as const;
type FrameKind = (typeof KINDS)[number];
const TYPES: readonly PayloadType[] = ['frame', 'jpeg', 'boxes', 'bytes'];
const REASONS: readonly DropReason[] = ['queue', 'late', 'join', 'error', 'failover'];

/** Detail of a drop marker on the wire, characters; it is a sentence for people, not a stack. */
export const DROP_DETAIL_CHARS_MAX = 500;

export type LinkFrame =
  | {
      readonly kind: 'packet';
      readonly packet: LinkPacket;
      readonly sentAt: number;
      readonly bytes: number;
      readonly ordinal: number;
    }
  | { readonly kind: 'ack'; readonly ack: LinkAck; readonly carried: number }
  | { readonly kind: 'ping'; readonly sentAt: number }
  /** `echoed`: the `sentAt` of the ping that it answers. */
  | { readonly kind: 'pong'; readonly echoed: number };

/** The prefix, checked: lengths are within bounds and agree with each other. */
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

interface PrefixFields extends Partial<Omit<FramePrefix, 'kind'>> {
  readonly kind: FrameKind;
}

function writePrefix(target: Buffer, fields: PrefixFields): void {
  target.writeUInt16LE(MAGIC, 0);
  target[2] = KINDS.indexOf(fields.kind) + 1;
  target[3] = fields.code ?? 0;
  target.writeUInt32LE(fields.metadataBytes ?? 0, 4);
  target.writeUInt32LE(fields.payloadBytes ?? 0, 8);
  target.writeUInt32LE(fields.width ?? 0, 12);
  target.writeUInt32LE(fields.height ?? 0, 16);
  target.writeUInt32LE(fields.jsonBytes ?? 0, 20);
  target.writeDoubleLE(fields.sequence ?? 0, 24);
  target.writeDoubleLE(fields.timestamp ?? 0, 32);
  target.writeDoubleLE(fields.deadline ?? 0, 40);
  target.writeDoubleLE(fields.sentAt ?? 0, 48);
  target.writeDoubleLE(fields.extra ?? 0, 56);
  target.writeDoubleLE(fields.first ?? fields.sequence ?? 0, 64);
  target.writeDoubleLE(fields.ordinal ?? 0, 72);
}

function prefixWith(fields: PrefixFields, metadata: Buffer | null): Buffer {
  const head = Buffer.allocUnsafe(PREFIX_BYTES + (metadata?.length ?? 0));
  writePrefix(head, { ...fields, metadataBytes: metadata?.length ?? 0 });
  if (metadata !== null) head.set(metadata, PREFIX_BYTES);
  return head;
}

/**
 * The pieces to write, in order. `ordinal`: how many packets the link carried before it since the handshake. Throws
 * LINK_PROTOCOL when the packet breaks a bound of the wire.
 */
export function encodePacket(packet: LinkPacket, sentAt: number, ordinal: number): Buffer[] {
  const { kind, sequence, timestamp, deadline } = packet;
  if (!Number.isFinite(timestamp) || !Number.isFinite(deadline)) throw malformed('a time is not finite');
  const common = { kind, sequence, timestamp, deadline, sentAt, first: firstOf(packet), ordinal };
  if (packet.kind === 'data') return encodeData(packet, common);
  if (packet.kind !== 'drop') return [prefixWith(common, null)];
  const detail = packet.detail === undefined ? null : Buffer.from(packet.detail.slice(0, DROP_DETAIL_CHARS_MAX));
  return [prefixWith({ ...common, code: REASONS.indexOf(packet.reason), extra: packet.handler_id }, detail)];
}

function encodeData(packet: DataPacket, common: PrefixFields): Buffer[] {
  const { payload } = packet;
  const metadata = encodeMetadata(packet.metadata);
  const fields = { ...common, code: TYPES.indexOf(payload.type) };
  if (payload.type === 'boxes') {
    const { json, blobs, blobBytes } = encodeBoxes(payload);
    const payloadBytes = bounded('payload', json.length + blobBytes, PAYLOAD_BYTES_MAX);
    const { frame_width: width, frame_height: height } = payload;
    return [prefixWith({ ...fields, payloadBytes, width, height, jsonBytes: json.length }, metadata), json, ...blobs];
  }
  const payloadBytes = bounded('payload', payload.data.length, PAYLOAD_BYTES_MAX);
  const size = payload.type === 'frame' ? { width: payload.width, height: payload.height } : {};
  if (payload.type === 'frame' && payload.width * payload.height * 3 !== payloadBytes) {
    throw malformed(`a frame of ${payload.width}x${payload.height} has ${payloadBytes} bytes`);
  }
  return [prefixWith({ ...fields, ...size, payloadBytes }, metadata), payload.data];
}

function encodeMetadata(metadata: PacketMetadata): Buffer | null {
  for (const _ in metadata) {
    const bytes = Buffer.from(JSON.stringify(metadata));
    if (bytes[0] !== 0x7b) throw malformed('metadata is not an object');
    bounded('metadata', bytes.length, METADATA_BYTES_MAX);
    return bytes;
  }
  return null;
}

/** `carried`: packets that came on the connection that the ack goes back on. */
export function encodeAck({ settled, received }: LinkAck, carried: number): Buffer {
  return prefixWith({ kind: 'ack', sequence: settled, extra: received, ordinal: carried }, null);
}

export function encodePing(sentAt: number): Buffer {
  return prefixWith({ kind: 'ping', sentAt }, null);
}

/** Answers a ping: gives its `sentAt` back. */
export function encodePong(echoed: number): Buffer {
  return prefixWith({ kind: 'pong', timestamp: echoed }, null);
}

/** Reads and checks a prefix at the start of `bytes` (at least PREFIX_BYTES). Throws LINK_PROTOCOL. */
export function readPrefix(bytes: Buffer): FramePrefix {
  if (bytes.readUInt16LE(0) !== MAGIC) throw malformed(`magic ${bytes.readUInt16LE(0)} is not ${MAGIC}`);
  const kind = KINDS[bytes[2]! - 1];
  if (kind === undefined) throw malformed(`frame kind ${bytes[2]} is unknown`);
  const prefix = {
    kind,
    code: bytes[3]!,
    metadataBytes: bounded('metadata', bytes.readUInt32LE(4), METADATA_BYTES_MAX),
    payloadBytes: bounded('payload', bytes.readUInt32LE(8), PAYLOAD_BYTES_MAX),
    width: bytes.readUInt32LE(12),
    height: bytes.readUInt32LE(16),
    jsonBytes: bytes.readUInt32LE(20),
    sequence: bytes.readDoubleLE(24),
    timestamp: bytes.readDoubleLE(32),
    deadline: bytes.readDoubleLE(40),
    sentAt: bytes.readDoubleLE(48),
    extra: bytes.readDoubleLE(56),
    first: bytes.readDoubleLE(64),
    ordinal: bytes.readDoubleLE(72),
  };
  checkPrefix(prefix);
  return prefix;
}

function checkPrefix(prefix: FramePrefix): void {
  const { kind, code, payloadBytes, metadataBytes, width, height, jsonBytes } = prefix;
  const isControl = kind === 'ping' || kind === 'pong' || kind === 'ack';
  if (isControl && payloadBytes + metadataBytes > 0) throw malformed(`a ${kind} has a body`);
  if (![prefix.timestamp, prefix.deadline, prefix.sentAt].every(Number.isFinite)) {
    throw malformed('a time is not finite');
  }
  if (kind === 'ping' || kind === 'pong') return;
  if (kind === 'ack') {
    integer('settled', prefix.sequence, -1);
    integer('received', prefix.extra, -1);
    integer('packets carried', prefix.ordinal, 0);
    return;
  }
  integer('sequence', prefix.sequence, 0);
  if (integer('first sequence', prefix.first, 0) > prefix.sequence) {
    throw malformed(`first sequence ${prefix.first} is after ${prefix.sequence}`);
  }
  integer('ordinal', prefix.ordinal, 0);
  if (kind === 'data') {
    const type = TYPES[code];
    if (type === undefined) throw malformed(`payload type ${code} is unknown`);
    if (prefix.first !== prefix.sequence) throw malformed('a data packet has one sequence');
    if (type === 'frame' && width * height * 3 !== payloadBytes) {
      throw malformed(`a frame of ${width}x${height} has ${payloadBytes} bytes`);
    }
    if (type === 'boxes' && jsonBytes > payloadBytes) throw malformed(`JSON of ${jsonBytes} in ${payloadBytes} bytes`);
    return;
  }
  if (payloadBytes > 0 || (kind !== 'drop' && metadataBytes > 0)) throw malformed(`a ${kind} frame has a body`);
  if (kind === 'drop') {
    if (REASONS[code] === undefined) throw malformed(`drop reason ${code} is unknown`);
    bounded('detail', metadataBytes, DROP_DETAIL_CHARS_MAX * 4);
    integer('handler_id', prefix.extra, 0);
  }
}

/** A frame from its three parts. `payload` becomes the packet's own. */
export function assembleFrame(prefix: FramePrefix, metadata: Buffer, payload: Buffer): LinkFrame {
  if (prefix.kind === 'ping') return { kind: 'ping', sentAt: prefix.sentAt };
  if (prefix.kind === 'pong') return { kind: 'pong', echoed: prefix.timestamp };
  if (prefix.kind === 'ack') {
    return { kind: 'ack', ack: { settled: prefix.sequence, received: prefix.extra }, carried: prefix.ordinal };
  }
  const bytes = PREFIX_BYTES + prefix.metadataBytes + prefix.payloadBytes;
  const { sentAt, ordinal } = prefix;
  return { kind: 'packet', packet: assemblePacket(prefix, metadata, payload), sentAt, bytes, ordinal };
}

function assemblePacket(prefix: FramePrefix, metadata: Buffer, payload: Buffer): LinkPacket {
  const { sequence, timestamp, deadline, first } = prefix;
  const header = { sequence, timestamp, deadline };
  const run = first === sequence ? {} : { first };
  switch (prefix.kind) {
    case 'data':
      return { kind: 'data', ...header, payload: decodePayload(prefix, payload), metadata: decodeMetadata(metadata) };
    case 'skip':
      return { kind: 'skip', ...header, ...run };
    case 'end':
      return { kind: 'end', ...header };
    default: {
      const drop: LinkDrop = {
        kind: 'drop',
        ...header,
        ...run,
        reason: REASONS[prefix.code]!,
        handler_id: prefix.extra,
      };
      return metadata.length === 0 ? drop : { ...drop, detail: metadata.toString('utf8') };
    }
  }
}

function decodePayload({ code, width, height, jsonBytes }: FramePrefix, data: Buffer): Payload {
  const type = TYPES[code]!;
  if (type === 'boxes') return decodeBoxes(data, jsonBytes, width, height);
  return type === 'frame' ? { type, width, height, data } : { type, data };
}

function decodeMetadata(bytes: Buffer): PacketMetadata {
  if (bytes.length === 0) return {};
  const metadata = parseJson(bytes);
  if (typeof metadata === 'object' && metadata !== null && !Array.isArray(metadata)) return metadata as PacketMetadata;
  throw malformed('metadata is not an object');
}

/** Rough size of what a packet keeps in memory, bytes: what windows and queues count. */
export function packetBytes(packet: LinkPacket): number {
  return packet.kind === 'data' ? payloadBytes(packet.payload) : PREFIX_BYTES;
}

/** A box without pixels as JSON: label, five numbers, landmarks. */
const BOX_BYTES = 150;

/** Bytes of a payload as a link would carry it, without encoding it. */
export function payloadBytes(payload: Payload): number {
  if (payload.type !== 'boxes') return payload.data.length;
  let bytes = 0;
  for (const box of payload.boxes) {
    bytes += BOX_BYTES + (box.crop?.data.length ?? 0) + (box.embedding?.byteLength ?? 0);
  }
  return bytes;
}

function bounded(what: string, value: number, max: number): number {
  if (value <= max) return value;
  throw malformed(`${what} of ${value} bytes is over ${max}`);
}

function integer(what: string, value: number, min: number): number {
  if (Number.isSafeInteger(value) && value >= min) return value;
  throw malformed(`${what} ${value} is not an integer of at least ${min}`);
}

function malformed(message: string): OrchestratorError {
  return new OrchestratorError('LINK_PROTOCOL', message);
}
