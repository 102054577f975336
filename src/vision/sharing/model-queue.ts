/**
 * What waits for one model, and which of it is run next. Clients take turns, one request each, however many they have
 * waiting; where the model takes several pictures at a time, requests of the same size share a run. Pure: time is given.
 * Invariants: a client's requests run in their order; a request whose deadline has passed is never run; an incomplete
 * batch is held back no longer than `waitMs`, and never so long that a deadline among it would be missed.
 */
export interface Waiting {
  readonly pictures: number;
  /** Only requests of one shape can share a run. */
  readonly shape: string;
  /** Pictures of that shape that may share a run, where that is less than `batchMax`. */
  readonly togetherMax?: number;
  readonly arrivedMs: number;
  /** Infinity: none. */
  readonly deadlineMs: number;
}

export interface ModelQueueOptions {
  /** False: one request a run. */
  readonly batches: boolean;
  /** Pictures of one run; a request that has more of its own runs alone. */
  readonly batchMax: number;
  readonly waitMs: number;
}

export interface Turn<R> {
  /** To be run now, together; none: nothing waits, or more may come. */
  readonly run: readonly R[];
  /** Their deadlines have passed. */
  readonly late: readonly R[];
  /** When to ask again although nothing changed; null: no need. */
  readonly againMs: number | null;
}

export class ModelQueue<C, R extends Waiting> {
  readonly #options: ModelQueueOptions;
  /** Who has waited longest for a turn comes first. */
  readonly #clients = new Map<C, R[]>();

  constructor(options: ModelQueueOptions) {
    this.#options = options;
  }

  get size(): number {
    let size = 0;
    for (const waiting of this.#clients.values()) size += waiting.length;
    return size;
  }

  join(client: C): void {
    this.#clients.set(client, []);
  }

  /** Its place is free at once; what it had waiting is handed back. */
  leave(client: C): R[] {
    const waiting = this.#clients.get(client) ?? [];
    this.#clients.delete(client);
    return waiting;
  }

  waitingOf(client: C): number {
    return this.#clients.get(client)?.length ?? 0;
  }

  add(client: C, request: R): void {
    this.#clients.get(client)?.push(request);
  }

  /** `runMs`: what a run is expected to take. */
  take(nowMs: number, runMs: number): Turn<R> {
    const late = this.#takeLate(nowMs);
    const batch = this.#choose();
    if (batch.size === 0) return { run: [], late, againMs: null };
    const run = [...batch.values()].flat();
    const againMs = this.#releaseMs(run, batch, runMs);
    if (againMs > nowMs) return { run: [], late, againMs };
    for (const [client, requests] of batch) {
      const rest = this.#clients.get(client)!.slice(requests.length);
      // To the end: everybody else is next.
      this.#clients.delete(client);
      this.#clients.set(client, rest);
    }
    return { run, late, againMs: null };
  }

  #takeLate(nowMs: number): R[] {
    const late: R[] = [];
    for (const [client, waiting] of this.#clients) {
      const gone = waiting.filter((request) => request.deadlineMs <= nowMs);
      if (gone.length === 0) continue;
      late.push(...gone);
      this.#clients.set(
        client,
        waiting.filter((request) => request.deadlineMs > nowMs),
      );
    }
    return late;
  }

  /** One request of each client in turn, round after round, as long as they fit. */
  #choose(): Map<C, R[]> {
    const { batches } = this.#options;
    const chosen = new Map<C, R[]>();
    let lead: R | undefined;
    let pictures = 0;
    for (let round = 0; ; round++) {
      const before = pictures;
      for (const [client, waiting] of this.#clients) {
        const request = waiting[round];
        // Only what is next of a client: its requests keep their order.
        if (request === undefined || (chosen.get(client)?.length ?? 0) !== round) continue;
        const fits =
          lead === undefined || (request.shape === lead.shape && pictures + request.pictures <= this.#mostOf(lead));
        if (!fits) continue;
        lead ??= request;
        pictures += request.pictures;
        chosen.set(client, [...(chosen.get(client) ?? []), request]);
        if (!batches) return chosen;
      }
      if (pictures === before) return chosen;
    }
  }

  #mostOf({ togetherMax = Number.POSITIVE_INFINITY }: R): number {
    return Math.min(this.#options.batchMax, togetherMax);
  }

  /** When `run` has waited enough for others. */
  #releaseMs(run: readonly R[], batch: ReadonlyMap<C, readonly R[]>, runMs: number): number {
    const { batches, waitMs } = this.#options;
    const pictures = run.reduce((sum, request) => sum + request.pictures, 0);
    // Nobody is left who could join, or somebody waits who cannot: waiting would win nothing.
    const isComplete = pictures >= this.#mostOf(run[0]!) || batch.size === this.#clients.size || this.size > run.length;
    if (!batches || isComplete) return Number.NEGATIVE_INFINITY;
    const oldestMs = Math.min(...run.map((request) => request.arrivedMs));
    const deadlineMs = Math.min(...run.map((request) => request.deadlineMs));
    return Math.min(oldestMs + waitMs, deadlineMs - runMs);
  }
}
