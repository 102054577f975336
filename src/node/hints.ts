/**
 * News of this node for whoever waits for it: that a session of it has changed its state, and that a link to another
 * node was cut or stays unanswered. A hint says only that it is worth asking; what is true the heartbeat tells.
 * Invariant: what happens after an answer is in the next one, however long it takes until that is asked for.
 */
import type { HintsQuery, NodeHints } from '../contracts/hint.js';

/** Questions that are held at a time: two coordinators that change places, and a person or two. A further one ends the oldest. */
const WAITING_MAX = 8;

/** A node is suspected once in this time at most, ms: a link that comes and goes is no reason for a storm of questions. */
const SUSPECT_PERIOD_MS = 250;

/** Nodes that are remembered as suspected: those that this one can have links with. */
const SUSPECTS_MAX = 1_000;

interface Suspicion {
  readonly sequence: number;
  readonly atMs: number;
}

export class Hints {
  #sequence = 0;
  readonly #suspects = new Map<number, Suspicion>();
  /** Oldest first. */
  readonly #waiting = new Set<() => void>();
  #closed = false;

  /** A session is in another state than before. */
  changed(): void {
    this.#sequence += 1;
    for (const answer of [...this.#waiting]) answer();
  }

  /** That node may be gone, as its links say. */
  suspect(nodeId: number): void {
    const nowMs = performance.now();
    const before = this.#suspects.get(nodeId);
    if (before !== undefined && nowMs - before.atMs < SUSPECT_PERIOD_MS) return;
    this.#suspects.delete(nodeId);
    this.#suspects.set(nodeId, { sequence: this.#sequence + 1, atMs: nowMs });
    const oldest = this.#suspects.keys().next();
    if (this.#suspects.size > SUSPECTS_MAX && oldest.done !== true) this.#suspects.delete(oldest.value);
    this.changed();
  }

  /** Answers at once when there is news after `after`, else when there is some or the wait is over. */
  async wait({ after = this.#sequence, wait_ms }: HintsQuery): Promise<NodeHints> {
    // An agent that was started again counts from the beginning.
    const known = after > this.#sequence ? 0 : after;
    if (this.#sequence === after && wait_ms > 0 && !this.#closed) await this.#news(wait_ms);
    const suspects = [...this.#suspects].filter(([, { sequence }]) => sequence > known).map(([nodeId]) => nodeId);
    return { sequence: this.#sequence, suspects };
  }

  /** Nobody is kept waiting any more. */
  close(): void {
    this.#closed = true;
    for (const answer of [...this.#waiting]) answer();
  }

  #news(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const answer = () => {
        clearTimeout(timer);
        this.#waiting.delete(answer);
        resolve();
      };
      const timer = setTimeout(answer, waitMs);
      const [oldest] = this.#waiting;
      if (this.#waiting.size >= WAITING_MAX) oldest?.();
      this.#waiting.add(answer);
    });
  }
}
