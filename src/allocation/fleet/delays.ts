/** Waiting times as mean and variance, by known formulas; pure arithmetic. Times are ms, rates packets/s, spreads standard deviation over mean. */

export interface Delay {
  readonly meanMs: number;
  readonly variance: number;
}

/** Utilisation is cut here: what has more work than it can do waits for ever, and a figure is wanted. */
const UTILISATION_MAX = 0.98;

/**
 * Probability of waiting at `servers` servers in Sakasegawa's formula for M/M/c (Ann. Inst. Stat. Math. 29, 1977); the
 * mean wait is this over servers x (1 - utilisation), in service times.
 */
const waitShare = (servers: number, utilisation: number): number => utilisation ** (Math.sqrt(2 * (servers + 1)) - 1);

/**
 * Squared spread of the intervals of several even streams together, 0..1: one is even, very many are Poisson's, and the
 * busier the servers the longer the view (W. Whitt, The Queueing Network Analyzer, Bell Syst. Tech. J. 62, 1983).
 * `streams`: as many as there were if all had the same rate.
 */
const togetherSpread = (streams: number, utilisation: number): number =>
  1 - 1 / (1 + 4 * (1 - utilisation) ** 2 * Math.max(0, streams - 1));

/** Kraemer and Langenbach-Belz: what arrivals that are more even than Poisson's save beyond their part in the sum. */
const evenShare = (utilisation: number, arrivals: number, work: number): number =>
  Math.exp((-2 * (1 - utilisation) * (1 - arrivals) ** 2) / (3 * utilisation * (arrivals + work)));

/** What comes to cores that are shared evenly by all that is at work: M/G/c-PS, which has the mean of M/M/c. */
export class SharedLoad {
  readonly #servers: number;
  #work = 0;
  #work2 = 0;

  constructor(servers: number) {
    this.#servers = servers;
  }

  /** `sign` -1: it is there no more. */
  add(rate: number, ms: number, sign: 1 | -1 = 1): void {
    this.#work += sign * rate * ms;
    this.#work2 += sign * (rate * ms) ** 2;
  }

  /** By how much of itself the work of a stream that has been added takes longer. */
  stretch(rate: number, ms: number): number {
    const work = this.#work - rate * ms;
    const rho = Math.min(UTILISATION_MAX, work / (1000 * this.#servers));
    if (rho <= 1e-9) return 0;
    const streams = work ** 2 / Math.max(1e-9, this.#work2 - (rate * ms) ** 2);
    return ((waitShare(this.#servers, rho) / (this.#servers * (1 - rho))) * (1 + togetherSpread(streams, rho))) / 2;
  }
}

/**
 * What comes to servers that take jobs in the order of coming, by the first three moments of the work. An even stream
 * never waits for itself: what a packet finds at work is there by chance, what it finds waiting comes of the others'
 * meeting one another, which one large stream alone does not do.
 */
export class FifoLoad {
  readonly #servers: number;
  #work = 0;
  /** Of the squares of the streams' work. */
  #streams = 0;
  #work2 = 0;
  #work3 = 0;

  constructor(servers: number) {
    this.#servers = servers;
  }

  /** `sign` -1: it is there no more. */
  add(rate: number, ms: number, spread: number, sign: 1 | -1 = 1): void {
    const square = 1 + spread * spread;
    this.#work += sign * rate * ms;
    this.#streams += sign * (rate * ms) ** 2;
    this.#work2 += sign * rate * ms ** 2 * square;
    // Of a lognormal.
    this.#work3 += sign * rate * ms ** 3 * square ** 3;
  }

  /** Of a stream that has been added: it waits for the others. */
  wait(rate: number, ms: number): Delay {
    const work = this.#work - rate * ms;
    const work2 = Math.max(0, this.#work2 - rate * ms ** 2);
    const work3 = Math.max(0, this.#work3 - rate * ms ** 3);
    const rho = Math.min(UTILISATION_MAX, work / (1000 * this.#servers));
    if (rho <= 1e-9) return { meanMs: 0, variance: 0 };
    const meeting = togetherSpread(work ** 2 / Math.max(1e-9, this.#streams - (rate * ms) ** 2), rho);
    const residualMs = (work2 / (2 * work)) * (waitShare(this.#servers, rho) / this.#servers);
    // With `meeting` 1 and one server Pollaczek and Khinchine's; the second moment is Takács'.
    const meanMs = residualMs * (1 + (meeting * rho) / (1 - rho));
    const rest = ((2 / 3) * (work3 / work2) * meanMs) / this.#servers;
    return { meanMs, variance: Math.max(0, rest + (2 * meeting - 1) * meanMs ** 2) };
  }
}

/**
 * Wait of a packet for the one before of its own stream, at a handler that takes one at a time: Kraemer and
 * Langenbach-Belz for G/G/1. `before`: variance of all delays up to here, which makes even intervals uneven.
 */
export function ownWait(rate: number, service: Delay, before: number): Delay {
  const intervalMs = 1000 / rate;
  const rho = Math.min(UTILISATION_MAX, service.meanMs / intervalMs);
  if (rho <= 0) return { meanMs: 0, variance: 0 };
  const arrivals = Math.min(1, (2 * before) / intervalMs ** 2);
  const spread = arrivals + service.variance / service.meanMs ** 2;
  if (spread <= 0) return { meanMs: 0, variance: 0 };
  const even = evenShare(rho, arrivals, spread - arrivals);
  const meanMs = ((service.meanMs * rho) / (1 - rho)) * (spread / 2) * even;
  return { meanMs, variance: meanMs ** 2 * (2 / rho - 1) };
}

/** 95 % of the normal distribution lie below so many standard deviations. */
const NORMAL_P95 = 1.6449;

/** By Wilson and Hilferty. */
export function gammaP95(mean: number, variance: number): number {
  if (mean <= 0 || variance <= 0) return mean;
  const shape = mean ** 2 / variance;
  const ninth = 1 / (9 * shape);
  return mean * Math.max(0, 1 - ninth + NORMAL_P95 * Math.sqrt(ninth)) ** 3;
}
