/**
 * Memory for what comes in: small payloads are cut from slabs one after the other, large ones get memory of their own.
 * Nothing is filled with zeros; every byte is written before anybody sees it. Invariant: no byte is given out twice, so a
 * payload is its packet's own for as long as anybody holds it; the price is that one small payload keeps its slab.
 */

const SLAB_BYTES = 256 * 1024;

/** Payloads up to this are cut from slabs, bytes: a slab then serves at least eight. */
const CUT_BYTES_MAX = SLAB_BYTES / 8;

export class PayloadBuffers {
  #slab = Buffer.alloc(0);
  #used = 0;

  take(bytes: number): Buffer {
    if (bytes > CUT_BYTES_MAX) return Buffer.allocUnsafeSlow(bytes);
    if (this.#used + bytes > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#used = 0;
    }
    const from = this.#used;
    this.#used += bytes;
    return this.#slab.subarray(from, this.#used);
  }
}
