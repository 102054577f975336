/**
 * What handlers told last, and how far each of them has come. Statuses are of the process that told them; how far
 * handlers have come outlives it and only grows, so that its successor goes on behind it.
 */
import type { LedgerRow } from '../contracts/report.js';
import type { HostConfig, HostHandlerStatus } from '../handler-kit/host-protocol.js';

export class HandlerFigures {
  readonly #settled = new Map<number, number>();
  readonly #accounted = new Map<number, number>();
  readonly #statuses = new Map<number, HostHandlerStatus>();

  /** Newest figures of a handler; absent until the first pong of a process. */
  status(handler_id: number): HostHandlerStatus | undefined {
    return this.#statuses.get(handler_id);
  }

  /** Highest sequence of a source that is settled everywhere; -1 when none is known to be. */
  settled(handler_id: number): number {
    return this.#settled.get(handler_id) ?? -1;
  }

  /** Highest sequence that a handler has accounted for; -1 when there is none. */
  accounted(handler_id: number): number {
    return this.#accounted.get(handler_id) ?? -1;
  }

  configured({ handlers }: HostConfig): void {
    for (const { handler_id, resume_after, accounted } of handlers) {
      raise(this.#settled, handler_id, resume_after);
      raise(this.#accounted, handler_id, accounted);
    }
  }

  told(status: HostHandlerStatus): void {
    this.#statuses.set(status.handler_id, status);
    raise(this.#settled, status.handler_id, status.settled);
  }

  accountedFor(rows: readonly LedgerRow[]): void {
    for (const { handler_id, last_sequence } of rows) raise(this.#accounted, handler_id, last_sequence);
  }

  /** `sequence` of a source is settled everywhere, as somebody else knows. */
  settledBefore(handler_id: number, sequence: number): void {
    raise(this.#settled, handler_id, sequence);
  }

  /** Takes over what `other` knows of a handler. */
  keep(handler_id: number, other: Pick<HandlerFigures, 'status' | 'settled' | 'accounted'>): void {
    const status = other.status(handler_id);
    if (status !== undefined) this.told(status);
    raise(this.#settled, handler_id, other.settled(handler_id));
    raise(this.#accounted, handler_id, other.accounted(handler_id));
  }

  /** The process has ended. */
  clearStatuses(): void {
    this.#statuses.clear();
  }

  /** The same for a process that goes on where the one before it was. */
  resumed(config: HostConfig): HostConfig {
    const handlers = config.handlers.map((one) => ({
      ...one,
      resume_after: this.settled(one.handler_id),
      accounted: this.accounted(one.handler_id),
    }));
    return { ...config, handlers };
  }
}

function raise(highest: Map<number, number>, handler_id: number, sequence: number): void {
  highest.set(handler_id, Math.max(highest.get(handler_id) ?? -1, sequence));
}
