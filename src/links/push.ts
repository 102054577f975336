/**
 * Links whose sender dials, for a sender on a node that takes no connections (behind NAT, for instance). The same frames
 * flow; the receiver says what it has in its answer instead of in its request.
 *
 *   pusher:  idle --start--> dialling --101--> attached --closed--> waiting (backoff) --> dialling ...;  any --close--> closed
 *
 * Payloads are not read in place here: only a socket that one dials oneself can do that.
 */
import { randomUUID } from 'node:crypto';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import { Backoff } from '../std/backoff.js';
import type { Clock } from '../std/clock.js';
import { dialLane, type LaneDialOptions } from './dialled-socket.js';
import type { FrameSocket } from './frame-socket.js';
import { checkProtocol, helloHeaders, helloOf, type LinkHeaders, numberHeader, refuseUpgrade } from './handshake.js';
import { IncomingLanes } from './incoming-lanes.js';
import {
  type Dial,
  type IncomingChannel,
  type IncomingEvents,
  type LinkHello,
  type LinkTransport,
  RECONNECT_BASE_MS,
  RECONNECT_MAX_MS,
} from './link.js';
import type { LinkSender } from './link-sender.js';
import { OutgoingLanes } from './outgoing-lanes.js';
import { LINK_STRIPES_MAX, StripePolicy } from './stripe-policy.js';
import { groupOf, openLane, type ServedSocket, transportOf } from './upgrade.js';

export type PushAddress = Pick<LaneDialOptions, 'address' | 'path' | 'token' | 'tlsCa' | 'keepAlive'>;

export interface LinkPusherOptions extends PushAddress {
  readonly sender: LinkSender;
  readonly clock: Clock;
  readonly generation: number;
  readonly random?: () => number;
  /** Each time it turns out that the receiver cannot be reached, or will not have it. */
  onProblem?(reason: string): void;
}

/** Dials the receiver for as long as it is wanted, and gives the connections to the sender. */
export class LinkPusher {
  readonly #options: LinkPusherOptions;
  readonly #backoff: Backoff;
  #generation: number;
  #frames: FrameSocket | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: LinkPusherOptions) {
    this.#options = options;
    this.#generation = options.generation;
    const random = options.random === undefined ? {} : { random: options.random };
    this.#backoff = new Backoff({ baseMs: RECONNECT_BASE_MS, maxMs: RECONNECT_MAX_MS, ...random });
  }

  start(): void {
    if (this.#frames === null && this.#timer === null && !this.#closed) this.#dial();
  }

  /** Shown at the next handshake; the connection that is open stays. */
  setGeneration(generation: number): void {
    this.#generation = Math.max(this.#generation, generation);
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#frames?.close('closed');
  }

  #dial(): void {
    const { sender } = this.#options;
    const group = randomUUID();
    this.#frames = dialLane({
      ...this.#options,
      headers: {
        'x-link-role': 'sender',
        'x-link-settled': sender.settled,
        'x-link-generation': this.#generation,
        'x-link-group': group,
      },
      onOpen: (headers, join) => {
        this.#backoff.reset();
        this.#attach(headers, join, group);
      },
      onFailed: (reason) => this.#again(reason),
    });
  }

  #attach(headers: LinkHeaders, join: (lanes: OutgoingLanes) => void, group: string): void {
    const { sender, clock, address } = this.#options;
    const stripesMax = Math.min(LINK_STRIPES_MAX, numberHeader(headers, 'x-link-stripes'));
    const policy = new StripePolicy();
    let asked = 1;
    sender.attach(helloOf(headers), (events) => {
      const lanes: OutgoingLanes = new OutgoingLanes({
        transport: address.kind === 'unix' ? 'unix' : 'tcp',
        ...{ group, clock },
        events: {
          ...events,
          closed: (reason) => {
            events.closed(reason);
            this.#again(reason);
          },
        },
        onRtt: (rttMs) => {
          policy.rtt(rttMs);
          const wanted = Math.min(stripesMax, policy.wanted);
          for (; asked < wanted; asked += 1) this.#dialStripe(lanes, group, asked);
        },
      });
      join(lanes);
      return lanes;
    });
  }

  /** One more connection; when the receiver will not have it, the link goes on with those that it has. */
  #dialStripe(lanes: OutgoingLanes, group: string, index: number): void {
    dialLane({
      ...this.#options,
      headers: { 'x-link-role': 'sender', 'x-link-group': group, 'x-link-stripe': index },
      onOpen: (_, join) => join(lanes),
      onFailed: () => {},
    });
  }

  #again(reason: string): void {
    this.#frames = null;
    if (this.#closed) return;
    this.#options.onProblem?.(reason);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#dial();
    }, this.#backoff.nextMs());
  }
}

