/**
 * The sending end's channel: one connection (lane), or several that one receiver has joined to it (a striped link).
 * Each packet gets the next ordinal and goes out on the lane with the least on the way; a large one is cut into parts that
 * travel side by side, so that it needs a fraction of the round trips on lanes whose windows are small.
 * Invariant: the loss of any lane ends the channel, because what was on the way there is not known; the receiver comes
 * back and says what it has.
 */
import type { Clock } from '../std/clock.js';
import { packetBytes } from './codec.js';
import type { LaneEvents } from './dialled-socket.js';
import type { FrameSocket, PeerFrame } from './frame-socket.js';
import { FrameWriter } from './frame-writer.js';
import {
  LINK_STRIPES_MAX,
  type LinkPacket,
  type LinkTransport,
  type OutgoingChannel,
  type OutgoingEvents,
} from './link.js';
import { checkJoin } from './stripe-policy.js';

/** Bytes that a part is worth: less is one lane's window anyway. */
const PART_BYTES_MIN = 8 * 1024;

interface Lane {
  readonly frames: FrameSocket;
  /** Packets and parts written, and those that the receiver says came. */
  written: number;
  carried: number;
}

export interface OutgoingLanesOptions {
  readonly transport: LinkTransport;
  /** Name of this connection; lanes join by it. Empty: none may. */
  readonly group: string;
  readonly clock: Clock;
  readonly events: OutgoingEvents;
  /** Round trips of any lane. */
  onRtt?(rttMs: number): void;
}

export class OutgoingLanes implements OutgoingChannel {
  readonly transport: LinkTransport;
  readonly #options: OutgoingLanesOptions;
  readonly #lanes: Lane[] = [];
  /** Lays a packet out before it is cut. */
  readonly #layout = new FrameWriter();
  #ordinal = 0;
  #closed = false;

  constructor(options: OutgoingLanesOptions) {
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
      onWritable: () => this.#options.events.writable(),
      onRtt: (rttMs) => this.#options.onRtt?.(rttMs),
      onClosed: (reason) => this.#onClosed(reason),
    });
    const lane: Lane = { frames, written: 0, carried: 0 };
    this.#lanes.push(lane);
    if (this.#closed) frames.close('the link was closed meanwhile');
    return frames;
  }

  writable(): boolean {
    let free = false;
    for (const { frames } of this.#lanes) free = frames.writable() || free;
    return free;
  }

  write(packet: LinkPacket): number {
    const sentAt = this.#options.clock.now();
    const lanes = this.#lanesFor(packet);
    const bytes =
      lanes.length > 1 ? this.#writeParts(packet, sentAt, lanes) : this.#writeWhole(packet, sentAt, lanes[0]!);
    this.#ordinal += 1;
    return bytes;
  }

  #writeWhole(packet: LinkPacket, sentAt: number, lane: Lane): number {
    const bytes = lane.frames.packet(packet, sentAt, this.#ordinal);
    lane.written += 1;
    return bytes;
  }

  #writeParts(packet: LinkPacket, sentAt: number, lanes: readonly Lane[]): number {
    const bytes = this.#layout.packet(packet, sentAt, this.#ordinal);
    const { pieces } = this.#layout.take();
    const place = { ordinal: this.#ordinal, sequence: packet.sequence, count: lanes.length };
    cutEvenly(pieces, bytes, lanes.length).forEach((part, index) => {
      lanes[index]!.frames.part({ ...place, index }, part);
      lanes[index]!.written += 1;
    });
    return bytes;
  }

  close(reason: string): void {
    this.#closed = true;
    for (const { frames } of this.#lanes) frames.close(reason);
  }

  /** Those with the least on the way, as many as the packet is worth. */
  #lanesFor(packet: LinkPacket): readonly Lane[] {
    if (this.#lanes.length === 1) return this.#lanes;
    const worth = Math.max(1, Math.min(LINK_STRIPES_MAX, Math.floor(packetBytes(packet) / PART_BYTES_MIN)));
    return this.#lanes.toSorted((a, b) => onTheWay(a) - onTheWay(b)).slice(0, worth);
  }

  #onFrame(lane: Lane, frame: PeerFrame): void {
    if (frame.kind !== 'ack') {
      lane.frames.close('a receiver sent a packet');
      return;
    }
    lane.carried = Math.min(lane.written, Math.max(lane.carried, frame.carried));
    this.#options.events.ack(frame.ack);
  }

  #onClosed(reason: string): void {
    if (this.#closed) return;
    this.close(reason);
    this.#options.events.closed(reason);
  }
}

/** `pieces`, which are `bytes` long, as `count` stretches of nearly equal length. */
export function cutEvenly(pieces: readonly Uint8Array[], bytes: number, count: number): Uint8Array[][] {
  const parts: Uint8Array[][] = Array.from({ length: count }, () => []);
  let at = 0;
  for (const piece of pieces) {
    for (let from = 0; from < piece.length; ) {
      const index = Math.min(count - 1, Math.floor((at * count) / bytes));
      const end = index === count - 1 ? bytes : Math.ceil(((index + 1) * bytes) / count);
      const taken = piece.subarray(from, from + end - at);
      parts[index]!.push(taken);
      from += taken.length;
      at += taken.length;
    }
  }
  return parts;
}

/** Packets, and as a fraction of one what waits in this process, so that a full lane is not taken before an idle one. */
function onTheWay({ written, carried, frames }: Lane): number {
  return written - carried + frames.waitingBytes / 2 ** 32;
}
