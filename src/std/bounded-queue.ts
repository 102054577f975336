/**
 * First-in first-out queue with a fixed bound, on a ring buffer: O(1) push and shift, no growth.
 * What happens at the bound is the caller's decision: `push` refuses, `pushDroppingOldest` hands back the victim.
 */
export class BoundedQueue<T> {
  readonly #ring: (T | undefined)[];
  #head = 0;
  #size = 0;

  constructor(readonly capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1) throw new RangeError(`queue capacity ${capacity} must be >= 1`);
    this.#ring = new Array(capacity);
  }

  get size(): number {
    return this.#size;
  }

  get full(): boolean {
    return this.#size === this.capacity;
  }

  /** False, and nothing changed, when the queue is full. */
  push(item: T): boolean {
    if (this.full) return false;
    this.#ring[(this.#head + this.#size) % this.capacity] = item;
    this.#size += 1;
    return true;
  }

  /** Always takes `item`; returns the oldest one when it had to go. */
  pushDroppingOldest(item: T): T | undefined {
    const victim = this.full ? this.shift() : undefined;
    this.push(item);
    return victim;
  }

  peek(): T | undefined {
    return this.#size === 0 ? undefined : this.#ring[this.#head];
  }

  shift(): T | undefined {
    if (this.#size === 0) return undefined;
    const item = this.#ring[this.#head];
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) % this.capacity;
    this.#size -= 1;
    return item;
  }

  /** Empties the queue and returns what was in it, oldest first. */
  drain(): T[] {
    const items: T[] = [];
    for (let item = this.shift(); item !== undefined; item = this.shift()) items.push(item);
    return items;
  }
}
