/**
 * The outputs of one handler: every output may feed several links. Invariant: each emission puts exactly one packet or
 * marker on every link, so what is settled on the slowest link is settled for the handler, transitively to the sinks.
 * Links that deliver `latest` take no part in that: what they drop is nobody's to keep.
 */
import type { BlueprintLink } from '../contracts/blueprint.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { DataPacket, Delivery, DropReason } from '../contracts/packet.js';
import type { LinkHello, LinkPacket } from '../links/link.js';
import { LinkSender } from '../links/link-sender.js';
import type { Clock } from '../std/clock.js';
import { deferred } from '../std/deferred.js';

/** Bounds of each output link, where they differ from contracts/limits.ts (tests of small windows). */
export interface LinkWindow {
  readonly windowPackets?: number;
  readonly windowBytes?: number;
}

export interface OutputsOptions {
  readonly window?: LinkWindow | undefined;
  readonly handlerId: number;
  readonly delivery: Delivery;
  readonly clock: Clock;
  /** Sources that continue: what lies at or below it is settled everywhere; -1 otherwise. */
  readonly settled: number;
  onSettled(): void;
  onAttached?(hello: LinkHello): void;
  onSent(packet: DataPacket, bytes: number | null): void;
  onDropped(reason: DropReason): void;
}

/** Taps of one handler: each keeps a few packets and may be slow. */
export const TAPS_MAX = 4;

interface Tap {
  readonly output: number;
  readonly sender: LinkSender;
}

interface OutputLink {
  readonly link: BlueprintLink;
  readonly sender: LinkSender;
}

/** One name for a link, the same in every host that knows it. */
export function linkKey(link: BlueprintLink): string {
  return `${link.source_handler}.${link.source_output}-${link.target_handler}.${link.target_input}`;
}

export class Outputs {
  readonly #options: OutputsOptions;
  readonly #links = new Map<string, OutputLink>();
  readonly #taps = new Set<Tap>();
  #last: number;
  #peersReceived = -1;
  #allAttached = deferred<void>();

  constructor(options: OutputsOptions) {
    this.#options = options;
    this.#last = options.settled;
  }

  get count(): number {
    return this.#links.size;
  }

  /** Highest sequence emitted. */
  get last(): number {
    return this.#last;
  }

  /** Highest sequence that a receiver said it had when it connected: an earlier run of this handler emitted it. */
  get peersReceived(): number {
    return this.#peersReceived;
  }

  /** Settled on every link; what was emitted when there is none. */
  get settled(): number {
    let settled = Number.POSITIVE_INFINITY;
    for (const { sender } of this.#links.values()) settled = Math.min(settled, sender.settled);
    return settled === Number.POSITIVE_INFINITY ? this.#last : settled;
  }

  /** Settled on every link that delivers `all`; null when there is none. */
  get custody(): number | null {
    let settled: number | null = null;
    for (const { sender } of this.#links.values()) {
      if (sender.delivery === 'all') settled = Math.min(settled ?? sender.settled, sender.settled);
    }
    return settled;
  }

  /** True when every other end has said what it already has. */
  get attached(): boolean {
    return [...this.#links.values()].every(({ sender }) => sender.attached);
  }

  /** Resolves when every other end has said what it already has, or when `boundMs` have passed or this is closed. */
  async untilAttached(boundMs: number): Promise<void> {
    if (this.attached) return;
    const bound = deferred<void>();
    const timer = setTimeout(() => bound.resolve(), boundMs);
    await Promise.race([this.#allAttached.promise, bound.promise]);
    clearTimeout(timer);
  }

  #wakeWhenAttached(): void {
    if (!this.attached) return;
    this.#allAttached.resolve();
    this.#allAttached = deferred();
  }

  /** Nothing is kept for anybody who is connected. */
  get flushed(): boolean {
    return [...this.#links.values()].every(({ sender }) => sender.retained === 0 || !sender.connected);
  }

  /** Makes the sending end of a link; one that joins later begins after what was emitted. `onDoubt`: see LinkSender. */
  add(link: BlueprintLink, onDoubt?: () => void): LinkSender {
    const { handlerId, clock } = this.#options;
    const delivery = link.delivery ?? this.#options.delivery;
    const sender = new LinkSender({
      handlerId,
      delivery,
      clock,
      settled: this.#last,
      ...this.#options.window,
      onSettled: () => this.#options.onSettled(),
      onAttached: (hello) => {
        this.#peersReceived = Math.max(this.#peersReceived, hello.received);
        this.#options.onAttached?.(hello);
        this.#wakeWhenAttached();
      },
      onSent: (packet, bytes) => this.#options.onSent(packet, bytes),
      onDropped: (reason) => this.#options.onDropped(reason),
      ...(onDoubt === undefined ? {} : { onDoubt }),
    });
    this.#links.set(linkKey(link), { link, sender });
    return sender;
  }

  links(): BlueprintLink[] {
    return [...this.#links.values()].map(({ link }) => link);
  }

  find(link: BlueprintLink): LinkSender | undefined {
    return this.#links.get(linkKey(link))?.sender;
  }

  remove(link: BlueprintLink): void {
    const key = linkKey(link);
    const sender = this.#links.get(key)?.sender;
    this.#links.delete(key);
    sender?.close();
    this.#wakeWhenAttached();
    this.#options.onSettled();
  }

  /**
   * The sending end for one more reader of an output, from now on, that nothing waits for and nothing is sent to again.
   * It is forgotten when its reader has gone. Throws LINK_BUSY when there are TAPS_MAX already.
   */
  tap(output: number): LinkSender {
    this.#forgetTaps();
    if (this.#taps.size >= TAPS_MAX) {
      throw new OrchestratorError('LINK_BUSY', `the handler has ${this.#taps.size} taps already (at most ${TAPS_MAX})`);
    }
    const { handlerId, clock } = this.#options;
    const sender = new LinkSender({ handlerId, delivery: 'latest', clock, settled: this.#last });
    this.#taps.add({ output, sender });
    return sender;
  }

  #forgetTaps(): void {
    for (const tap of this.#taps) {
      if (tap.sender.connected) continue;
      tap.sender.close();
      this.#taps.delete(tap);
    }
  }

  #emitToTaps(packetOf: (output: number) => LinkPacket): void {
    this.#forgetTaps();
    for (const { output, sender } of this.#taps) sender.send(packetOf(output));
  }

  /** `packetOf(output)` for each link. */
  emit(packetOf: (output: number) => LinkPacket): void {
    if (this.#taps.size > 0) this.#emitToTaps(packetOf);
    for (const { link, sender } of this.#links.values()) {
      const packet = packetOf(link.source_output);
      this.#last = Math.max(this.#last, packet.sequence);
      sender.send(packet);
    }
  }

  /** The same packet (a marker, the end) on every link. */
  emitAll(packet: LinkPacket): void {
    if (this.#taps.size > 0) this.#emitToTaps(() => packet);
    this.#last = Math.max(this.#last, packet.sequence);
    for (const { sender } of this.#links.values()) sender.send(packet);
  }

  /** Resolves when every link has room; undefined when it has. */
  room(): Promise<unknown> | undefined {
    let waits: Promise<void>[] | undefined;
    for (const { sender } of this.#links.values()) {
      const wait = sender.room();
      if (wait === undefined) continue;
      waits ??= [];
      waits.push(wait);
    }
    return waits === undefined ? undefined : Promise.all(waits);
  }

  close(): void {
    for (const { sender } of [...this.#links.values(), ...this.#taps]) sender.close();
    this.#links.clear();
    this.#taps.clear();
    this.#wakeWhenAttached();
  }
}
