/**
 * What flows between handlers. A packet carries one typed payload of one sequence number; the sequence is set by the
 * source and never changes on the way, so that several inputs can be joined by it and every frame can be accounted for.
 */

/** Raw picture: `height` rows of `width` RGB pixels, 8 bit, no padding (`data.length === width * height * 3`). */
export interface Frame {
  readonly type: 'frame';
  readonly width: number;
  readonly height: number;
  readonly data: Buffer;
}

/** Compressed picture (JPEG, PNG or WebP bytes, as encoded). */
export interface Jpeg {
  readonly type: 'jpeg';
  readonly data: Buffer;
}

/** A crop of a box: RGB pixels like a Frame's. */
export interface Crop {
  readonly width: number;
  readonly height: number;
  readonly data: Buffer;
}

/** Facts by name: numbers, or short texts. Values from 0 to 1 are probabilities; one named `x_prob` is that of the text `x`. */
export type BoxAttributes = Readonly<Record<string, number | string>>;
/** Attributes of one box, and letters of a text among them. */
export const ATTRIBUTES_MAX = 16;
export const ATTRIBUTE_LETTERS_MAX = 64;
export const ATTRIBUTE_NAME = /^[a-z][a-z0-9_]{0,31}$/;

/** In one line: texts speak for themselves, numbers have their name before them, how sure a text is is left out. */
export function attributesText(attributes: BoxAttributes = {}): string {
  return Object.entries(attributes)
    .filter(([name]) => !name.endsWith('_prob'))
    .map(([name, value]) => (typeof value === 'string' ? value : `${name} ${Number(value.toFixed(2))}`))
    .join(' ');
}

/** One detection. x, y (top left), w, h in pixels of the frame that the source emitted. */
export interface Box {
  readonly label: string;
  /** 0..1 */
  readonly prob: number;
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
  /** Pixels of the box (detection) or the canonical, aligned face (align). */
  readonly crop?: Crop;
  /** Facial landmarks, [x, y] pairs in pixels of the frame. */
  readonly landmarks?: readonly (readonly [number, number])[];
  /** L2-normalised feature vector of the recogniser. */
  readonly embedding?: Float32Array;
  /** What models say of it beside the label: `age`, `gender`, `live`. */
  readonly attributes?: BoxAttributes;
  /** Why a box has no name or no crop, for example `too small to recognize`. */
  readonly note?: string;
}

/** Detections of one frame; frame_width and frame_height are the size of the frame that they refer to. */
export interface Boxes {
  readonly type: 'boxes';
  readonly frame_width: number;
  readonly frame_height: number;
  readonly boxes: readonly Box[];
}

/** Anything else, opaque to the runtime. */
export interface Bytes {
  readonly type: 'bytes';
  readonly data: Buffer;
}

export type Payload = Frame | Jpeg | Boxes | Bytes;
export type PayloadType = Payload['type'];
export const PAYLOAD_TYPES = ['frame', 'jpeg', 'boxes', 'bytes'] as const satisfies readonly PayloadType[];

/** A box as users read it (JSON lines, pages): no pixels. */
export interface BoxRecord {
  label: string;
  prob: number;
  x: number;
  y: number;
  w: number;
  h: number;
  note?: string;
  attributes?: Record<string, number | string>;
  embedding?: number[];
}

/**
 * Small facts that travel with a packet from the source to the sinks (at most METADATA_BYTES_MAX as JSON):
 * `input`: file name or address of the picture; `boxes`: what a draw handler drew, for sinks that record it.
 */
export interface PacketMetadata {
  input?: string;
  boxes?: BoxRecord[];
  [key: string]: unknown;
}

/** Why a packet ended before its sink. */
export type DropReason = 'queue' | 'late' | 'join' | 'error' | 'failover';

interface PacketHeader {
  /** Set by the source, increasing by one; unique in a session. */
  readonly sequence: number;
  /** When the source emitted it, seconds since the epoch (source's clock). */
  readonly timestamp: number;
  /** After this moment it is worthless (`latest`), seconds since the epoch; 0 = never. */
  readonly deadline: number;
}

export interface DataPacket extends PacketHeader {
  readonly kind: 'data';
  readonly payload: Payload;
  readonly metadata: PacketMetadata;
}

/**
 * Takes the place of a packet that was dropped, so that everything downstream knows at once that this sequence will not
 * come: joins need not wait, and the sink's ledger sums to what the source emitted.
 */
export interface DropPacket extends PacketHeader {
  readonly kind: 'drop';
  readonly reason: DropReason;
  /** handler_id of the handler where it ended. */
  readonly handler_id: number;
  readonly detail?: string;
}

/** The source has ended; `sequence` is one past the last one it emitted. Nothing follows. */
export interface EndPacket extends PacketHeader {
  readonly kind: 'end';
}

export type Packet = DataPacket | DropPacket | EndPacket;

/** `latest`: live, newest wins, bounded age. `all`: lossless, backpressure to the source. */
export type Delivery = 'latest' | 'all';
