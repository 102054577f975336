/**
 * The packets that a sender may still have to send (again), in order: the first `written` of them are on the connection,
 * the others wait. Runs of drop markers are merged, so that a peer that is away for hours costs a few objects, not one
 * per frame. Invariant: every sequence handed to `push` is in exactly one entry until it is forgotten.
 */
import type { DataPacket, DropReason } from '../contracts/packet.js';
import { packetBytes } from './codec.js';
import { firstOf, type LinkDrop, type LinkPacket, MARKER_RUNS_MAX, type SkipPacket } from './link.js';

interface Entry {
  readonly packet: LinkPacket;
  readonly bytes: number;
}

export class Retained {
  readonly #entries: Entry[] = [];
  readonly #handlerId: number;
  #written = 0;
  #bytes = 0;
  #writtenBytes = 0;
  #waitingData = 0;

  /** `handlerId`: the handler that the queue belongs to, named in the drop markers made here. */
  constructor(handlerId: number) {
    this.#handlerId = handlerId;
  }

  get size(): number {
    return this.#entries.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** On the connection and not yet acknowledged. */
  get written(): number {
    return this.#written;
  }

  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Data packets that wait to be written. */
  get waitingData(): number {
    return this.#waitingData;
  }

  push(packet: LinkPacket): void {
    this.#insert(this.#entries.length, packet);
    if (packet.kind === 'data') this.#waitingData += 1;
    else this.#mergeAt(this.#entries.length - 1);
    this.#boundRuns();
  }

  /** The next packet to write, if any. */
  next(): LinkPacket | undefined {
    return this.#entries[this.#written]?.packet;
  }

  /** The packet that `next` gave is on the connection. */
  wrote(): void {
    if (this.next()?.kind === 'data') this.#waitingData -= 1;
    this.#writtenBytes += this.#entries[this.#written]!.bytes;
    this.#written += 1;
  }

  /** The packet that `next` gave ends here; its marker takes its place. */
  dropNext(reason: DropReason, detail?: string): LinkDrop | undefined {
    const packet = this.next();
    return packet?.kind === 'data' ? this.#dropAt(this.#written, packet, reason, detail) : undefined;
  }

  /** The oldest data packet that waits becomes a marker; undefined when none waits. */
  dropOldestWaiting(reason: DropReason): LinkDrop | undefined {
    for (let index = this.#written; index < this.#entries.length; index++) {
      const { packet } = this.#entries[index]!;
      if (packet.kind !== 'data') continue;
      const marker = this.#dropAt(index, packet, reason);
      this.#mergeAt(index + 1);
      this.#mergeAt(index);
      return marker;
    }
    return undefined;
  }

  /** The connection is gone: everything that was not forgotten waits again. */
  rewind(): void {
    this.#written = this.#writtenBytes = 0;
    this.#waitingData = 0;
    for (const { packet } of this.#entries) if (packet.kind === 'data') this.#waitingData += 1;
  }

  /** Forgets what lies at or below `sequence`; of a run that reaches beyond, the rest is kept. */
  forget(sequence: number): void {
    let count = 0;
    for (const { packet, bytes } of this.#entries) {
      if (packet.sequence > sequence) break;
      if (count < this.#written) this.#writtenBytes -= bytes;
      else if (packet.kind === 'data') this.#waitingData -= 1;
      this.#bytes -= bytes;
      count += 1;
    }
    this.#entries.splice(0, count);
    this.#written = Math.max(0, this.#written - count);
    const head = this.#entries[0];
    if (head !== undefined && head.packet.kind !== 'data' && firstOf(head.packet) <= sequence) {
      this.#entries[0] = { ...head, packet: { ...head.packet, first: sequence + 1 } as LinkPacket };
    }
  }

  clear(): void {
    this.#entries.length = 0;
    this.#written = this.#writtenBytes = this.#waitingData = this.#bytes = 0;
  }

  #insert(index: number, packet: LinkPacket): void {
    const bytes = packetBytes(packet);
    this.#entries[index] = { packet, bytes };
    this.#bytes += bytes;
  }

  #dropAt(index: number, packet: DataPacket, reason: DropReason, detail?: string): LinkDrop {
    const { sequence, timestamp, deadline } = packet;
    const header = { kind: 'drop', sequence, timestamp, deadline, reason, handler_id: this.#handlerId } as const;
    const marker: LinkDrop = detail === undefined ? header : { ...header, detail };
    this.#bytes -= this.#entries[index]!.bytes;
    this.#insert(index, marker);
    this.#waitingData -= 1;
    return marker;
  }

  /** Joins the marker at `index` to the one before it when both wait, have one cause and lie side by side. */
  #mergeAt(index: number): void {
    if (index - 1 < this.#written) return;
    const before = this.#entries[index - 1];
    const entry = this.#entries[index];
    if (before === undefined || entry === undefined) return;
    const merged = mergeMarkers(before.packet, entry.packet);
    if (merged === undefined) return;
    this.#bytes -= before.bytes;
    this.#entries.splice(index - 1, 2, { packet: merged, bytes: entry.bytes });
  }

  /** Causes that alternate for hours: the two oldest runs become one, a drop if one of them was, under the later cause. */
  #boundRuns(): void {
    if (this.#entries.length - this.#written <= MARKER_RUNS_MAX) return;
    for (let index = this.#written + 1; index < this.#entries.length; index++) {
      const before = this.#entries[index - 1]!;
      const after = this.#entries[index]!;
      if (!isMarker(before.packet) || !isMarker(after.packet)) continue;
      const cause = after.packet.kind === 'skip' ? before.packet : after.packet;
      const packet = { ...cause, first: firstOf(before.packet), sequence: after.packet.sequence };
      this.#bytes -= before.bytes;
      this.#entries.splice(index - 1, 2, { packet, bytes: after.bytes });
      return;
    }
  }
}

function isMarker(packet: LinkPacket): packet is LinkDrop | SkipPacket {
  return packet.kind === 'drop' || packet.kind === 'skip';
}

/** Two markers as one run, when they have the same cause and nothing lies between them. */
export function mergeMarkers(before: LinkPacket, after: LinkPacket): LinkPacket | undefined {
  if (before.sequence + 1 !== firstOf(after)) return undefined;
  if (before.kind === 'skip' && after.kind === 'skip') return { ...after, first: firstOf(before) };
  if (before.kind !== 'drop' || after.kind !== 'drop') return undefined;
  const sameCause =
    before.reason === after.reason && before.handler_id === after.handler_id && before.detail === after.detail;
  return sameCause ? { ...after, first: firstOf(before) } : undefined;
}