/** The receiver's part of a pushed link: `dial` waits for the sender, whose connections come to `accept`. */
export class AwaitedLink {
  readonly #clock: Clock;
  #waiting: AwaitedChannel | null = null;
  #current: AwaitedChannel | null = null;
  /** Of the newest sender: one that was replaced cannot take the link back. */
  #generation = -1;

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  readonly dial: Dial = (hello, events) => {
    this.#waiting = new AwaitedChannel(hello, events);
    return this.#waiting;
  };

  /** Answers the sender's request, or refuses it with HTTP. */
  accept(served: ServedSocket): void {
    try {
      checkProtocol(served.headers);
      const group = groupOf(served.headers);
      if (numberHeader(served.headers, 'x-link-stripe') > 0) this.#join(served, group);
      else this.#open(served, group);
    } catch (error) {
      refuseUpgrade(served.socket, toOrchestratorError(error));
    }
  }

  #open(served: ServedSocket, group: string): void {
    const generation = numberHeader(served.headers, 'x-link-generation');
    const settled = numberHeader(served.headers, 'x-link-settled');
    if (generation < this.#generation) {
      throw new OrchestratorError(
        'SESSION_STALE',
        `generation ${generation} of the sender is older than ${this.#generation}`,
      );
    }
    this.#generation = generation;
    const channel = this.#waiting;
    if (channel === null || channel.closed) {
      // The sender knows better than this end whether the old connection is dead.
      this.#current?.lanes?.close('replaced by a newer connection');
      throw new OrchestratorError('LINK_BUSY', 'the receiver is not waiting for a sender yet');
    }
    this.#waiting = null;
    this.#current = channel;
    channel.open(served, { group, settled, clock: this.#clock });
  }

  #join(served: ServedSocket, group: string): void {
    const lanes = this.#current?.lanes;
    if (lanes == null) throw new OrchestratorError('LINK_PROTOCOL', `no connection of group ${group} is open`);
    lanes.checkJoin(group);
    openLane(served, lanes, {})();
  }
}

/** A receiver's connection from the moment it waits for its sender. */
class AwaitedChannel implements IncomingChannel {
  readonly #hello: LinkHello;
  readonly #events: IncomingEvents;
  lanes: IncomingLanes | null = null;
  closed = false;

  constructor(hello: LinkHello, events: IncomingEvents) {
    this.#hello = hello;
    this.#events = events;
  }

  get transport(): LinkTransport {
    return this.lanes?.transport ?? 'tcp';
  }

  open(served: ServedSocket, link: { group: string; settled: number; clock: Clock }): void {
    const { group, settled, clock } = link;
    this.lanes = new IncomingLanes({ transport: transportOf(served.socket), group, clock, events: this.#events });
    const answer = { ...helloHeaders(this.#hello), 'x-link-stripes': LINK_STRIPES_MAX };
    const begin = openLane(served, this.lanes, answer);
    this.#events.open(settled);
    begin();
  }

  ack(ack: { settled: number; received: number }): void {
    this.lanes?.ack(ack);
  }

  close(reason: string): void {
    if (this.closed) return;
    this.closed = true;
    if (this.lanes !== null) this.lanes.close(reason);
    else queueMicrotask(() => this.#events.closed(reason));
  }
}
