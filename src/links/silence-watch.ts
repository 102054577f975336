/**
 * Notices that a peer says nothing to what it was sent: a machine that lost its power or its cable resets no connection.
 * It only gives a reason to look; what became of the peer others find out. Told once until the peer is heard again.
 * The surprise: when this process was itself held up, the peer's words wait to be read, so it looks once more after that.
 */

/**
 * A receiver answers within ACK_DELAY_MS and a round trip; so much longer is a path of half the world, a busy machine or
 * a dead one, ms.
 */
export const LINK_SILENT_MS = 200;

export class SilenceWatch {
  readonly #onSilent: () => void;
  /** When the oldest write that nothing was heard after was made, monotonic ms. */
  #unheardMs: number | null = null;
  #told = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(onSilent: () => void) {
    this.#onSilent = onSilent;
  }

  wrote(): void {
    if (this.#told) return;
    this.#unheardMs ??= performance.now();
    this.#timer ??= setTimeout(() => this.#look(), LINK_SILENT_MS);
  }

  heard(): void {
    this.#told = false;
    this.#unheardMs = null;
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#unheardMs = null;
  }

  #look(): void {
    this.#timer = null;
    if (this.#unheardMs === null) return;
    const leftMs = this.#unheardMs + LINK_SILENT_MS - performance.now();
    if (leftMs > 0) this.#timer = setTimeout(() => this.#look(), leftMs);
    else setImmediate(() => this.#tell());
  }

  #tell(): void {
    if (this.#unheardMs === null) return;
    this.#told = true;
    this.#onSilent();
  }
}
