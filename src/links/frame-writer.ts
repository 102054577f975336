/**
 * Frames into pieces to write: a prefix (prefix.ts), then metadata, then payload. Small parts of frames are written side
 * by side into a slab, which is cheaper than a piece for each; large payloads are pieces of their own, never copied.
 * Invariants: what a frame needs is checked before a byte of it is written, so a packet that is refused leaves no trace;
 * what is let through the decoder accepts; a slab is used again only when its bytes are known to have left the process.
 */
import { METADATA_BYTES_MAX, PAYLOAD_BYTES_MAX } from '../contracts/limits.js';
import type { DataPacket, PacketMetadata } from '../contracts/packet.js';
import { encodeBoxes } from './boxes-codec.js';
import { firstOf, type LinkAck, type LinkDrop, type LinkPacket } from './link.js';
import {
  bounded,
  checkFrameSize,
  DROP_DETAIL_CHARS_MAX,
  DROP_REASONS,
  type FramePrefix,
  malformed,
  PAYLOAD_TYPES,
  PREFIX_BYTES,
  writePrefix,
} from './prefix.js';

/** Parts below this are copied into the slab, bytes: that costs less than a write of their own (1.5 us). */
const JOIN_BYTES_MAX = 4096;

const SLAB_BYTES = 64 * 1024;

/** Slabs that wait to be used again: as many as a full socket buffer of small packets takes. */
const SPARE_SLABS_MAX = 32;

const NO_PARTS: readonly Uint8Array[] = [];

/** What leaves in one turn. */
export interface WrittenTurn {
  readonly pieces: readonly Uint8Array[];
  /** Full slabs; free when the last of the pieces has left the process. */
  readonly slabs: readonly Slab[];
}

class Slab {
  readonly bytes = Buffer.allocUnsafeSlow(SLAB_BYTES);
  readonly view = new DataView(this.bytes.buffer);
}

export class FrameWriter {
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #slab = new Slab();
  /** The part of the slab that belongs to no piece yet. */
  #from = 0;
  #to = 0;
  #full: Slab[] = [];
  readonly #spare: Slab[] = [];

  /** Bytes written since the last `take`. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * `ordinal`: how many packets the link carried before it since the handshake. Returns the frame's bytes. Throws
   * LINK_PROTOCOL when the packet breaks a bound of the wire.
   */
  packet(packet: LinkPacket, sentAt: number, ordinal: number): number {
    if (!(Number.isFinite(packet.timestamp) && Number.isFinite(packet.deadline))) {
      throw malformed('a time is not finite');
    }
    if (packet.kind === 'data') return this.#data(packet, sentAt, ordinal);
    return packet.kind === 'drop' ? this.#drop(packet, sentAt, ordinal) : this.#bare(packet, sentAt, ordinal);
  }

  /** `carried`: packets that came on the connection that the ack goes back on. */
  ack({ settled, received }: LinkAck, carried: number): void {
    this.#frame({ ...CONTROL, kind: 'ack', sequence: settled, first: settled, extra: received, ordinal: carried });
  }

  ping(sentAt: number): void {
    this.#frame({ ...CONTROL, kind: 'ping', sentAt });
  }

  /** Answers a ping: gives its `sentAt` back. */
  pong(echoed: number): void {
    this.#frame({ ...CONTROL, kind: 'pong', timestamp: echoed });
  }

