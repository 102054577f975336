/**
 * Gives the memory of input packets back to the link that brought them, for a handler that says that it lets go of them.
 * Invariant: only memory that came over a link to this very handler, and in which none of its outputs lies; whatever
 * passes by reference may still be held by others.
 */
import type { DataPacket, Payload } from '../contracts/packet.js';
import type { Arrival } from '../links/link.js';

export class InputMemory {
  /** A packet that is dropped before it is processed takes its entry with it. */
  readonly #release = new WeakMap<DataPacket, () => void>();

  arrived(packet: DataPacket, { release }: Arrival): void {
    if (release !== undefined) this.#release.set(packet, release);
  }

  processed(packets: readonly DataPacket[], outputs: readonly (Payload | null)[]): void {
    for (const packet of packets) {
      const release = this.#release.get(packet);
      if (release === undefined) continue;
      const lent = new Set(memoryOf(packet.payload));
      const kept = outputs.some((output) => output !== null && [...memoryOf(output)].some((one) => lent.has(one)));
      if (!kept) release();
    }
  }
}

function* memoryOf(payload: Payload): Generator<ArrayBufferLike> {
  if (payload.type !== 'boxes') {
    yield payload.data.buffer;
    return;
  }
  for (const { crop, embedding } of payload.boxes) {
    if (crop !== undefined) yield crop.data.buffer;
    if (embedding !== undefined) yield embedding.buffer;
  }
}
