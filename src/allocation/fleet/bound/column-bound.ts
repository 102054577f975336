/**
 * Upper bound on the utility of any plan, by column generation. A linear programme over whole placements of sessions
 * (master.ts) gives prices of resources; the exact programme of one session (pricing.ts) finds the placements that it
 * lacks at these prices. At any prices, sum(price x capacity) + sum over sessions of max(0, best utility less price)
 * bounds every plan (Lagrange), so the least of these over the rounds holds however early the rounds are ended. A session
 * that was not priced any more counts with all the utility that it can have at all.
 *
 * `finished` says that the bound has come down to the programme's own optimum: it is the best bound of its kind. What is
 * left between it and a plan is either the plan's, or comes of fractions of sessions that no plan can admit.
 */
import type { Fleet, Task } from '../model.js';
import { ADMITTED_UTILITY, Appraiser, type Placed } from '../state.js';
import { type Column, Master } from './master.js';
import { Pricer } from './pricing.js';

/** Rounds end when bound and programme are as near as this, relative: a hundredth of a per cent is nobody's loss. */
export const BOUND_NEAR = 1e-4;

/** Rounds at most: measured instances need 10 to 60. */
export const BOUND_ROUNDS_MAX = 200;

/** Utility that a column must add at the prices of the moment. */
const REDUCED_MIN = 1e-7;

/** How near prices stay to those of the best bound so far, 0..1: duals of early rounds jump. */
const SMOOTHING = 0.6;

/** Pricings between two looks at the time. */
const PRICED_PER_LOOK = 8;

/** Slack for rounding and for FIT_EPSILON, relative: a bound must hold. */
const ROUNDING = 1e-9;

export interface BoundOptions {
  readonly fleet: Fleet;
  /** Placements to start from, by task: of plans that were found. The better they are, the fewer rounds. */
  readonly starts: readonly (readonly (Placed | null)[])[];
  readonly roundsMax?: number;
  /** See BOUND_NEAR. */
  readonly near?: number;
  /** Time left, ms; without it only rounds are counted, and the same input gives the same bound. */
  readonly msLeft?: () => number;
  /** After the rounds, how long to look for the best plan of the columns found (price and branch), ms; 0 = not at all. */
  readonly wholeMs?: number;
}

export interface ColumnBound {
  /** No plan has more utility. */
  readonly utility: number;
  readonly finished: boolean;
  readonly rounds: number;
  /** Utility of the best plan of the columns found, when `wholeMs` was given. */
  readonly whole: number | null;
}

export async function columnBound(options: BoundOptions): Promise<ColumnBound> {
  const { fleet, starts } = options;
  const master = await Master.of(fleet);
  try {
    master.add(
      starts.flatMap((plan) => plan.flatMap((placed, task): Column[] => (placed === null ? [] : [{ task, placed }]))),
    );
    const found = new Rounds(options, master).run();
    const { wholeMs = 0 } = options;
    return { ...found, whole: wholeMs > 0 ? master.solveWhole(wholeMs) : null };
  } finally {
    master.dispose();
  }
}

class Rounds {
  readonly #fleet: Fleet;
  readonly #master: Master;
  readonly #pricer: Pricer;
  /** Best placement known by task: the next pricing starts from it. */
  readonly #hints: (Placed | null)[];
  /** What each session can be worth at most. */
  readonly #most: Float64Array;
  readonly #roundsMax: number;
  readonly #near: number;
  readonly #msLeft: () => number;

  constructor(options: BoundOptions, master: Master) {
    const { fleet, starts, roundsMax = BOUND_ROUNDS_MAX, near = BOUND_NEAR } = options;
    this.#fleet = fleet;
    this.#master = master;
    this.#roundsMax = roundsMax;
    this.#near = near;
    this.#msLeft = options.msLeft ?? (() => Number.POSITIVE_INFINITY);
    this.#pricer = new Pricer(fleet, new Appraiser(fleet), new Float64Array(fleet.resourceCount));
    this.#hints = fleet.tasks.map(
      (_, task) => starts.map((plan) => plan[task] ?? null).find((one) => one !== null) ?? null,
    );
    this.#most = Float64Array.from(fleet.tasks, mostUtility);
  }

  run(): Omit<ColumnBound, 'whole'> {
    let utility = this.#most.reduce((sum, one) => sum + one, 0);
    let center: Float64Array | null = null;
    for (let rounds = 0; ; rounds++) {
      const solved = this.#master.solve(this.#msLeft());
      const finished = solved !== null && utility - solved.value <= this.#near * utility;
      if (solved === null || finished || rounds >= this.#roundsMax || this.#msLeft() <= 0)
        return { utility: utility * (1 + ROUNDING), finished, rounds };
      const prices: Float64Array = center === null ? solved.prices : blend(center, solved.prices);
      const lagrange = this.#priceAll(prices, solved);
      if (lagrange >= utility) continue;
      utility = lagrange;
      center = prices;
    }
  }

  /** Adds the best placement of every session that the master lacks; returns the Lagrangian bound. */
  #priceAll(prices: Float64Array, duals: { readonly prices: Float64Array; readonly rents: Float64Array }): number {
    const { capacity, tasks } = this.#fleet;
    this.#pricer.price = prices;
    let lagrange = 0;
    capacity.forEach((most, resource) => {
      if (prices[resource]! > 0) lagrange += prices[resource]! * most;
    });
    const fresh: Column[] = [];
    let inTime = true;
    tasks.forEach((task, index) => {
      if (index % PRICED_PER_LOOK === 0) inTime = inTime && this.#msLeft() > 0;
      if (!inTime) {
        lagrange += this.#most[index]!;
        return;
      }
      const hint = this.#hints[index]!;
      const { value, placed } = this.#pricer.best(task, hint);
      lagrange += Math.min(this.#most[index]!, Math.max(0, value));
      if (placed === null) return;
      this.#hints[index] = placed;
      const reduced = placed.utility - duals.rents[index]! - costOf(placed, duals.prices);
      if (placed !== hint || reduced > REDUCED_MIN) fresh.push({ task: index, placed });
    });
    this.#master.add(fresh);
    return lagrange;
  }
}

function mostUtility({ weight, graphs }: Task): number {
  const most = graphs.reduce((best, one) => Math.max(best, Math.exp(one.lnAccuracy + one.lnAccuracyRest[0]!)), 0);
  return graphs.length === 0 ? 0 : weight * (ADMITTED_UTILITY + most);
}

function costOf({ resources, amounts }: Placed, prices: Float64Array): number {
  let cost = 0;
  for (let at = 0; at < resources.length; at++) cost += amounts[at]! * prices[resources[at]!]!;
  return cost;
}

const blend = (center: Float64Array, prices: Float64Array): Float64Array =>
  prices.map((price, index) => SMOOTHING * center[index]! + (1 - SMOOTHING) * price);
