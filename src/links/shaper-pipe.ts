/**
 * One direction of a shaped connection: what comes from one socket leaves for the other after it has waited for its turn
 * at the path's rate, and then for the path's delay. Order and content are kept, whatever the jitter.
 * Invariant: at most `queueBytes` and one read more are held; beyond it the reading stops, which the writer feels as
 * backpressure. Frozen, nothing is read, passed on or closed, as if the cable were out; thawed, it goes on where it was.
 */
import type { Socket } from 'node:net';

/** The rate of one direction of a path, shared by all its connections: bytes leave one after the other. */
export class Pacer {
  #freeAtMs = Number.NEGATIVE_INFINITY;

  /** `bytesPerMs`: Infinity for no limit. */
  constructor(readonly bytesPerMs: number) {}

  /** When the last of `bytes` that are offered at `nowMs` has left, ms. */
  leavesAtMs(bytes: number, nowMs: number): number {
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + bytes / this.bytesPerMs;
    return this.#freeAtMs;
  }
}

export interface PipeOptions {
  readonly from: Socket;
  readonly to: Socket;
  readonly pacer: Pacer;
  readonly delayMs: number;
  readonly jitterMs: number;
  readonly queueBytes: number;
  /** The first bytes arrive no earlier than they could behind the connection's own handshake, ms of performance.now(). */
  readonly notBeforeMs: number;
  /** `onCut` is called once this many bytes have been written; Infinity: never. */
  readonly cutAfterBytes: number;
  readonly random: () => number;
  onPassed(bytes: number): void;
  onCut(): void;
}

interface Held {
  /** Null: the end of the stream. */
  readonly chunk: Buffer | null;
  readonly dueMs: number;
}

/** A read is cut into pieces of at least this, bytes: a packet of Ethernet; larger at rates where it takes under 1 ms. */
const PIECE_BYTES_MIN = 1500;

export class Pipe {
  readonly #options: PipeOptions;
  readonly #held: Held[] = [];
  #heldBytes = 0;
  #passedBytes = 0;
  #lastDueMs: number;
  #timer: NodeJS.Timeout | null = null;
  #draining = false;
  #frozen = false;
  #cut = false;

  constructor(options: PipeOptions) {
    this.#options = options;
    this.#lastDueMs = options.notBeforeMs;
    options.from.on('data', (chunk: Buffer) => this.#take(chunk));
    options.from.on('end', () => this.#hold(null, performance.now()));
    options.to.on('drain', () => {
      this.#draining = false;
      this.#pass();
    });
    options.from.resume();
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  freeze(): void {
    this.#frozen = true;
    this.#options.from.pause();
  }

  thaw(): void {
    this.#frozen = false;
    this.#pass();
  }

  close(): void {
    this.#cut = true;
    this.#held.length = this.#heldBytes = 0;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #take(chunk: Buffer): void {
    const { pacer, delayMs, jitterMs, random } = this.#options;
    const pieceBytes = Math.max(PIECE_BYTES_MIN, Math.floor(pacer.bytesPerMs));
    const nowMs = performance.now();
    for (let start = 0; start < chunk.length; start += pieceBytes) {
      const piece = chunk.subarray(start, start + pieceBytes);
      this.#hold(piece, pacer.leavesAtMs(piece.length, nowMs) + delayMs + jitterMs * random());
    }
  }

  #hold(chunk: Buffer | null, dueMs: number): void {
    if (this.#cut) return;
    this.#lastDueMs = Math.max(this.#lastDueMs, dueMs);
    this.#held.push({ chunk, dueMs: this.#lastDueMs });
    this.#heldBytes += chunk?.length ?? 0;
    this.#pass();
  }

  /** Writes what is due, and comes again when the next is. */
  #pass(): void {
    while (!this.#waits() && this.#held[0]!.dueMs <= performance.now()) this.#write(this.#held.shift()!.chunk);
    this.#regulate();
    if (this.#timer !== null || this.#waits()) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#pass();
      },
      Math.max(0, this.#held[0]!.dueMs - performance.now()),
    );
  }

  #waits(): boolean {
    return this.#cut || this.#frozen || this.#draining || this.#held.length === 0;
  }

  #write(chunk: Buffer | null): void {
    const { to, cutAfterBytes, onPassed, onCut } = this.#options;
    if (chunk === null) {
      to.end();
      return;
    }
    this.#heldBytes -= chunk.length;
    const left = cutAfterBytes - this.#passedBytes;
    const bytes = Math.min(chunk.length, left);
    this.#passedBytes += bytes;
    onPassed(bytes);
    this.#cut = bytes === left;
    this.#draining = !to.write(chunk.subarray(0, bytes), this.#cut ? () => onCut() : undefined);
  }

  #regulate(): void {
    const { from, queueBytes } = this.#options;
    if (this.#cut || this.#frozen) return;
    if (this.#heldBytes >= queueBytes) from.pause();
    else if (from.isPaused()) from.resume();
  }
}
