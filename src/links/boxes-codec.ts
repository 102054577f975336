/**
 * Boxes on the wire: JSON for what is small, pixels and embeddings behind it in one piece, found by offset.
 * Invariant: what `encodeBoxes` lets through, `decodeBoxes` accepts; otherwise one bad box would make a link reconnect
 * for ever. Decoded crops are views into the packet's own buffer.
 */
import { OrchestratorError } from '../contracts/errors.js';
import {
  ATTRIBUTE_LETTERS_MAX,
  ATTRIBUTE_NAME,
  ATTRIBUTES_MAX,
  type Box,
  type BoxAttributes,
  type Boxes,
} from '../contracts/packet.js';

interface WireBox {
  label: string;
  prob: number;
  x: number;
  y: number;
  w: number;
  h: number;
  note?: string;
  attributes?: BoxAttributes;
  landmarks?: (readonly [number, number])[];
  /** [width, height, offset] */
  crop?: [number, number, number];
  /** [length in floats, offset] */
  embedding?: [number, number];
}

export interface EncodedBoxes {
  readonly json: Buffer;
  readonly blobs: readonly Buffer[];
  readonly blobBytes: number;
}

export function encodeBoxes(payload: Boxes): EncodedBoxes {
  const blobs: Buffer[] = [];
  let offset = 0;
  const put = (blob: Buffer): number => {
    const at = offset;
    blobs.push(blob);
    offset += blob.length;
    return at;
  };
  const wire = payload.boxes.map((box, index) => encodeBox(box, index, put));
  return { json: Buffer.from(JSON.stringify(wire)), blobs, blobBytes: offset };
}

function encodeBox(box: Box, index: number, put: (blob: Buffer) => number): WireBox {
  const { label, prob, x, y, w, h, note, attributes, landmarks, crop, embedding } = box;
  for (const [name, value] of Object.entries({ prob, x, y, w, h })) {
    if (!Number.isFinite(value)) throw malformed(`box ${index}: ${name} is ${value}`);
  }
  const wire: WireBox = { label: String(label), prob, x, y, w, h };
  if (note !== undefined) wire.note = String(note);
  if (attributes !== undefined) wire.attributes = checkedAttributes(attributes, index);
  if (landmarks !== undefined) {
    if (!landmarks.every(isPoint)) throw malformed(`box ${index}: a landmark is not two finite numbers`);
    wire.landmarks = [...landmarks];
  }
  if (crop !== undefined) {
    const whole = Number.isSafeInteger(crop.width) && Number.isSafeInteger(crop.height);
    if (!whole || crop.data.length !== crop.width * crop.height * 3) {
      throw malformed(`box ${index}: a crop of ${crop.width}x${crop.height} has ${crop.data.length} bytes`);
    }
    wire.crop = [crop.width, crop.height, put(crop.data)];
  }
  if (embedding !== undefined) {
    const bytes = Buffer.from(embedding.buffer, embedding.byteOffset, embedding.byteLength);
    wire.embedding = [embedding.length, put(bytes)];
  }
  return wire;
}

/** `payload` is the JSON (its first `jsonBytes`) with the blobs behind it. */
export function decodeBoxes(payload: Buffer, jsonBytes: number, frameWidth: number, frameHeight: number): Boxes {
  const wire = parseJson(payload.subarray(0, jsonBytes));
  if (!Array.isArray(wire)) throw malformed('boxes are not an array');
  const blobs = payload.subarray(jsonBytes);
  const boxes = wire.map((box: unknown, index) => decodeBox(box, index, blobs));
  return { type: 'boxes', frame_width: frameWidth, frame_height: frameHeight, boxes };
}

