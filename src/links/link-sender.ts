/**
 * The end of a link at its source handler. It keeps what the other end may need again, writes as credit allows, and is
 * dialled by the receiver; it never dials.
 *
 *   detached --attach (the receiver dialled)--> attached --closed, or a newer attach--> detached
 *   any --close--> closed
 *   detached  packets are kept (`all`: until the window is full; `latest`: the newest few, the others become markers)
 *   attached  what is above the peer's `after` is written in order, again if need be
 *   closed    everything is forgotten
 *
 * Invariants. `all`: a packet is forgotten only when the peer says that it is settled down to the last sink, and at most
 * a window of packets is kept, because the caller awaits `room()`. `latest`: a packet is forgotten when the peer has
 * received it; what has no credit is bounded and its oldest data packet becomes a drop marker.
 * The surprise: acknowledgements may run ahead of what was sent (a join learns from another input that a sequence is
 * lost); packets at or below them are not sent at all.
 */
import { OrchestratorError } from '../contracts/errors.js';
import {
  LATEST_QUEUE_PACKETS,
  LATEST_WINDOW_PACKETS,
  LINK_WINDOW_BYTES,
  LINK_WINDOW_PACKETS,
  LINK_WINDOW_SMALL_BYTES,
  LINK_WINDOW_SMALL_PACKETS,
} from '../contracts/limits.js';
import type { DataPacket, Delivery, DropReason } from '../contracts/packet.js';
import type { Clock } from '../std/clock.js';
import { type Deferred, deferred } from '../std/deferred.js';
import {
  firstOf,
  type LinkAck,
  type LinkHello,
  type LinkPacket,
  type OutgoingChannel,
  type OutgoingEvents,
} from './link.js';
import { Retained } from './retained.js';

export interface LinkSenderOptions {
  /** handler_id of the source handler: drops made here are its own. */
  readonly handlerId: number;
  readonly delivery: Delivery;
  readonly clock: Clock;
  /** What lies at or below it was settled before this sender began; -1 = nothing. */
  readonly settled?: number;
  readonly windowPackets?: number;
  readonly windowBytes?: number;
  readonly queuePackets?: number;
  /** Everything at or below is settled (`all`) or received (`latest`) at the other end. Grows only. */
  onSettled?(sequence: number): void;
  /** A data packet was written for the first time; `bytes` is null by reference. */
  onSent?(packet: DataPacket, bytes: number | null): void;
  onDropped?(reason: DropReason): void;
  /** The other end connected and said what it already has. */
  onAttached?(hello: LinkHello): void;
  /** The connection was cut by the other end or on the way, or nothing is heard on it: the peer may be gone. */
  onDoubt?(): void;
}

export class LinkSender {
  readonly #options: LinkSenderOptions;
  readonly #retained: Retained;
  readonly #windowPackets: number;
  readonly #windowBytes: number;
  /** Under `all`, while they are small. */
  readonly #smallPackets: number;
  readonly #queuePackets: number;
  #channel: OutgoingChannel | null = null;
  #settled: number;
  #last: number;
  #firstTime: number;
  #generation = -1;
  #attachments = 0;
  #room: Deferred<void> | null = null;
  #closed = false;
  #pumping = false;

  constructor(options: LinkSenderOptions) {
    this.#options = options;
    this.#retained = new Retained(options.handlerId);
    this.#windowPackets =
      options.windowPackets ?? (options.delivery === 'all' ? LINK_WINDOW_PACKETS : LATEST_WINDOW_PACKETS);
    this.#smallPackets = options.windowPackets ?? LINK_WINDOW_SMALL_PACKETS;
    this.#windowBytes = options.windowBytes ?? LINK_WINDOW_BYTES;
    this.#queuePackets = options.queuePackets ?? LATEST_QUEUE_PACKETS;
    this.#settled = this.#last = this.#firstTime = options.settled ?? -1;
  }

  get settled(): number {
    return this.#settled;
  }

  get delivery(): Delivery {
    return this.#options.delivery;
  }

  get connected(): boolean {
    return this.#channel !== null;
  }

  /** The connection that a receiver has now. */
  get channel(): OutgoingChannel | null {
    return this.#channel;
  }

  /** True once a receiver has connected, so that it is known what the other side already has. */
  get attached(): boolean {
    return this.#attachments > 0;
  }

  /** Packets and runs of markers that are kept. */
  get retained(): number {
    return this.#retained.size;
  }

  get retainedBytes(): number {
    return this.#retained.bytes;
  }

