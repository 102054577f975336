/**
 * Works on several things at once and finishes them in the order in which they were begun. Invariant: at most
 * `concurrency` are between their begin and the end of their finish.
 */

/** What is left to do with the result, when everything begun before has finished. */
export type Finish = () => void | Promise<void>;

export class InOrder {
  readonly #concurrency: number;
  /** The end of each that is open, oldest first. */
  readonly #open: Promise<void>[] = [];

  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  /** Takes work that has begun. Resolves when another one may begin. Neither it nor its finish may throw. */
  async add(work: Promise<Finish>): Promise<void> {
    this.#open.push(this.#through(work, this.#open.at(-1)));
    if (this.#open.length >= this.#concurrency) await this.#open[0];
  }

  async #through(work: Promise<Finish>, before: Promise<void> | undefined): Promise<void> {
    const finish = await work;
    await before;
    await finish();
    this.#open.shift();
  }
}
