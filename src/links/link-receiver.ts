/**
 * The end of a link at its target handler. It dials the source (so that it can choose where bytes are read to, and so
 * that a node behind NAT needs no open port), dials again for as long as it is wanted, and hands packets on in order.
 *
 *   idle --start--> dialling --open--> open --closed--> waiting (backoff) --> dialling ...
 *   any --retarget--> dialling (the new address, at once; under `latest` the old connection hands over);  any --close--> closed
 *
 * Invariants: the consumer sees each sequence once, in order; a hole (only a dead host makes one) is filled with a
 * `failover` run before what follows it. `latest` acknowledges what it received, `all` what the consumer has settled.
 * The surprise: under `latest` too the end is acknowledged only when it is settled; nothing would follow to reveal its loss.
 */
import type { BlueprintLink } from '../contracts/blueprint.js';
import type { Delivery } from '../contracts/packet.js';
import { Backoff } from '../std/backoff.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import { AckPacer } from './ack-pacer.js';
import { HANDOVER_QUIET_MS, Handover } from './handover.js';
import {
  type Arrival,
  type Dial,
  firstOf,
  type IncomingChannel,
  type LinkAck,
  type LinkPacket,
  type LinkTransport,
  RECONNECT_BASE_MS,
  RECONNECT_MAX_MS,
} from './link.js';
import { LinkMeter, type LinkPeriod } from './link-meter.js';

export interface LinkReceiverOptions {
  readonly link: BlueprintLink;
  readonly delivery: Delivery;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly dial: Dial;
  readonly generation: number;
  /** Everything at or below it was settled by an earlier run of the target; null when that is not known. */
  readonly settled: number | null;
  readonly random?: () => number;
  /** Throws LINK_PROTOCOL when the peer ignored its window; the connection is cut. */
  onPacket(packet: LinkPacket, arrival: Arrival | null): void;
  /** Under `all`: an earlier host of the target had settled up to here. */
  onFloor?(settled: number): void;
  /** A connection that was open was cut by the other end or on the way: the peer may be gone. */
  onDoubt?(): void;
}

export class LinkReceiver {
  readonly #options: LinkReceiverOptions;
  readonly #backoff: Backoff;
  readonly #meter = new LinkMeter();
  #dial: Dial;
  #generation: number;
  #channel: IncomingChannel | null = null;
  #transport: LinkTransport = 'in_host';
  #open = false;
  /** The old connection of a link that was retargeted, as long as it has something to hand over. */
  #handover: Handover | null = null;
  /** When the last packet came, monotonic ms. */
  #packetMs = Number.NEGATIVE_INFINITY;
  #opened = 0;
  #timer: NodeJS.Timeout | null = null;
  #received: number;
  /** False until the first packet tells where this receiver begins. */
  #begun: boolean;
  #settled: number;
  readonly #acks = new AckPacer(() => this.#acknowledge());
  /** Sequence of the end, once it came. */
  #end: number | null = null;
  #closed = false;
  /** Another host takes the link over: it is read until it is cut, and not dialled again. */
  #leaving = false;
  #problem: string | null = null;

  constructor(options: LinkReceiverOptions) {
    this.#options = options;
    this.#dial = options.dial;
    this.#generation = options.generation;
    this.#settled = this.#received = options.settled ?? -1;
    this.#begun = options.settled !== null;
    const random = options.random === undefined ? {} : { random: options.random };
    this.#backoff = new Backoff({ baseMs: RECONNECT_BASE_MS, maxMs: RECONNECT_MAX_MS, ...random });
  }

  get link(): BlueprintLink {
    return this.#options.link;
  }

  get delivery(): Delivery {
    return this.#options.delivery;
  }

  get received(): number {
    return this.#received;
  }

  get connected(): boolean {
    return this.#open;
  }

  get transport(): LinkTransport {
    return this.#transport;
  }

  /** Why it is not connected (a refusal with its status, a reset); null while it is. */
  get problem(): string | null {
    return this.#problem;
  }

  get meter(): LinkMeter {
    return this.#meter;
  }

  /** Figures since the last call, for link_info. */
  period(): LinkPeriod {
    return this.#meter.period();
  }

