/**
 * Waits at one node for hints, as long as it is up: a question is always open there, and its answer is a reason to ask
 * for a heartbeat now, of this node or of those that it suspects. A node that cannot tell hints is asked in its turn, as
 * every node is besides; nothing is lost with a hint but time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeClient } from '../client/node-client.js';
import { OrchestratorError } from '../contracts/errors.js';

/** How long one question stays open, ms: long enough to cost nothing. */
const WAIT_MS = 10_000;

/** Between an answer and the next question, ms: what a node tells at one moment comes as one. */
const PAUSE_MS = 5;

/** After a question that failed, ms: whether the node is there is found out by others. */
const RETRY_MS = 500;

export interface HintWatchOptions {
  readonly client: Pick<NodeClient, 'hints'>;
  /** The node has news; `suspects` may be gone. */
  onHint(suspects: readonly number[]): void;
}

export class HintWatch {
  readonly #options: HintWatchOptions;
  #stopping: AbortController | null = null;

  constructor(options: HintWatchOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#stopping !== null) return;
    this.#stopping = new AbortController();
    // Rejects when it is stopped.
    this.#follow(this.#stopping.signal).catch(() => {});
  }

  stop(): void {
    this.#stopping?.abort();
    this.#stopping = null;
  }

  async #follow(signal: AbortSignal): Promise<void> {
    let after: number | undefined;
    while (!signal.aborted) {
      try {
        const known = after === undefined ? {} : { after };
        const { sequence, suspects } = await this.#options.client.hints({ ...known, wait_ms: WAIT_MS });
        const isNews = sequence !== after;
        after = sequence;
        if (isNews && !signal.aborted) this.#options.onHint(suspects);
        await sleep(PAUSE_MS, undefined, { signal });
      } catch (error) {
        if (error instanceof OrchestratorError && error.code === 'ROUTE_NOT_FOUND') return;
        after = undefined;
        await sleep(RETRY_MS, undefined, { signal });
      }
    }
  }
}