  /** Under `all` a promise while the window is full; undefined when there is room. One packet may always go. */
  room(): Promise<void> | undefined {
    if (this.#hasRoom()) return undefined;
    this.#room ??= deferred();
    return this.#room.promise;
  }

  /** Takes the next packet; sequences must grow. Under `all` the caller awaits `room()` first. */
  send(packet: LinkPacket): void {
    if (this.#closed || packet.sequence <= this.#last) return;
    this.#last = packet.sequence;
    if (packet.sequence <= this.#settled) return;
    this.#retained.push(packet);
    this.#pump();
    this.#boundQueue();
  }

  /**
   * A receiver has connected. Throws SESSION_STALE when a newer generation had the link before. `open` makes the channel
   * and writes the answer to the handshake; the previous connection, if any, is closed.
   */
  attach(hello: LinkHello, open: (events: OutgoingEvents) => OutgoingChannel): void {
    if (this.#closed) throw new OrchestratorError('HANDLER_NOT_FOUND', 'the link is closed');
    if (hello.generation < this.#generation) {
      throw new OrchestratorError(
        'SESSION_STALE',
        `generation ${hello.generation} of the receiver is older than ${this.#generation}`,
      );
    }
    this.#generation = hello.generation;
    this.#attachments += 1;
    this.#detach('replaced by a newer connection');
    this.#forget(this.#options.delivery === 'all' ? hello.after : hello.received);
    this.#options.onAttached?.(hello);
    let mine: OutgoingChannel | null = null;
    const current = (): boolean => mine !== null && this.#channel === mine;
    mine = open({
      ack: (ack) => current() && this.#acknowledge(ack),
      writable: () => current() && this.#pump(),
      silent: () => current() && this.#options.onDoubt?.(),
      closed: (reason) => current() && this.#onCut(reason),
    });
    this.#channel = mine;
    this.#pump();
    this.#boundQueue();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#detach('link closed');
    this.#retained.clear();
    this.#wakeRoom();
  }

  #hasRoom(): boolean {
    if (this.#closed || this.#options.delivery === 'latest') return true;
    const { size, bytes } = this.#retained;
    const packetsMax = bytes < LINK_WINDOW_SMALL_BYTES ? this.#smallPackets : this.#windowPackets;
    return size === 0 || (size < packetsMax && bytes < this.#windowBytes);
  }

  #wakeRoom(): void {
    if (this.#room === null || !this.#hasRoom()) return;
    this.#room.resolve();
    this.#room = null;
  }

  #acknowledge({ settled, received }: LinkAck): void {
    this.#forget(this.#options.delivery === 'all' ? settled : received);
    this.#pump();
  }

  #forget(sequence: number): void {
    if (sequence <= this.#settled) return;
    this.#settled = sequence;
    this.#retained.forget(sequence);
    this.#options.onSettled?.(sequence);
    this.#wakeRoom();
  }

  #onCut(reason: string): void {
    this.#detach(reason);
    this.#options.onDoubt?.();
  }

  #detach(reason: string): void {
    const channel = this.#channel;
    if (channel === null) return;
    this.#channel = null;
    this.#retained.rewind();
    channel.close(reason);
    this.#boundQueue();
  }

  /** Not re-entered: what a write sets off is picked up by the loop that is running. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#mayWrite()) this.#writeNext();
    } finally {
      this.#pumping = false;
    }
  }

  #mayWrite(): boolean {
    if (this.#channel === null || this.#retained.next() === undefined || !this.#channel.writable()) return false;
    if (this.#options.delivery === 'all') return true;
    const { written, writtenBytes } = this.#retained;
    return written === 0 || (written < this.#windowPackets && writtenBytes < this.#windowBytes);
  }

  #writeNext(): void {
    const { clock } = this.#options;
    let packet = this.#retained.next()!;
    if (packet.kind === 'data' && packet.deadline > 0 && clock.now() > packet.deadline) packet = this.#drop('late');
    let bytes: number | null;
    try {
      bytes = this.#channel!.write(packet);
    } catch (error) {
      packet = this.#drop('error', (error as Error).message);
      bytes = this.#channel!.write(packet);
    }
    this.#retained.wrote();
    if (packet.sequence <= this.#firstTime) return;
    this.#firstTime = packet.sequence;
    if (packet.kind === 'data') this.#options.onSent?.(packet, bytes);
  }

  #drop(reason: DropReason, detail?: string): LinkPacket {
    const marker = this.#retained.dropNext(reason, detail);
    this.#options.onDropped?.(reason);
    return marker ?? this.#retained.next()!;
  }

  /** The newest may always wait. */
  #waitTooMany(): boolean {
    const { waitingData, bytes, writtenBytes } = this.#retained;
    return waitingData > this.#queuePackets || (waitingData > 1 && bytes - writtenBytes > this.#windowBytes);
  }

  #boundQueue(): void {
    if (this.#options.delivery === 'all') return;
    while (this.#waitTooMany()) {
      if (this.#retained.dropOldestWaiting('queue') === undefined) return;
      this.#options.onDropped?.('queue');
    }
  }
}

/** How many sequences a packet accounts for. */
export function sequencesOf(packet: LinkPacket): number {
  return packet.kind === 'end' ? 0 : packet.sequence - firstOf(packet) + 1;
}
