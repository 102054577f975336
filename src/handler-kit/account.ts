/**
 * The account of one handler where sequences begin (a source: what it emitted) or end (a sink: what became of each).
 * Invariants: every sequence from the first noted one on is in exactly one run, in order; one that was accounted before,
 * here or by an earlier process of the handler (`accounted`), is never counted again. What an earlier process did not
 * live to tell is left out: whoever reads the ledger sees the hole and knows that a process died there.
 * Runs leave for the agent at once, or ACCOUNT_PERIOD_MS after the last ones, so that a killed process takes next to
 * nothing along: at camera rates not even the packet before.
 */
import { extendRun } from '../contracts/ledger.js';
import type { LedgerFate, LedgerRow } from '../contracts/report.js';
import type { Clock } from '../std/clock.js';

/** Shortest time between two messages about one account, ms: 50 messages a second whatever the rate of packets. */
export const ACCOUNT_PERIOD_MS = 20;

export interface AccountOptions {
  readonly sessionId: number;
  readonly handlerId: number;
  /** Highest sequence that an earlier process accounted for, -1 when none is known. */
  readonly accounted: number;
  readonly clock: Clock;
  send(rows: readonly LedgerRow[]): void;
}

export class Account {
  readonly #options: AccountOptions;
  readonly #incarnation: number;
  #last: number;
  #runs: LedgerRow[] = [];
  #sentMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: AccountOptions) {
    this.#options = options;
    this.#last = options.accounted;
    this.#incarnation = Math.round(options.clock.now() * 1000);
  }

  /** `first`..`last` ended so; what of it is accounted for already is left out. */
  note(fate: Exclude<LedgerFate, 'settled'>, first: number, last: number, atHandler: number | null = null): void {
    const from = Math.max(first, this.#last + 1);
    if (last < from) return;
    this.#last = last;
    this.#add(fate, from, last, atHandler);
  }

  /** An earlier process of this handler, here or on a node that is gone, had settled everything up to `last`. */
  settled(last: number): void {
    if (last <= this.#last) return;
    this.#last = last;
    this.#add('settled', 0, last, null);
  }

  /** Hands over what is not yet told. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#runs.length === 0) return;
    const runs = this.#runs;
    this.#runs = [];
    this.#sentMs = this.#options.clock.monotonicMs();
    this.#options.send(runs);
  }

  #add(fate: LedgerFate, first_sequence: number, last_sequence: number, at_handler: number | null): void {
    const { sessionId: session_id, handlerId: handler_id, clock } = this.#options;
    const packets = last_sequence - first_sequence + 1;
    const account = { timestamp: clock.now(), session_id, handler_id, incarnation: this.#incarnation };
    const run = { ...account, fate, at_handler, first_sequence, last_sequence, packets };
    if (!extendRun(this.#runs.at(-1), run)) this.#runs.push(run);
    const waitMs = this.#sentMs + ACCOUNT_PERIOD_MS - clock.monotonicMs();
    if (waitMs <= 0) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), waitMs).unref();
  }
}
