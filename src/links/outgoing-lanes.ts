/**
 * The sending end's channel: one connection (lane), or several that one receiver has joined to it (a striped link).
 * Each packet gets the next ordinal and goes out on the lane with the least on the way.
 * Invariant: the loss of any lane ends the channel, because what was on the way there is not known; the receiver comes
 * back and says what it has.
 */
import type { Clock } from '../std/clock.js';
import type { LaneEvents } from './dialled-socket.js';
import type { FrameSocket, PeerFrame } from './frame-socket.js';
import type { LinkPacket, LinkTransport, OutgoingChannel, OutgoingEvents } from './link.js';
import { SilenceWatch } from './silence-watch.js';
import { checkJoin } from './stripe-policy.js';

interface Lane {
  readonly frames: FrameSocket;
  /** Packets written, and those that the receiver says came. */
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
  readonly #silence: SilenceWatch;
  #ordinal = 0;
  #closed = false;

  constructor(options: OutgoingLanesOptions) {
    this.#options = options;
    this.transport = options.transport;
    this.#silence = new SilenceWatch(() => options.events.silent?.());
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
    const lane = this.#lanes.length === 1 ? this.#lanes[0]! : this.#leastOnTheWay();
    const bytes = lane.frames.packet(packet, this.#options.clock.now(), this.#ordinal);
    this.#ordinal += 1;
    lane.written += 1;
    this.#silence.wrote();
    return bytes;
  }

  close(reason: string): void {
    this.#closed = true;
    this.#silence.stop();
    for (const { frames } of this.#lanes) frames.close(reason);
  }

  #leastOnTheWay(): Lane {
    let best: Lane | undefined;
    for (const lane of this.#lanes) {
      if (best === undefined || onTheWay(lane) < onTheWay(best)) best = lane;
    }
    return best!;
  }

  #onFrame(lane: Lane, frame: PeerFrame): void {
    if (frame.kind !== 'ack') {
      lane.frames.close('a receiver sent a packet');
      return;
    }
    this.#silence.heard();
    lane.carried = Math.min(lane.written, Math.max(lane.carried, frame.carried));
    this.#options.events.ack(frame.ack);
  }

  #onClosed(reason: string): void {
    if (this.#closed) return;
    this.close(reason);
    this.#options.events.closed(reason);
  }
}

/** Packets, and as a fraction of one what waits in this process, so that a full lane is not taken before an idle one. */
function onTheWay({ written, carried, frames }: Lane): number {
  return written - carried + frames.waitingBytes / 2 ** 32;
}
