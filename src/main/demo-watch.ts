/**
 * Watches the sink of a session from outside: the render handler's boxes.jsonl, looked at every few milliseconds, tells
 * when each frame arrived to that precision. It is how the demo times a fail-over without asking the system itself.
 */
import { BoxesJournal, findOutput } from './boxes-journal.js';

export interface Arrival {
  /** s since the epoch, when it was seen here. */
  readonly at: number;
  readonly sequence: number;
  /** Where and why it ended; null when it was delivered. */
  readonly dropped: string | null;
  readonly labels: readonly string[];
}

const LOOK_MS = 15;

/** Arrivals kept: ten minutes at 30 per second. */
const ARRIVALS_MAX = 18_000;

export class SinkWatch {
  readonly #outputsDir: string;
  readonly #timer: NodeJS.Timeout;
  #journal: BoxesJournal | null = null;
  #arrivals: Arrival[] = [];

  constructor(outputsDir: string) {
    this.#outputsDir = outputsDir;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Since `at`, oldest first. */
  since(at: number): Arrival[] {
    return this.#arrivals.filter((arrival) => arrival.at >= at);
  }

  deliveredSince(at: number): boolean {
    return this.#arrivals.some((arrival) => arrival.at >= at && arrival.dropped === null);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    if (this.#journal === null) {
      const file = findOutput(this.#outputsDir, 'boxes.jsonl');
      if (file === null) return;
      this.#journal = new BoxesJournal(file);
    }
    const at = Date.now() / 1000;
    for (const line of this.#journal.read()) {
      const dropped = 'boxes' in line ? null : `${line.dropped} ${line.handler_id}`;
      const labels = 'boxes' in line ? line.boxes.map((box) => box.label) : [];
      this.#arrivals.push({ at, sequence: line.sequence, dropped, labels });
    }
    if (this.#arrivals.length > ARRIVALS_MAX) this.#arrivals = this.#arrivals.slice(-ARRIVALS_MAX / 2);
  }
}

export interface Outage {
  /** The longest time between two delivered frames, ms. */
  readonly gapMs: number;
  /** s since the epoch, end of that gap. */
  readonly resumedAt: number;
}

/** The longest gap between deliveries after the last one before `since`; null until a frame has come after it. */
export function outageOf(arrivals: readonly Arrival[], since: number): Outage | null {
  const delivered = arrivals.filter((arrival) => arrival.dropped === null);
  const before = delivered.findLast((arrival) => arrival.at < since);
  const after = delivered.filter((arrival) => arrival.at >= since);
  let last = before?.at ?? since;
  let gapMs = 0;
  let resumedAt = 0;
  for (const { at } of after) {
    if ((at - last) * 1000 > gapMs) {
      gapMs = (at - last) * 1000;
      resumedAt = at;
    }
    last = at;
  }
  if (resumedAt === 0) return null;
  return { gapMs, resumedAt };
}

/** `1201-1212, 1215` */
export function ranges(sequences: readonly number[]): string {
  const sorted = [...new Set(sequences)].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let index = 0; index < sorted.length; index++) {
    const first = sorted[index]!;
    while (sorted[index + 1] === sorted[index]! + 1) index += 1;
    const last = sorted[index]!;
    parts.push(first === last ? String(first) : `${first}-${last}`);
  }
  return parts.join(', ');
}