  start(): void {
    if (this.#channel === null && this.#timer === null && !this.#closed) this.#connect();
  }

  /**
   * The plan changed: dial there from now on. Under `all` the old connection is given up, because what its host holds
   * comes again; under `latest` it is read until the new one follows on.
   */
  retarget(dial: Dial): void {
    if (this.#closed) return;
    this.#dial = dial;
    this.#backoff.reset();
    this.#handOver();
    this.#drop('retargeted');
    this.#connect();
  }

  /** Shown at the next handshake; the connection that is open stays. */
  setGeneration(generation: number): void {
    this.#generation = Math.max(this.#generation, generation);
  }

  /** Everything at or below is settled down to the last sink; under `latest` only told of the end. */
  settle(sequence: number): void {
    if (sequence <= this.#settled) return;
    this.#settled = sequence;
    this.#ackLater(0);
  }

  /** Another host takes the link over: what comes until it is cut is read, and it is not dialled again. */
  leave(): void {
    this.#leaving = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  close(): void {
    this.#closed = true;
    this.#acks.stop();
    this.#handover?.end();
    this.#handover = null;
    this.#drop('closed');
  }

  #handOver(): void {
    // Retargeted once more before the new one gave anything: the connection that gives is still the old one.
    if (this.#handover?.isWaiting === false) return;
    this.#endHandover();
    const isQuiet = this.#options.clock.monotonicMs() - this.#packetMs > HANDOVER_QUIET_MS;
    if (this.#options.delivery === 'all' || !this.#open || this.#channel === null || isQuiet) return;
    this.#handover = new Handover(this.#channel, () => this.#endHandover());
    this.#channel = null;
  }

  #endHandover(): void {
    const handover = this.#handover;
    this.#handover = null;
    for (const { packet, arrival } of handover?.end() ?? []) this.#take(packet, arrival);
  }

  #onHandedOver(packet: LinkPacket, arrival: Arrival): void {
    this.#take(packet, arrival);
    this.#handover?.old.ack(this.#acknowledgement());
    if (this.#handover?.isDone(this.#received)) this.#endHandover();
  }

  #drop(reason: string): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#open = false;
    const channel = this.#channel;
    this.#channel = null;
    channel?.close(reason);
  }

  #connect(): void {
    const { settled, received } = this.#acknowledgement();
    const hello = { after: settled, received, generation: this.#generation };
    let mine: IncomingChannel | null = null;
    const current = (): boolean => !this.#closed && (mine === null || this.#channel === mine);
    mine = this.#dial(hello, {
      open: (settled) => current() && this.#onOpen(settled),
      packet: (packet, arrival) => {
        if (mine !== null && this.#handover?.old === mine) this.#onHandedOver(packet, arrival);
        else if (current()) this.#onPacket(packet, arrival);
      },
      rtt: (rttMs) => current() && this.#meter.addRtt(rttMs),
      throughput: (mbitPerS) => current() && this.#meter.addThroughput(mbitPerS),
      closed: (reason) => {
        if (mine !== null && this.#handover?.old === mine) this.#endHandover();
        else if (current()) this.#onClosed(reason);
      },
    });
    this.#channel = mine;
    this.#transport = mine.transport;
  }

  #onOpen(settled: number): void {
    if (this.#opened > 0) this.#meter.reconnects += 1;
    this.#opened += 1;
    this.#open = true;
    this.#problem = null;
    if (this.#options.delivery !== 'all' || settled <= this.#settled) return;
    this.#settled = settled;
    this.#received = Math.max(this.#received, settled);
    this.#options.onFloor?.(settled);
  }

  #onClosed(reason: string): void {
    const wasOpen = this.#open;
    this.#drop(reason);
    if (wasOpen) this.#options.onDoubt?.();
    if (this.#problem !== reason) this.#options.logger.warn({ ...this.#options.link, reason }, 'link is down');
    this.#problem = reason;
    if (this.#leaving) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#connect();
    }, this.#backoff.nextMs());
  }

  #onPacket(packet: LinkPacket, arrival: Arrival): void {
    this.#backoff.reset();
    if (this.#handover === null) {
      this.#take(packet, arrival);
      return;
    }
    this.#handover.hold(packet, arrival);
    if (this.#handover.isDone(this.#received)) this.#endHandover();
  }

  #take(packet: LinkPacket, arrival: Arrival): void {
    this.#packetMs = this.#options.clock.monotonicMs();
    this.#ackLater(arrival.bytes ?? 0);
    if (packet.sequence <= this.#received) {
      this.#meter.duplicates += 1;
      return;
    }
    const first = firstOf(packet);
    if (this.#begun && first > this.#received + 1) this.#fillHole(packet, first - 1);
    this.#begun = true;
    const fresh = first <= this.#received ? ({ ...packet, first: this.#received + 1 } as LinkPacket) : packet;
    this.#received = packet.sequence;
    if (packet.kind === 'end') this.#end = packet.sequence;
    if (packet.kind === 'data') this.#meter.add(arrival, this.#options.clock.now());
    this.#options.onPacket(fresh, arrival);
  }

  #fillHole(next: LinkPacket, last: number): void {
    const { timestamp, deadline } = next;
    const first = this.#received + 1;
    this.#received = last;
    this.#options.onPacket(
      {
        kind: 'drop',
        first,
        sequence: last,
        timestamp,
        deadline,
        reason: 'failover',
        handler_id: this.#options.link.source_handler,
      },
      null,
    );
  }

  /** By reference an acknowledgement costs nothing, so it need not wait. */
  #ackLater(bytes: number): void {
    const upTo = this.#options.delivery === 'all' ? this.#settled : this.#received;
    this.#acks.progress(upTo, bytes, this.#transport === 'in_host');
  }

  #acknowledge(): void {
    if (this.#open) this.#channel?.ack(this.#acknowledgement());
  }

  #acknowledgement(): LinkAck {
    if (this.#options.delivery === 'all') return { settled: this.#settled, received: this.#received };
    const received = this.#end !== null && this.#settled < this.#end ? this.#end - 1 : this.#received;
    return { settled: received, received };
  }
}
