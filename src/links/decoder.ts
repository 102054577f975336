/**
 * Bytes of a connection into frames, however they are cut. Each payload byte is copied once at most: into the buffer that
 * its packet will own; large payloads are read straight into it (`readTarget` and `filled`, for sockets with `onread`).
 * A read into a large payload may run a little beyond it, into room that belongs to nobody: there it finds the next
 * frame's prefix, so that a stream of large packets costs one read for each and is not copied at all. The memory of a
 * large payload is lent: `release` of its frame gives it back.
 * Invariant: nothing is allocated for a length that was not checked, and chunks given to `push` are never kept.
 */
import { assembleFrame, type LinkFrame } from './codec.js';
import { READ_SCRATCH_BYTES } from './link.js';
import { LENT_BYTES_MIN, PayloadBuffers } from './payload-buffers.js';
import { type FramePrefix, PREFIX_BYTES, readPrefix } from './prefix.js';

const EMPTY: Buffer = Buffer.alloc(0);

/** Room behind a large payload, bytes: the next prefix and the metadata that most packets have. */
const READ_AHEAD_BYTES = 512;

export class FrameDecoder {
  readonly #onFrame: (frame: LinkFrame) => void;
  readonly #buffers = new PayloadBuffers();
  /** A prefix that came in parts. */
  readonly #gathered = Buffer.alloc(PREFIX_BYTES);
  readonly #gatheredView = new DataView(this.#gathered.buffer, this.#gathered.byteOffset, PREFIX_BYTES);
  #gatheredBytes = 0;
  /** The frame that is being read; null between frames. */
  #prefix: FramePrefix | null = null;
  #metadata = EMPTY;
  #metadataFilled = 0;
  /** The payload's memory, and behind it the room to read ahead, if it has that. */
  #body = EMPTY;
  #bodyFilled = 0;
  #release: (() => void) | undefined;
  #scratch: Buffer | null = null;
  #completed = 0;

  constructor(onFrame: (frame: LinkFrame) => void) {
    this.#onFrame = onFrame;
  }

  /** Frames completed so far. */
  get completed(): number {
    return this.#completed;
  }

  /** A frame's prefix is known and the rest of it is not all there. */
  get inFrame(): boolean {
    return this.#prefix !== null;
  }

  /** Takes the next bytes; calls back for each complete frame. Throws LINK_PROTOCOL; the connection is then useless. */
  push(chunk: Buffer): void {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#prefix !== null) offset = this.#takeBody(chunk, offset);
      else if (this.#gatheredBytes === 0 && chunk.length - offset >= PREFIX_BYTES) {
        this.#begin(readPrefix(view, offset));
        offset += PREFIX_BYTES;
      } else offset = this.#gatherPrefix(chunk, offset);
    }
  }

  /** Where the next read should go: the rest of a large payload, or a scratch buffer. */
  readTarget(): Buffer {
    if (this.#inPlace()) return this.#body.subarray(this.#bodyFilled);
    this.#scratch ??= Buffer.allocUnsafeSlow(READ_SCRATCH_BYTES);
    return this.#scratch;
  }

  /** `count` bytes were read into `target`, which `readTarget` gave. */
  filled(count: number, target: Uint8Array): void {
    if (this.#scratch !== null && target.buffer === this.#scratch.buffer) {
      this.push(this.#scratch.subarray(0, count));
      return;
    }
    const body = this.#body;
    const payloadBytes = this.#prefix!.payloadBytes;
    const end = this.#bodyFilled + count;
    this.#bodyFilled = Math.min(end, payloadBytes);
    this.#finish();
    if (end > payloadBytes) this.push(body.subarray(payloadBytes, end));
  }

  /** Down to the last byte: the room behind it takes what comes next. */
  #inPlace(): boolean {
    if (this.#prefix === null || this.#metadataFilled < this.#metadata.length) return false;
    return this.#prefix.payloadBytes >= LENT_BYTES_MIN;
  }

  #begin(prefix: FramePrefix): void {
    const { metadataBytes, payloadBytes } = prefix;
    this.#prefix = prefix;
    this.#metadata = metadataBytes === 0 ? EMPTY : Buffer.allocUnsafe(metadataBytes);
    if (payloadBytes >= LENT_BYTES_MIN) {
      const { bytes, release } = this.#buffers.lend(payloadBytes + READ_AHEAD_BYTES);
      this.#body = bytes;
      this.#release = release;
    } else {
      this.#body = payloadBytes === 0 ? EMPTY : this.#buffers.cut(payloadBytes);
      this.#release = undefined;
    }
    this.#metadataFilled = this.#bodyFilled = 0;
    this.#finish();
  }

  #gatherPrefix(chunk: Buffer, offset: number): number {
    const end = Math.min(chunk.length, offset + PREFIX_BYTES - this.#gatheredBytes);
    this.#gathered.set(chunk.subarray(offset, end), this.#gatheredBytes);
    this.#gatheredBytes += end - offset;
    if (this.#gatheredBytes === PREFIX_BYTES) {
      this.#gatheredBytes = 0;
      this.#begin(readPrefix(this.#gatheredView, 0));
    }
    return end;
  }

  /** Copies what fits; returns where it ended. */
  #takeBody(chunk: Buffer, offset: number): number {
    const metadataEnd = Math.min(chunk.length, offset + this.#metadata.length - this.#metadataFilled);
    if (metadataEnd > offset) {
      this.#metadata.set(chunk.subarray(offset, metadataEnd), this.#metadataFilled);
      this.#metadataFilled += metadataEnd - offset;
    }
    const end = Math.min(chunk.length, metadataEnd + this.#prefix!.payloadBytes - this.#bodyFilled);
    if (end > metadataEnd) {
      this.#body.set(chunk.subarray(metadataEnd, end), this.#bodyFilled);
      this.#bodyFilled += end - metadataEnd;
    }
    this.#finish();
    return end;
  }

  #finish(): void {
    const prefix = this.#prefix!;
    if (this.#metadataFilled < this.#metadata.length || this.#bodyFilled < prefix.payloadBytes) return;
    const body = this.#body;
    const payload = body.length === prefix.payloadBytes ? body : body.subarray(0, prefix.payloadBytes);
    const frame = assembleFrame(prefix, this.#metadata, payload, this.#release);
    this.#prefix = null;
    this.#metadata = this.#body = EMPTY;
    this.#completed += 1;
    this.#onFrame(frame);
  }
}
