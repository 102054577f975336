export interface BackoffOptions {
  /** First delay, ms. */
  readonly baseMs: number;
  /** No delay is longer than this, ms. */
  readonly maxMs: number;
  /** 0..1, the share of each delay that is random; spreads retries of many peers. */
  readonly jitter?: number;
  readonly random?: () => number;
}

/** Exponential delays: base, 2 base, 4 base ... up to max; `reset` after a success. */
export class Backoff {
  #attempt = 0;
  readonly #options: BackoffOptions;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  get attempt(): number {
    return this.#attempt;
  }

  nextMs(): number {
    const { baseMs, maxMs, jitter = 0.2, random = Math.random } = this.#options;
    const full = Math.min(maxMs, baseMs * 2 ** Math.min(this.#attempt, 30));
    this.#attempt += 1;
    return full * (1 - jitter * random());
  }

  reset(): void {
    this.#attempt = 0;
  }
}
