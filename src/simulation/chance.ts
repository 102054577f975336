/** Draws from stated distributions, all from one seed: same seed, same draws. */
import { seededRandom } from '../std/prng.js';

export class Chance {
  readonly #random: () => number;
  #spare: number | null = null;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  /** [low, high) */
  uniform(low: number, high: number): number {
    return low + this.#random() * (high - low);
  }

  /** low, low + 1, ... high */
  whole(low: number, high: number): number {
    return low + Math.floor(this.#random() * (high - low + 1));
  }

  happens(share: number): boolean {
    return this.#random() < share;
  }

  /** Of at least one. */
  pick<T>(from: readonly T[]): T {
    return from[this.whole(0, from.length - 1)]!;
  }

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.#random());
  }

  /** Pareto with shape > 1 and the given mean, cut at `most`: a few are very long. */
  pareto(mean: number, shape: number, most: number): number {
    const least = (mean * (shape - 1)) / shape;
    return Math.min(most, least / (1 - this.#random()) ** (1 / shape));
  }

  /** Mean `mean`; `cv` is the standard deviation over the mean. */
  lognormal(mean: number, cv: number): number {
    if (cv === 0 || mean === 0) return mean;
    const variance = Math.log(1 + cv * cv);
    return mean * Math.exp(Math.sqrt(variance) * this.#normal() - variance / 2);
  }

  /** Box and Muller's, which makes two at a time. */
  #normal(): number {
    if (this.#spare !== null) {
      const one = this.#spare;
      this.#spare = null;
      return one;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.#random()));
    const angle = 2 * Math.PI * this.#random();
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
}
