/**
 * Bytes of a connection into frames, however they are cut. Each payload byte is copied once at most: into the buffer that
 * its packet will own; large payloads can be read straight into it (`readTarget` and `filled`, for sockets with `onread`).
 * Invariant: nothing is allocated for a length that was not checked, and chunks given to `push` are never kept.
 */
import { assembleFrame, type FramePrefix, type LinkFrame, PREFIX_BYTES, readPrefix } from './codec.js';
import { READ_SCRATCH_BYTES } from './link.js';

const EMPTY = Buffer.alloc(0);

/** A part of a frame that is being gathered. */
class Part {
  #filled = 0;
  constructor(readonly target: Buffer) {}

  get complete(): boolean {
    return this.#filled === this.target.length;
  }

  get rest(): Buffer {
    return this.target.subarray(this.#filled);
  }

  /** Copies what fits; returns how many bytes it took. */
  take(chunk: Buffer, offset: number): number {
    const count = Math.min(chunk.length - offset, this.target.length - this.#filled);
    chunk.copy(this.target, this.#filled, offset, offset + count);
    this.#filled += count;
    return count;
  }

  advance(count: number): void {
    this.#filled += count;
  }

  restart(): void {
    this.#filled = 0;
  }
}

export class FrameDecoder {
  readonly #onFrame: (frame: LinkFrame) => void;
  readonly #prefixPart = new Part(Buffer.alloc(PREFIX_BYTES));
  #prefix: FramePrefix | null = null;
  #metadata = new Part(EMPTY);
  #payload = new Part(EMPTY);
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
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#prefix === null) {
        const whole = this.#wholeFrame(chunk, offset);
        offset += whole > 0 ? whole : this.#takePrefix(chunk, offset);
      } else {
        offset += this.#metadata.complete ? this.#payload.take(chunk, offset) : this.#metadata.take(chunk, offset);
        this.#finish();
      }
    }
  }

  /** Where the next read should go: the rest of a large payload, or a scratch buffer. */
  readTarget(): Buffer {
    if (this.#prefix !== null && this.#metadata.complete) {
      const rest = this.#payload.rest;
      if (rest.length >= READ_SCRATCH_BYTES) return rest;
    }
    this.#scratch ??= Buffer.allocUnsafeSlow(READ_SCRATCH_BYTES);
    return this.#scratch;
  }

  /** `count` bytes were read into `target`, which `readTarget` gave. */
  filled(count: number, target: Uint8Array): void {
    if (this.#scratch !== null && target.buffer === this.#scratch.buffer) {
      this.push(this.#scratch.subarray(0, count));
    } else {
      this.#payload.advance(count);
      this.#finish();
    }
  }

  /** The quick way for small frames that lie complete in the chunk: no gathering. Returns bytes taken, 0 when not. */
  #wholeFrame(chunk: Buffer, offset: number): number {
    const left = chunk.length - offset;
    if (left < PREFIX_BYTES || this.#prefixPart.rest.length < PREFIX_BYTES) return 0;
    const prefix = readPrefix(chunk.subarray(offset, offset + PREFIX_BYTES));
    const bytes = PREFIX_BYTES + prefix.metadataBytes + prefix.payloadBytes;
    if (left < bytes) return 0;
    const metadataEnd = offset + PREFIX_BYTES + prefix.metadataBytes;
    const payload = Buffer.allocUnsafe(prefix.payloadBytes);
    chunk.copy(payload, 0, metadataEnd, offset + bytes);
    this.#completed += 1;
    this.#onFrame(assembleFrame(prefix, chunk.subarray(offset + PREFIX_BYTES, metadataEnd), payload));
    return bytes;
  }

  #takePrefix(chunk: Buffer, offset: number): number {
    const taken = this.#prefixPart.take(chunk, offset);
    if (this.#prefixPart.complete) {
      const prefix = readPrefix(this.#prefixPart.target);
      this.#prefixPart.restart();
      this.#prefix = prefix;
      this.#metadata = new Part(Buffer.allocUnsafe(prefix.metadataBytes));
      this.#payload = new Part(Buffer.allocUnsafe(prefix.payloadBytes));
      this.#finish();
    }
    return taken;
  }

  #finish(): void {
    if (this.#prefix === null || !this.#metadata.complete || !this.#payload.complete) return;
    const frame = assembleFrame(this.#prefix, this.#metadata.target, this.#payload.target);
    this.#prefix = null;
    this.#metadata = this.#payload = new Part(EMPTY);
    this.#completed += 1;
    this.#onFrame(frame);
  }
}
