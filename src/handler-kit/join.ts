/**
 * The inputs of one handler: joins them by equal sequence and queues what is ready for it.
 *
 * Each input counts strictly upwards and accounts for every sequence, so a missing partner is known at once: by its
 * marker, or because that input is already beyond. What is complete waits in `ready`, what has no partner yet waits at
 * its input.
 * Bounds. `latest`: LATEST_QUEUE_PACKETS complete sets (the oldest becomes a `queue` drop), and at each input of a join
 * JOIN_WAIT_PACKETS without a partner (the oldest becomes a `join` drop): a slow branch costs packets of the fast one,
 * never a stall. `all`: the senders' windows bound both, and nothing is dropped. Where inputs differ, sets are kept as
 * under `all`, and what waits too long at a `latest` input still ends as a `join` drop.
 * Invariant: `take` gives each sequence exactly once, in order, as a set, in a drop, or in a skip.
 */
import { OrchestratorError } from '../contracts/errors.js';
import { LATEST_QUEUE_PACKETS, LINK_WINDOW_BYTES, LINK_WINDOW_SMALL_PACKETS } from '../contracts/limits.js';
import type { DataPacket, Delivery, DropReason, EndPacket } from '../contracts/packet.js';
import { packetBytes } from '../links/codec.js';
import { firstOf, type LinkDrop, type LinkPacket, type SkipPacket } from '../links/link.js';
import { mergeMarkers } from '../links/retained.js';
import type { Clock } from '../std/clock.js';

/** One packet per input, all of one sequence. */
export interface JoinedSet {
  readonly kind: 'set';
  readonly sequence: number;
  readonly packets: readonly DataPacket[];
  /** When it was complete, monotonic ms. */
  readonly readyMs: number;
}

export type Outcome = JoinedSet | LinkDrop | SkipPacket | EndPacket;

/** Packets at one input of a join that wait for their partner under `latest`: the slow branch may be 2 s behind at 30 fps. */
export const JOIN_WAIT_PACKETS = 64;

/** Entries at one input under `all`; a sender that keeps to its window stays below, one that does not is cut off. */
const INPUT_PACKETS_MAX = 4 * LINK_WINDOW_SMALL_PACKETS;

export interface JoinOptions {
  readonly inputs: number;
  readonly handlerId: number;
  /** Of every input until `setDelivery` says otherwise. */
  readonly delivery: Delivery;
  readonly clock: Clock;
  /** A packet was dropped here. */
  onDropped?(reason: DropReason): void;
}

/** What waits at one input, in order. */
class InputQueue {
  readonly #packets: LinkPacket[] = [];
  data = 0;
  bytes = 0;

  constructor(public delivery: Delivery) {}

  get head(): LinkPacket | undefined {
    return this.#packets[0];
  }

  get size(): number {
    return this.#packets.length;
  }

  push(packet: LinkPacket): void {
    this.#packets.push(packet);
    this.#count(packet, 1);
  }

  /** Removes everything up to and including `sequence`; returns the data packet of that sequence. */
  takeUpTo(sequence: number): LinkPacket | undefined {
    let taken: LinkPacket | undefined;
    for (let head = this.head; head !== undefined && head.kind !== 'end'; head = this.head) {
      if (firstOf(head) > sequence) return taken;
      taken = head;
      if (head.sequence > sequence) {
        this.#packets[0] = { ...head, first: sequence + 1 } as LinkPacket;
        return taken;
      }
      this.#packets.shift();
      this.#count(head, -1);
    }
    return taken;
  }

  #count(packet: LinkPacket, sign: number): void {
    if (packet.kind !== 'data') return;
    this.data += sign;
    this.bytes += sign * packetBytes(packet);
  }
}

export class Join {
  readonly #options: JoinOptions;
  readonly #inputs: InputQueue[];
  readonly #ready: Outcome[] = [];
  #readySets = 0;
  /** Everything at or below it has its outcome. */
  #resolved = -1;
  #ended = false;

  constructor(options: JoinOptions) {
    this.#options = options;
    this.#inputs = Array.from({ length: options.inputs }, () => new InputQueue(options.delivery));
  }

  /** Packets that wait: complete sets and packets without a partner. */
  get waiting(): number {
    return this.#inputs.reduce((sum, input) => sum + input.data, this.#readySets);
  }

  get readySets(): number {
    return this.#readySets;
  }

  get idle(): boolean {
    return this.#ready.length === 0 && this.#inputs.every((input) => input.size === 0);
  }

  /** What the link of an input promises. */
  setDelivery(index: number, delivery: Delivery): void {
    this.#inputs[index]!.delivery = delivery;
  }

