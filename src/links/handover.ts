/**
 * The change from one sender of a `latest` link to the one that replaces it, so that what the old one still holds is not
 * lost: the old connection is read on, and what comes from the new one waits until it follows on what the old one gave.
 *
 *   begun (a new address is dialled, the old connection stays) --the new one's next packet follows on--> over
 *   begun --the old connection closes, or the new one has waited HANDOVER_MS--> over, with a hole
 *
 * Invariant: every sequence that the new sender gives first was given to the old one or lies right behind it, because a
 * source's link gives each packet to the connection of the moment, and the one that closes has what came before.
 */
import { LATEST_WINDOW_PACKETS } from '../contracts/limits.js';
import { type Arrival, firstOf, type IncomingChannel, type LinkPacket } from './link.js';

/**
 * What the new sender gave waits so long at most for what the old one still works on, ms: more than a packet takes on
 * the slowest models that keep up with a camera; longer, and the pause would cost more frames than it saves.
 */
export const HANDOVER_MS = 250;

/** An old connection that gave nothing for so long has nothing to hand over (its machine may be gone), ms. */
export const HANDOVER_QUIET_MS = 500;

interface Held {
  readonly packet: LinkPacket;
  readonly arrival: Arrival;
}

export class Handover {
  readonly old: IncomingChannel;
  readonly #held: Held[] = [];
  readonly #onLate: () => void;
  #timer: NodeJS.Timeout | null = null;

  /** `onLate`: the new sender has waited long enough. */
  constructor(old: IncomingChannel, onLate: () => void) {
    this.old = old;
    this.#onLate = onLate;
  }

  /** Whether the new sender has given anything. */
  get isWaiting(): boolean {
    return this.#held.length > 0;
  }

  /** Whether what waits follows on `received`. */
  isDone(received: number): boolean {
    const next = this.#held[0];
    return next !== undefined && firstOf(next.packet) <= received + 1;
  }

  /** Keeps a packet of the new sender, which without acknowledgements gives no more than its window. */
  hold(packet: LinkPacket, arrival: Arrival): void {
    this.#held.push({ packet, arrival });
    this.#timer ??= setTimeout(this.#onLate, HANDOVER_MS);
    if (this.#held.length > LATEST_WINDOW_PACKETS) this.#onLate();
  }

  /** Ends it: closes the old connection and gives what waited. */
  end(): readonly Held[] {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.old.close('replaced by another host');
    return this.#held;
  }
}
