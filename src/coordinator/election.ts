/**
 * Whether this coordinator leads, by a lease in the database that all of them share.
 *
 *     follower --the lease is free, or has run out--> leader --another one took it--> follower
 *
 * leader    holds the lease; `leads` also asks whether what it knows of it is still fresh
 * follower  another one holds it; `leader` says where that one is
 *
 * Invariant: `leads` is false before anybody else can get the lease, however long this process was stopped: the time
 * runs from before the question was sent, on this machine's monotonic clock, which goes on while a process is stopped.
 * Surprising: a database that answers nobody lapses `leads` and leaves the leader what it is. Nobody else can get the
 * lease meanwhile; it goes on when the database is back.
 */
import { toOrchestratorError } from '../contracts/errors.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import type { Lease } from '../store/lease.js';

export interface ElectionBounds {
  /** How long a lease is good for without being renewed, ms: a pause of a busy machine or database must fit in it. */
  readonly leaseMs: number;
  /** Between two renewals, ms: three may fail. */
  readonly renewPeriodMs: number;
  /** Between two looks of a follower, ms: part of the time until another one leads. */
  readonly watchPeriodMs: number;
}

export const DEFAULT_ELECTION_BOUNDS: ElectionBounds = { leaseMs: 2_000, renewPeriodMs: 500, watchPeriodMs: 200 };

export interface ElectionOptions {
  readonly lease: Lease;
  /** Of this process alone. */
  readonly holder: string;
  /** Where clients reach this coordinator. */
  readonly url: string;
  readonly bounds: ElectionBounds;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called whenever `isLeader` has changed. */
  onChange(): void;
}

export class Election {
  readonly #options: ElectionOptions;
  #isLeader = false;
  #leader: string | null = null;
  #goodUntilMs = 0;
  #failing = false;
  #closed = false;
  #wake: (() => void) | null = null;
  #loop: Promise<void> | null = null;

  constructor(options: ElectionOptions) {
    this.#options = options;
  }

  get holder(): string {
    return this.#options.holder;
  }
  get url(): string {
    return this.#options.url;
  }

  /** By the last answer of the database. */
  get isLeader(): boolean {
    return this.#isLeader;
  }

  /** Whether it may still act in that name. */
  get leads(): boolean {
    return this.#isLeader && !this.#closed && this.#options.clock.monotonicMs() < this.#goodUntilMs;
  }

  /** Where the leader is; null when nobody leads. */
  get leader(): string | null {
    return this.#leader;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Stops asking for the lease. One that is held stays until `release` or its end. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wake?.();
    await this.#loop;
  }

  /** Lets another one lead at once; call it when nothing is done in this one's name any more. */
  async release(): Promise<void> {
    const { lease, holder, logger } = this.#options;
    await lease.release(holder).catch((error: unknown) => {
      logger.warn({ err: error }, 'the lease could not be given back; it runs out by itself');
    });
  }

  async #run(): Promise<void> {
    const { bounds } = this.#options;
    while (!this.#closed) {
      await this.#claim();
      if (!this.#closed) await this.#pause(this.#isLeader ? bounds.renewPeriodMs : bounds.watchPeriodMs);
    }
  }

  async #claim(): Promise<void> {
    const { lease, holder, url, bounds, clock, logger, onChange } = this.#options;
    const sentMs = clock.monotonicMs();
    try {
      const { held, leader } = await lease.claim({ holder, url, leaseMs: bounds.leaseMs });
      this.#failing = false;
      const changed = held !== this.#isLeader;
      this.#isLeader = held;
      this.#leader = leader;
      this.#goodUntilMs = held ? sentMs + bounds.leaseMs : 0;
      if (changed && !this.#closed) onChange();
    } catch (error) {
      if (!this.#failing) logger.warn({ err: error }, `who leads is not known: ${toOrchestratorError(error).message}`);
      this.#failing = true;
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