  /** Throws LINK_PROTOCOL when the peer sent more than its window allows. */
  accept(index: number, packet: LinkPacket): void {
    if (this.#ended) return;
    const input = this.#inputs[index]!;
    if (input.delivery === 'all' && input.size + this.#readySets >= INPUT_PACKETS_MAX) {
      throw new OrchestratorError('LINK_PROTOCOL', `${input.size} packets at input ${index}: the window was ignored`);
    }
    input.push(packet);
    this.#resolve();
  }

  take(): Outcome | undefined {
    const outcome = this.#ready.shift();
    if (outcome?.kind === 'set') this.#readySets -= 1;
    return outcome;
  }

  /** Everything up to `sequence` is settled already: what waits of it is let go without an outcome. */
  raiseFloor(sequence: number): void {
    for (let head = this.#ready[0]; head !== undefined && head.kind !== 'end' && head.sequence <= sequence; ) {
      this.take();
      head = this.#ready[0];
    }
    if (sequence <= this.#resolved) return;
    this.#resolved = sequence;
    this.#resolve();
  }

  #resolve(): void {
    while (!this.#ended && this.#resolveNext()) {
      // Each turn settles the outcome of one sequence.
    }
    this.#boundReady();
  }

  /** Decides the lowest sequence that waits. False when there is none, or when its partners may still come. */
  #resolveNext(): boolean {
    let lowest = Number.POSITIVE_INFINITY;
    let absent = 0;
    let ends = 0;
    let marker: LinkDrop | SkipPacket | undefined;
    for (const input of this.#inputs) {
      input.takeUpTo(this.#resolved);
      const head = input.head;
      if (head === undefined) absent += 1;
      else if (head.kind === 'end') ends += 1;
      else lowest = Math.min(lowest, firstOf(head));
    }
    if (ends === this.#inputs.length && ends > 0) return this.#end();
    if (lowest === Number.POSITIVE_INFINITY) return false;
    for (const { head } of this.#inputs) {
      if (head === undefined || head.kind === 'data' || head.kind === 'end' || firstOf(head) > lowest) continue;
      if (marker === undefined || marker.kind === 'skip') marker = head;
    }
    const known = absent === 0 || ends > 0 || marker !== undefined;
    if (!known && !this.#waitedTooLong(lowest)) return false;
    this.#decide(lowest, marker);
    return true;
  }

  #decide(sequence: number, marker: LinkDrop | SkipPacket | undefined): void {
    const packets: DataPacket[] = [];
    let example: LinkPacket | undefined = marker;
    for (const input of this.#inputs) {
      const packet = input.takeUpTo(sequence);
      if (packet?.kind === 'data') packets.push(packet);
      example ??= packet;
    }
    this.#resolved = sequence;
    if (marker !== undefined) {
      this.#append({ ...marker, sequence, first: sequence });
    } else if (packets.length === this.#inputs.length) {
      this.#readySets += 1;
      this.#ready.push({ kind: 'set', sequence, packets, readyMs: this.#options.clock.monotonicMs() });
    } else {
      this.#options.onDropped?.('join');
      this.#append(this.#drop(example!, sequence, 'join'));
    }
  }

  #drop(of: { timestamp: number; deadline: number }, sequence: number, reason: DropReason): LinkDrop {
    const { timestamp, deadline } = of;
    return { kind: 'drop', sequence, timestamp, deadline, reason, handler_id: this.#options.handlerId };
  }

  #append(marker: LinkDrop | SkipPacket): void {
    const before = this.#ready.at(-1);
    const merged = before === undefined || before.kind === 'set' ? undefined : mergeMarkers(before, marker);
    if (merged === undefined) this.#ready.push(marker);
    else this.#ready[this.#ready.length - 1] = merged as LinkDrop | SkipPacket;
  }

  #end(): boolean {
    const ends = this.#inputs.map((input) => input.head as EndPacket);
    this.#ended = true;
    this.#ready.push(ends.reduce((latest, end) => (end.sequence > latest.sequence ? end : latest)));
    return false;
  }

  /** `latest`: nobody waits for a partner beyond the bounds, or beyond the packet's own deadline. */
  #waitedTooLong(sequence: number): boolean {
    return this.#inputs.some(({ head, data, bytes, delivery }) => {
      if (delivery === 'all' || head?.kind !== 'data' || head.sequence !== sequence) return false;
      if (data > JOIN_WAIT_PACKETS || bytes > LINK_WINDOW_BYTES) return true;
      return head.deadline > 0 && this.#options.clock.now() > head.deadline;
    });
  }

  #boundReady(): void {
    if (this.#readySets <= LATEST_QUEUE_PACKETS || this.#inputs.some(({ delivery }) => delivery === 'all')) return;
    while (this.#readySets > LATEST_QUEUE_PACKETS) {
      const index = this.#ready.findIndex((outcome) => outcome.kind === 'set');
      const oldest = this.#ready[index] as JoinedSet;
      this.#ready[index] = this.#drop(oldest.packets[0]!, oldest.sequence, 'queue');
      this.#readySets -= 1;
      this.#options.onDropped?.('queue');
      this.#mergeAround(index);
    }
  }

  #mergeAround(index: number): void {
    for (const at of [index + 1, index]) {
      const before = this.#ready[at - 1];
      const after = this.#ready[at];
      if (before === undefined || after === undefined || before.kind === 'set' || after.kind === 'set') continue;
      const merged = mergeMarkers(before, after);
      if (merged !== undefined) this.#ready.splice(at - 1, 2, merged as Outcome);
    }
  }
}
