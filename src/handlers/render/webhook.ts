/**
 * Posts what is recorded to an address of the user's, as JSON lines, in order. A receiver that is slow or away holds up
 * nothing: lines wait here, the oldest go when there are too many, and how many went is logged. What was recorded is in
 * boxes.jsonl in any case; a line may arrive twice when an answer was lost.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Backoff } from '../../std/backoff.js';
import type { Logger } from '../../std/logger.js';

/** Lines that wait at most: ten minutes at 30 per second. */
const WAITING_MAX = 18_000;
/** Lines of one request. */
const BATCH_MAX = 200;
const REQUEST_MS_MAX = 10_000;
const RETRY_MS = { baseMs: 250, maxMs: 15_000 } as const;
/** What is still waiting when the handler closes has this long to go out, ms. */
const CLOSE_MS_MAX = 2000;

export interface WebhookOptions {
  readonly url: string;
  readonly logger: Logger;
}

export class Webhook {
  readonly #url: string;
  readonly #logger: Logger;
  readonly #waiting: string[] = [];
  readonly #stop = new AbortController();
  #sending: Promise<void> | null = null;
  #lost = 0;
  #closing = false;

  constructor({ url, logger }: WebhookOptions) {
    this.#url = url;
    this.#logger = logger;
  }

  send(record: object): void {
    if (this.#closing) return;
    this.#waiting.push(JSON.stringify(record));
    if (this.#waiting.length > WAITING_MAX) {
      this.#waiting.shift();
      this.#lost += 1;
    }
    this.#start();
  }

  #start(): void {
    this.#sending ??= this.#drain().finally(() => {
      this.#sending = null;
      // A line may have come after the last look and before this.
      if (this.#waiting.length > 0 && !this.#stop.signal.aborted) this.#start();
    });
  }

  async close(): Promise<void> {
    this.#closing = true;
    const timer = setTimeout(() => this.#stop.abort(), CLOSE_MS_MAX);
    while (this.#sending !== null) await this.#sending;
    clearTimeout(timer);
    if (this.#waiting.length > 0)
      this.#logger.warn({ lines: this.#waiting.length }, 'webhook: lines were not delivered');
  }

  async #drain(): Promise<void> {
    const backoff = new Backoff(RETRY_MS);
    const { signal } = this.#stop;
    while (this.#waiting.length > 0 && !signal.aborted) {
      const batch = this.#waiting.slice(0, BATCH_MAX);
      const lostBefore = this.#lost;
      const failure = await this.#post(batch);
      if (failure === null) {
        // Lines that went missing meanwhile were the oldest, so they are of this batch.
        this.#waiting.splice(0, Math.max(0, batch.length - (this.#lost - lostBefore)));
        if (this.#lost > 0) this.#logger.warn({ lines: this.#lost }, 'webhook: lines were lost while it was away');
        this.#lost = 0;
        backoff.reset();
        continue;
      }
      const pauseMs = backoff.nextMs();
      this.#logger.warn({}, `webhook: ${failure}; retry ${backoff.attempt} in ${(pauseMs / 1000).toFixed(1)} s`);
      await sleep(pauseMs, undefined, { signal }).catch(() => {});
    }
  }

  /** null when the receiver took it. */
  async #post(lines: readonly string[]): Promise<string | null> {
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson' },
        body: `${lines.join('\n')}\n`,
        redirect: 'error',
        signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(REQUEST_MS_MAX)]),
      });
      await response.body?.cancel();
      return response.ok ? null : `it answered ${response.status}`;
    } catch (error) {
      return error instanceof Error ? String(error.cause ?? error.message) : String(error);
    }
  }
}
