/**
 * The rate at which packets come in, measured in passing: from the read that brought a packet's beginning to the one that
 * completed it. Invariant: a packet gives a sample only when it took several reads and a measurable time, so that what
 * had piled up while this process was busy is not taken for the speed of the path.
 */

/** Bytes behind the first read that a sample needs: fewer say more about timers than about the path. */
export const SAMPLE_BYTES_MIN = 32 * 1024;

/** Shortest time that a sample may span, ms. */
export const SAMPLE_MS_MIN = 0.2;

/** Reads that a sample needs: a packet that lay ready is taken in one or two. */
export const SAMPLE_READS_MIN = 3;

/** What the probe asks of the decoder. */
export interface FrameProgress {
  /** Frames completed so far. */
  readonly completed: number;
  /** True while a frame is begun and not complete. */
  readonly inFrame: boolean;
}

export class ThroughputProbe {
  readonly #onSample: (mbitPerS: number) => void;
  readonly #now: () => number;
  #sinceMs = 0;
  #bytes = 0;
  #reads = 0;

  /** `now`: monotonic ms. */
  constructor(onSample: (mbitPerS: number) => void, now: () => number = () => performance.now()) {
    this.#onSample = onSample;
    this.#now = now;
  }

  /** `count` bytes were read; `feed` gives them to the decoder. */
  read(count: number, progress: FrameProgress, feed: () => void): void {
    const { inFrame, completed } = progress;
    const nowMs = this.#now();
    if (inFrame) {
      this.#bytes += count;
      this.#reads += 1;
    }
    feed();
    const done = progress.completed !== completed;
    if (inFrame && done) this.#sample(nowMs - this.#sinceMs);
    if (!inFrame || done) {
      this.#sinceMs = nowMs;
      this.#bytes = this.#reads = 0;
    }
  }

  #sample(tookMs: number): void {
    if (this.#reads < SAMPLE_READS_MIN || this.#bytes < SAMPLE_BYTES_MIN || tookMs < SAMPLE_MS_MIN) return;
    this.#onSample((this.#bytes * 8) / (tookMs * 1000));
  }
}