  take(): WrittenTurn {
    this.#endPiece();
    const turn = { pieces: this.#pieces, slabs: this.#full };
    this.#pieces = [];
    this.#full = [];
    this.#bytes = 0;
    return turn;
  }

  /** The bytes of these slabs have left the process. */
  recycle(slabs: readonly Slab[]): void {
    for (const slab of slabs) if (this.#spare.length < SPARE_SLABS_MAX) this.#spare.push(slab);
  }

  #data(packet: DataPacket, sentAt: number, ordinal: number): number {
    const { payload, sequence, timestamp, deadline } = packet;
    const metadata = encodeMetadata(packet.metadata);
    let width = 0;
    let height = 0;
    let jsonBytes = 0;
    let payloadBytes: number;
    let parts: readonly Uint8Array[];
    if (payload.type === 'boxes') {
      const { json, blobs, blobBytes } = encodeBoxes(payload);
      width = payload.frame_width;
      height = payload.frame_height;
      jsonBytes = json.length;
      payloadBytes = bounded('payload', jsonBytes + blobBytes, PAYLOAD_BYTES_MAX);
      parts = [json, ...blobs];
    } else {
      payloadBytes = bounded('payload', payload.data.length, PAYLOAD_BYTES_MAX);
      parts = NO_PARTS;
      if (payload.type === 'frame') {
        width = payload.width;
        height = payload.height;
        checkFrameSize(width, height, payloadBytes);
      }
    }
    this.#frame({
      kind: 'data',
      code: PAYLOAD_TYPES.indexOf(payload.type),
      metadataBytes: metadata === null ? 0 : metadata.length,
      payloadBytes,
      width,
      height,
      jsonBytes,
      sequence,
      timestamp,
      deadline,
      sentAt,
      extra: 0,
      first: sequence,
      ordinal,
    });
    if (metadata !== null) this.#put(metadata);
    if (payload.type !== 'boxes') this.#put(payload.data);
    for (const part of parts) this.#put(part);
    return PREFIX_BYTES + (metadata === null ? 0 : metadata.length) + payloadBytes;
  }

  #drop(packet: LinkDrop, sentAt: number, ordinal: number): number {
    const { sequence, timestamp, deadline, handler_id: extra } = packet;
    const detail = packet.detail === undefined ? null : Buffer.from(packet.detail.slice(0, DROP_DETAIL_CHARS_MAX));
    const metadataBytes = detail?.length ?? 0;
    const code = DROP_REASONS.indexOf(packet.reason);
    const times = { timestamp, deadline, sentAt };
    this.#frame({
      ...CONTROL,
      kind: 'drop',
      code,
      metadataBytes,
      sequence,
      ...times,
      extra,
      first: firstOf(packet),
      ordinal,
    });
    if (detail !== null) this.#put(detail);
    return PREFIX_BYTES + metadataBytes;
  }

  #bare(packet: LinkPacket, sentAt: number, ordinal: number): number {
    const { kind, sequence, timestamp, deadline } = packet;
    this.#frame({ ...CONTROL, kind, sequence, timestamp, deadline, sentAt, first: firstOf(packet), ordinal });
    return PREFIX_BYTES;
  }

  #frame(prefix: FramePrefix): void {
    this.#ensure(PREFIX_BYTES);
    writePrefix(this.#slab.view, this.#to, prefix);
    this.#to += PREFIX_BYTES;
    this.#bytes += PREFIX_BYTES;
  }

  #put(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#bytes += part.length;
    if (part.length < JOIN_BYTES_MAX) {
      this.#ensure(part.length);
      this.#slab.bytes.set(part, this.#to);
      this.#to += part.length;
    } else {
      this.#endPiece();
      this.#pieces.push(part);
    }
  }

  #ensure(bytes: number): void {
    if (this.#to + bytes <= SLAB_BYTES) return;
    this.#endPiece();
    this.#full.push(this.#slab);
    this.#slab = this.#spare.pop() ?? new Slab();
    this.#from = this.#to = 0;
  }

  #endPiece(): void {
    if (this.#to > this.#from) this.#pieces.push(this.#slab.bytes.subarray(this.#from, this.#to));
    this.#from = this.#to;
  }
}

/** A prefix in which everything is zero. */
const CONTROL: FramePrefix = {
  kind: 'ping',
  code: 0,
  metadataBytes: 0,
  payloadBytes: 0,
  width: 0,
  height: 0,
  jsonBytes: 0,
  sequence: 0,
  timestamp: 0,
  deadline: 0,
  sentAt: 0,
  extra: 0,
  first: 0,
  ordinal: 0,
};

function encodeMetadata(metadata: PacketMetadata): Buffer | null {
  for (const _ in metadata) {
    const bytes = Buffer.from(JSON.stringify(metadata));
    if (bytes[0] !== 0x7b) throw malformed('metadata is not an object');
    bounded('metadata', bytes.length, METADATA_BYTES_MAX);
    return bytes;
  }
  return null;
}
