/**
 * An input that is fed by POST instead of a link: numbers what comes, so that the rest of the chain sees the same
 * gapless stream as from a source. Numbers that a client leaves out become skips: nothing was lost.
 */
import { OrchestratorError } from '../contracts/errors.js';
import { LINK_WINDOW_PACKETS } from '../contracts/limits.js';
import type { Delivery, Payload } from '../contracts/packet.js';
import { packetBytes } from '../links/codec.js';
import type { Clock } from '../std/clock.js';
import type { Account } from './account.js';
import type { HandlerRunner } from './runner.js';

/** When to post again after LINK_BUSY, s. */
export const POST_RETRY_AFTER_S = 1;

/** How long a post waits for the links behind it, which connect when the session runs, ms. */
export const POST_ATTACH_WAIT_MS = 5_000;

export interface PostedInputOptions {
  readonly runner: HandlerRunner;
  readonly input: number;
  readonly delivery: Delivery;
  readonly latencyMsMax: number | null;
  readonly clock: Clock;
  /** What is posted counts as emitted. */
  readonly account: Account;
}

export class PostedInput {
  readonly #options: PostedInputOptions;
  #last = -1;
  #refused = false;

  constructor(options: PostedInputOptions) {
    this.#options = options;
  }

  get account(): Account {
    return this.#options.account;
  }

  /** To be awaited before a body is read: what waits holds a connection and no packet. */
  untilConnected(): Promise<void> {
    return this.#options.runner.outputs.untilAttached(POST_ATTACH_WAIT_MS);
  }

  /** Takes one packet; returns its sequence. One at or below the last was posted before and is taken as done. */
  post(payload: Payload, requested: number | null): { sequence: number; duplicate: boolean } {
    const { runner, input, delivery, latencyMsMax, clock } = this.#options;
    if (this.#refused) throw new OrchestratorError('SESSION_STOPPED', 'the session is being stopped');
    this.#last = Math.max(this.#last, runner.last);
    if (requested !== null && requested <= this.#last) return { sequence: requested, duplicate: true };
    this.#refuseWhenBusy();
    const sequence = requested ?? this.#last + 1;
    const timestamp = clock.now();
    const deadline = delivery === 'latest' && latencyMsMax !== null ? timestamp + latencyMsMax / 1000 : 0;
    if (sequence > this.#last + 1) {
      runner.accept(
        input,
        { kind: 'skip', first: this.#last + 1, sequence: sequence - 1, timestamp, deadline: 0 },
        null,
      );
    }
    this.#options.account.note('emitted', this.#last + 1, sequence);
    this.#last = sequence;
    const packet = { kind: 'data', sequence, timestamp, deadline, payload, metadata: {} } as const;
    runner.accept(input, packet, { bytes: packetBytes(packet), sentAt: timestamp });
    return { sequence, duplicate: false };
  }

  /** The host drains: nothing more is taken. */
  refuse(): void {
    this.#refused = true;
  }

  #refuseWhenBusy(): void {
    const { runner } = this.#options;
    if (runner.readySets >= LINK_WINDOW_PACKETS) {
      throw new OrchestratorError(
        'LINK_BUSY',
        `${runner.readySets} packets wait already (at most ${LINK_WINDOW_PACKETS})`,
      );
    }
    if (!runner.outputs.attached) throw new OrchestratorError('LINK_BUSY', 'the next handler is not connected yet');
  }
}