function decodeBox(wire: unknown, index: number, blobs: Buffer): Box {
  if (typeof wire !== 'object' || wire === null) throw malformed(`box ${index} is not an object`);
  const known = wire as Partial<Record<keyof WireBox, unknown>>;
  const { label, prob, x, y, w, h, note, attributes, landmarks, crop, embedding } = known;
  if (typeof label !== 'string') throw malformed(`box ${index}: label is not a string`);
  if (![prob, x, y, w, h].every(Number.isFinite)) throw malformed(`box ${index}: a number is missing`);
  if (note !== undefined && typeof note !== 'string') throw malformed(`box ${index}: note is not a string`);
  if (landmarks !== undefined && !(Array.isArray(landmarks) && landmarks.every(isPoint))) {
    throw malformed(`box ${index}: landmarks are not pairs of numbers`);
  }
  return {
    label,
    prob: prob as number,
    x: x as number,
    y: y as number,
    w: w as number,
    h: h as number,
    ...(crop === undefined ? {} : { crop: decodeCrop(crop, index, blobs) }),
    ...(landmarks === undefined ? {} : { landmarks: landmarks as [number, number][] }),
    ...(embedding === undefined ? {} : { embedding: decodeEmbedding(embedding, index, blobs) }),
    ...(attributes === undefined ? {} : { attributes: checkedAttributes(attributes, index) }),
    ...(note === undefined ? {} : { note }),
  };
}

/** Of a peer or to be sent: the same rules, so that whatever leaves is taken. */
function checkedAttributes(attributes: unknown, index: number): BoxAttributes {
  if (typeof attributes !== 'object' || attributes === null || Array.isArray(attributes)) {
    throw malformed(`box ${index}: attributes are not an object`);
  }
  const entries = Object.entries(attributes);
  if (entries.length > ATTRIBUTES_MAX) {
    throw malformed(`box ${index}: has ${entries.length} attributes, at most ${ATTRIBUTES_MAX} are taken`);
  }
  for (const [name, value] of entries) {
    const fits = typeof value === 'string' ? value.length <= ATTRIBUTE_LETTERS_MAX : Number.isFinite(value);
    if (fits && ATTRIBUTE_NAME.test(name)) continue;
    const bound = `a name of ${ATTRIBUTE_NAME.source} with a number or at most ${ATTRIBUTE_LETTERS_MAX} letters`;
    throw malformed(`box ${index}: attribute ${JSON.stringify(name).slice(0, 40)} is not ${bound}`);
  }
  return attributes as BoxAttributes;
}

function decodeCrop(wire: unknown, index: number, blobs: Buffer): NonNullable<Box['crop']> {
  const [width, height, offset] = counts(wire, 3, `box ${index}: crop`) as [number, number, number];
  return { width, height, data: slice(blobs, offset, width * height * 3, `box ${index}: crop`) };
}

/** Copied: a Float32Array must start at a multiple of four bytes. */
function decodeEmbedding(wire: unknown, index: number, blobs: Buffer): Float32Array {
  const [length, offset] = counts(wire, 2, `box ${index}: embedding`) as [number, number];
  const bytes = slice(blobs, offset, length * 4, `box ${index}: embedding`);
  const embedding = new Float32Array(length);
  Buffer.from(embedding.buffer).set(bytes);
  return embedding;
}

function slice(blobs: Buffer, offset: number, length: number, what: string): Buffer {
  if (offset + length > blobs.length) throw malformed(`${what} of ${length} bytes at ${offset} of ${blobs.length}`);
  return blobs.subarray(offset, offset + length);
}

function counts(wire: unknown, length: number, what: string): number[] {
  if (Array.isArray(wire) && wire.length === length && wire.every((n) => Number.isSafeInteger(n) && n >= 0))
    return wire;
  throw malformed(`${what} is not ${length} counts`);
}

function isPoint(point: unknown): point is readonly [number, number] {
  return Array.isArray(point) && point.length === 2 && point.every(Number.isFinite);
}

/** JSON of a peer, or LINK_PROTOCOL. */
export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw malformed(`JSON of ${bytes.length} bytes: ${(error as Error).message}`);
  }
}

function malformed(message: string): OrchestratorError {
  return new OrchestratorError('LINK_PROTOCOL', message);
}
