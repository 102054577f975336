/**
 * Memory for what comes in. Small payloads are cut from slabs one after the other. Large ones are lent: who took the
 * packet may give its memory back once nobody holds any of it, and the next packet of about that size is read into it;
 * otherwise a stream of raw frames costs as much in page faults and collections as in copying. Giving back is never
 * owed: memory that is not given back is collected like any other.
 * Invariants: no byte belongs to two packets at once; nothing is filled with zeros, because every byte is written before
 * anybody sees it; at most FREE_BYTES_MAX wait to be used again. The price of slabs is that one small payload keeps its own.
 */

const SLAB_BYTES = 256 * 1024;

/** Payloads from here on are lent, bytes. */
export const LENT_BYTES_MIN = 8 * 1024;

/** Memory that waits to be used again, bytes: nine raw 640x480 frames. */
const FREE_BYTES_MAX = 8 * 1024 * 1024;

export interface LentMemory {
  readonly bytes: Buffer;
  /** Gives it back; again is no error. */
  release(): void;
}

export class PayloadBuffers {
  #slab: Buffer = Buffer.alloc(0);
  #used = 0;
  readonly #free = new Map<number, Buffer[]>();
  #freeBytes = 0;

  /** For less than LENT_BYTES_MIN. */
  cut(bytes: number): Buffer {
    if (this.#used + bytes > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#used = 0;
    }
    const from = this.#used;
    this.#used += bytes;
    return this.#slab.subarray(from, this.#used);
  }

  lend(bytes: number): LentMemory {
    const size = sizeClass(bytes);
    const free = this.#free.get(size)?.pop();
    if (free !== undefined) this.#freeBytes -= size;
    const memory = free ?? Buffer.allocUnsafeSlow(size);
    let lent = true;
    return {
      bytes: memory.subarray(0, bytes),
      release: () => {
        if (lent) this.#takeBack(memory);
        lent = false;
      },
    };
  }

  #takeBack(memory: Buffer): void {
    if (this.#freeBytes + memory.length > FREE_BYTES_MAX) return;
    this.#freeBytes += memory.length;
    const same = this.#free.get(memory.length);
    if (same === undefined) this.#free.set(memory.length, [memory]);
    else same.push(memory);
  }
}

/** Sizes are rounded up to a quarter of their power of two, so that pictures of like sizes share memory. */
function sizeClass(bytes: number): number {
  const step = 2 ** Math.max(0, Math.floor(Math.log2(bytes)) - 2);
  return Math.ceil(bytes / step) * step;
}
