/**
 * What a frame means: packets, acks, pings and pongs from their parts. The bytes of a frame are laid out in prefix.ts and
 * written by frame-writer.ts; the decoder cuts them out of a stream. Metadata is JSON (data) or the detail's text (drop).
 */
import type { PacketMetadata, Payload } from '../contracts/packet.js';
import { decodeBoxes, parseJson } from './boxes-codec.js';
import type { LinkAck, LinkDrop, LinkPacket } from './link.js';
import { DROP_REASONS, type FramePrefix, malformed, PAYLOAD_TYPES, PREFIX_BYTES } from './prefix.js';

export type LinkFrame =
  | {
      readonly kind: 'packet';
      readonly packet: LinkPacket;
      readonly sentAt: number;
      readonly bytes: number;
      readonly ordinal: number;
      /** See Arrival. */
      readonly release?: (() => void) | undefined;
    }
  | { readonly kind: 'ack'; readonly ack: LinkAck; readonly carried: number }
  | { readonly kind: 'ping'; readonly sentAt: number }
  /** `echoed`: the `sentAt` of the ping that it answers. */
  | { readonly kind: 'pong'; readonly echoed: number };

/** A frame from its three parts. `payload` becomes the packet's own; `release` gives its memory back. */
export function assembleFrame(
  prefix: FramePrefix,
  metadata: Buffer,
  payload: Buffer,
  release: (() => void) | undefined,
): LinkFrame {
  const { kind, sentAt, ordinal } = prefix;
  if (kind === 'ping') return { kind, sentAt };
  if (kind === 'pong') return { kind, echoed: prefix.timestamp };
  if (kind === 'ack') return { kind, ack: { settled: prefix.sequence, received: prefix.extra }, carried: ordinal };
  const bytes = PREFIX_BYTES + prefix.metadataBytes + prefix.payloadBytes;
  return { kind: 'packet', packet: assemblePacket(prefix, metadata, payload), sentAt, bytes, ordinal, release };
}

function assemblePacket(prefix: FramePrefix, metadata: Buffer, payload: Buffer): LinkPacket {
  const { kind, sequence, timestamp, deadline, first } = prefix;
  if (kind === 'data') {
    const contents = decodePayload(prefix, payload);
    return { kind, sequence, timestamp, deadline, payload: contents, metadata: decodeMetadata(metadata) };
  }
  if (kind === 'end') return { kind, sequence, timestamp, deadline };
  const run = first === sequence ? {} : { first };
  if (kind === 'skip') return { kind, sequence, timestamp, deadline, ...run };
  const [reason, handler_id] = [DROP_REASONS[prefix.code]!, prefix.extra];
  const drop: LinkDrop = { kind: 'drop', sequence, timestamp, deadline, ...run, reason, handler_id };
  return metadata.length === 0 ? drop : { ...drop, detail: metadata.toString('utf8') };
}

function decodePayload({ code, width, height, jsonBytes }: FramePrefix, data: Buffer): Payload {
  const type = PAYLOAD_TYPES[code]!;
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
