/**
 * When a receiver acknowledges: at the end of the turn in which enough has come since it last did, otherwise a little
 * later. Invariant: whatever progress is told, an acknowledgement follows within ACK_DELAY_MS.
 */
import { ACK_BYTES, ACK_DELAY_MS, ACK_PACKETS } from './link.js';

export class AckPacer {
  readonly #send: () => void;
  #told = -1;
  #upTo = -1;
  #bytes = 0;
  #due = false;
  #atOnce = false;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(send: () => void) {
    this.#send = send;
  }

  /** `upTo`: the sequence that may be acknowledged now; `bytes` came with it. */
  progress(upTo: number, bytes: number, atOnce: boolean): void {
    if (this.#stopped) return;
    this.#upTo = upTo;
    this.#bytes += bytes;
    this.#due = true;
    if (this.#atOnce) return;
    if (atOnce || upTo - this.#told >= ACK_PACKETS || this.#bytes >= ACK_BYTES) {
      this.#atOnce = true;
      setImmediate(() => this.#tell());
    } else if (this.#timer === null) {
      this.#timer = setTimeout(() => {
        this.#timer = null;
        this.#tell();
      }, ACK_DELAY_MS);
    }
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #tell(): void {
    this.#atOnce = false;
    if (!this.#due || this.#stopped) return;
    this.#due = false;
    this.#told = this.#upTo;
    this.#bytes = 0;
    this.#send();
  }
}
