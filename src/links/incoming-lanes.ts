/**
 * The receiving end's channel: one connection (lane), or several that carry one link together. Hands packets on by
 * ordinal; what overtakes others on a quicker lane waits for them.
 * Invariants: events come in the order of the sender's ordinals; `closed` comes exactly once and never from inside the
 * call that made the channel; the loss of any open lane ends the channel.
 */
import { OrchestratorError } from '../contracts/errors.js';
import { LINK_WINDOW_BYTES, LINK_WINDOW_SMALL_PACKETS, PAYLOAD_BYTES_MAX } from '../contracts/limits.js';
import type { Clock } from '../std/clock.js';
import type { LaneEvents } from './dialled-socket.js';
import type { FrameSocket, PeerFrame } from './frame-socket.js';
import type { IncomingChannel, IncomingEvents, LinkAck, LinkTransport } from './link.js';
import { checkJoin, StripePolicy } from './stripe-policy.js';

/** Packets that may wait for one that is still on the way; a sender that keeps to its window stays below. */
const EARLY_PACKETS_MAX = 4 * LINK_WINDOW_SMALL_PACKETS;

/** Their bytes: the window, and the one packet that may always go. */
const EARLY_BYTES_MAX = LINK_WINDOW_BYTES + PAYLOAD_BYTES_MAX;

type PacketFrame = Extract<PeerFrame, { kind: 'packet' }>;

interface Lane {
  readonly frames: FrameSocket;
  /** Packets that came on it, and how many of them the last ack told. */
  carried: number;
  told: number;
}

export interface IncomingLanesOptions {
  readonly transport: LinkTransport;
  /** Name of this connection; lanes join by it. */
  readonly group: string;
  readonly clock: Clock;
  readonly events: IncomingEvents;
  /** Opens one more lane; absent when the peer must do it, or when one is enough (a Unix socket). */
  more?(): void;
}

export class IncomingLanes implements IncomingChannel {
  readonly transport: LinkTransport;
  readonly #options: IncomingLanesOptions;
  readonly #lanes: Lane[] = [];
  readonly #policy = new StripePolicy();
  readonly #early = new Map<number, PacketFrame>();
  #earlyBytes = 0;
  #next = 0;
  #asked = 1;
  #closed = false;

  constructor(options: IncomingLanesOptions) {
    this.#options = options;
    this.transport = options.transport;
  }

  get size(): number {
    return this.#lanes.length;
  }

  /** Throws LINK_PROTOCOL when lanes of `group` may not join. */
  checkJoin(group: string): void {
    checkJoin({ open: !this.#closed, size: this.size, group: this.#options.group }, group);
  }

  /** `open` makes the lane's socket and says where its events go. */
  add(open: (events: LaneEvents) => FrameSocket): FrameSocket {
    const frames = open({
      onFrame: (frame) => this.#onFrame(lane, frame),
      onRtt: (rttMs) => this.#onRtt(lane, rttMs),
      onClosed: (reason) => this.#onClosed(reason),
    });
    const lane: Lane = { frames, carried: 0, told: 0 };
    this.#lanes.push(lane);
    if (this.#closed) frames.close('the link was closed meanwhile');
    return frames;
  }

  /** Each lane is told what came on it, so that the sender knows what is still on the way there. */
  ack(ack: LinkAck): void {
    let told = false;
    for (const lane of this.#lanes) {
      if (lane.carried === lane.told) continue;
      lane.told = lane.carried;
      lane.frames.ack(ack, lane.carried);
      told = true;
    }
    if (!told) this.#lanes[0]?.frames.ack(ack, this.#lanes[0].carried);
  }

  close(reason: string): void {
    for (const { frames } of this.#lanes) frames.close(reason);
  }

  #onFrame(lane: Lane, frame: PeerFrame): void {
    if (frame.kind !== 'packet') {
      lane.frames.close('a sender sent an acknowledgement');
      return;
    }
    lane.carried += 1;
    if (frame.ordinal === this.#next && this.#early.size === 0) this.#handOn(frame);
    else this.#putInOrder(frame);
  }

  #putInOrder(frame: PacketFrame): void {
    if (frame.ordinal < this.#next || this.#early.has(frame.ordinal)) {
      throw new OrchestratorError('LINK_PROTOCOL', `ordinal ${frame.ordinal} came twice`);
    }
    this.#early.set(frame.ordinal, frame);
    this.#earlyBytes += frame.bytes;
    for (let early = this.#early.get(this.#next); early !== undefined; early = this.#early.get(this.#next)) {
      this.#early.delete(this.#next);
      this.#earlyBytes -= early.bytes;
      this.#handOn(early);
    }
    if (this.#early.size <= EARLY_PACKETS_MAX && this.#earlyBytes <= EARLY_BYTES_MAX) return;
    throw new OrchestratorError(
      'LINK_PROTOCOL',
      `${this.#early.size} packets (${this.#earlyBytes} bytes) came before ordinal ${this.#next}`,
    );
  }

  #handOn({ packet, sentAt, bytes, release }: PacketFrame): void {
    this.#next += 1;
    this.#policy.delay((this.#options.clock.now() - sentAt) * 1000);
    this.#options.events.packet(packet, { bytes, sentAt, release });
  }

  #onRtt(lane: Lane, rttMs: number): void {
    this.#policy.rtt(rttMs);
    if (lane === this.#lanes[0]) this.#options.events.rtt?.(rttMs);
    const { more } = this.#options;
    if (more === undefined || this.#closed) return;
    for (const { wanted } = this.#policy; this.#asked < wanted; this.#asked += 1) more();
  }

  #onClosed(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.close(reason);
    queueMicrotask(() => this.#options.events.closed(reason));
  }
}
