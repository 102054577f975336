/**
 * Events: into the store, to those who follow, and into the log. `emit` never waits and never fails: what happened is
 * already a fact when it is told. Invariant: events reach the store in the order in which they were emitted.
 */
import type { OrchestratorEvent } from '../contracts/event.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import type { EventQuery, StateStore } from '../store/store.js';

/** Events that wait for a store that cannot be written: about 2 MB; older ones are lost first. */
export const EVENTS_WAITING_MAX = 10_000;

export interface EventLogOptions {
  readonly state: Pick<StateStore, 'appendEvents' | 'events'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export type EventListener = (event: OrchestratorEvent) => void;

export class EventLog {
  readonly #options: EventLogOptions;
  readonly #listeners = new Set<EventListener>();
  #waiting: OrchestratorEvent[] = [];
  #writing: Promise<void> | null = null;

  constructor(options: EventLogOptions) {
    this.#options = options;
  }

  emit(event: Omit<OrchestratorEvent, 'timestamp'>): void {
    const { clock, logger } = this.#options;
    const stamped = { timestamp: clock.now(), ...event };
    const { message, ...context } = stamped;
    logger.info(context, message);
    this.#waiting.push(stamped);
    if (this.#waiting.length > EVENTS_WAITING_MAX) this.#waiting.shift();
    this.#writing ??= this.#write();
    for (const listener of this.#listeners) listener(stamped);
  }

  /** Calls `listener` for every event from now on, until the returned function is called. */
  follow(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The newest ones, oldest first, those just emitted included. */
  async list(query: EventQuery): Promise<OrchestratorEvent[]> {
    await this.flush();
    return this.#options.state.events(query);
  }

  async flush(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
  }

  async #write(): Promise<void> {
    // Everything emitted in one turn of the event loop becomes one transaction.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#options.state.appendEvents(batch);
      } catch (error) {
        // Whether they were stored is unknown, and storing twice would tell of things that never happened.
        this.#options.logger.error({ err: error, events: batch.length }, 'events could not be stored');
      }
    }
    // In the same turn as the last look at what waits: an event in between would wait for the next one.
    this.#writing = null;
  }
}
