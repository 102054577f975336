/**
 * Changes a state step by step: places one session, or takes a few out and puts them back better (large neighbourhood
 * search). A step is kept when it admits no less weight and gains utility, where every resource's rising price counts as
 * the utility that its load will cost others. Sessions that are to stay where they were count each handler that leaves.
 * Everything is drawn from one seeded generator and bounded by counts, never by a clock: same seed, same plan.
 */

import { Candidates } from './candidates.js';
import { finishOf } from './finish.js';
import type { Fleet, Task } from './model.js';
import {
  arrivalScale,
  fullPrices,
  loadOf,
  PRICE_SCALE_ADMIT,
  PRICE_SCALE_EMPTY,
  PRICE_SCALE_FIRST,
  PRICE_SCALE_LAST,
} from './prices.js';
import { Router } from './router.js';
import type { Before } from './routing.js';
import { Sharers } from './sharers.js';
import { Appraiser, type Placed, State } from './state.js';
import { StepCost } from './step-cost.js';

/** Sessions taken out in one step, at most, beside the one it is about. */
const TAKEN_OUT_MAX = 7;

/** Sessions that may be taken out to admit one that does not fit. */
export const EJECTED_MAX = 3;

/** Steps of the price scale in one improvement. */
const SCALE_STEPS = 20;

/** The price scale follows the load in steps of this share. */
const SCALE_STEP = 0.05;

/** Share of steps at the end without any price: from here on utility never falls. */
const FREE_SHARE = 0.1;

/** Share of steps that are about a refused session while there is one. */
const REFUSED_SHARE = 0.5;

/** Share of placements in a step that are kept from one node or alternative. */
const DROPPED_SHARE = 0.25;

const WEIGHT_EPSILON = 1e-9;

/** Price scale for one session that is placed for itself: prices decide between places that are equally accurate, no more. */
const PRICE_SCALE_SETTLED = 0.001;

/** Utility that a ms of latency costs such a session: 50 ms outweigh 0.001 of accuracy. */
const LATENCY_PRICE = 2e-5;

/** Utility per ms that lets nothing but latency count. */
const LATENCY_PRICE_ALONE = 1e3;

/** In fleets of so many nodes all are looked at before one session is refused: some 10 ms. */
const THOROUGH_NODES_MAX = 128;

export interface FindOptions {
  /** As if there were room everywhere. */
  readonly ignoreCapacity?: boolean;
  /** The quickest there is, whatever its accuracy. */
  readonly quickest?: boolean;
}

export interface SearchOptions {
  readonly fleet: Fleet;
  readonly random: () => number;
  /** By task; null = runs nowhere yet. */
  readonly before: readonly (Before | null)[];
  /** Utility of a handler that stays. */
  readonly stickiness: number;
  /** By task: 1 = a placement that is there is never taken out. */
  readonly fixed?: Uint8Array;
  /** By task: 1 = once it has a placement it always has one, be it another; nobody takes its room for good. */
  readonly lasting?: Uint8Array;
}

export class FleetSearch {
  readonly state: State;
  readonly #fleet: Fleet;
  readonly #random: () => number;
  readonly #before: readonly (Before | null)[];
  readonly #stickiness: number;
  readonly #fixed: Uint8Array;
  readonly #lasting: Uint8Array;
  readonly #router: Router;
  readonly #candidates: Candidates;
  readonly #basePrice: Float64Array;
  /** Tasks without a place, and where each stands in the list (-1: placed). */
  readonly #refused: number[] = [];
  readonly #refusedAt: Int32Array;
  readonly #sharers: Sharers;
  readonly #cost: StepCost;
  #movesMax = Number.POSITIVE_INFINITY;
  #scale = PRICE_SCALE_EMPTY;

  constructor({ fleet, random, before, stickiness, fixed, lasting }: SearchOptions) {
    this.#fleet = fleet;
    this.#random = random;
    this.#before = before;
    this.#stickiness = stickiness;
    this.#fixed = fixed ?? new Uint8Array(fleet.tasks.length);
    this.#lasting = lasting ?? new Uint8Array(fleet.tasks.length);
    this.#basePrice = fullPrices(fleet);
    this.state = new State(
      fleet,
      Float64Array.from(this.#basePrice, (price) => price * PRICE_SCALE_EMPTY),
    );
    this.#router = new Router(this.state, new Appraiser(fleet));
    this.#candidates = new Candidates(this.state);
    this.#refusedAt = new Int32Array(fleet.tasks.length).fill(-1);
    this.#sharers = new Sharers({ state: this.state, random, fixed: this.#fixed });
    this.#cost = new StepCost(this.state);
    for (let task = 0; task < fleet.tasks.length; task++) this.#note(task);
  }

  get refused(): readonly number[] {
    return this.#refused;
  }

  /**
   * Places a task that has no place; false when there is no room. Nothing else moves. `scale`: see arrivalScale; the
   * dearer everything, the cheaper the variant, and the more room is left for those who come later.
   */
  insert(task: number, scale = arrivalScale(loadOf(this.state))): boolean {
    this.#setScale(scale);
    const placed = this.#route(task);
    if (placed === null) return false;
    this.keep(task, placed);
    return true;
  }

  /**
   * Places a task beside the others as well as can be: as accurate as there is room for, then as quick, then where there is
   * most room. Nothing is spared for those who come later; for them others can make room.
   */
  settle(task: number): boolean {
    this.#setScale(PRICE_SCALE_SETTLED);
    const before = this.#before[task]!;
    const one = this.#fleet.tasks[task]!;
    const route = { task: one, before, stickiness: this.#stickiness, latencyPrice: LATENCY_PRICE };
    const placed = this.#overCandidates(one, before, (candidates) => this.#router.route({ ...route, candidates }));
    if (placed === null) return false;
    this.keep(task, placed);
    return true;
  }

  /** Over the candidates of one decision; in a small fleet over all nodes when that finds nothing. */
  #overCandidates(task: Task, before: Before | null, find: (candidates: number[]) => Placed | null): Placed | null {
    const candidates = this.#candidates.of(task, before, this.#random);
    const { nodeCount } = this.#fleet;
    const found = find(candidates);
    if (found !== null || candidates.length === nodeCount || nodeCount > THOROUGH_NODES_MAX) return found;
    return find(this.#candidates.all());
  }

  /** From now on no step moves more handlers than that in all, `State.moved`, unless it admits somebody. */
  limitMoves(most: number): void {
    this.#movesMax = most;
  }

  /** From now on its placement is never taken out. */
  fix(task: number): void {
    this.#fixed[task] = 1;
  }

  keep(task: number, placed: Placed): void {
    this.state.add(task, placed);
    this.#note(task);
  }

  remove(task: number): void {
    this.state.remove(task);
    this.#note(task);
  }

  /**
   * Where the task would go if there were room everywhere; null when no placement keeps its promises. Over all nodes, or
   * over the candidates of one decision.
   */
  ideal(task: number, overAll = true): Placed | null {
    const one = this.#fleet.tasks[task]!;
    const candidates = overAll ? this.#candidates.all() : this.#candidates.of(one, null, this.#random);
    return this.#router.route({ task: one, candidates, before: null, stickiness: 0, ignoreCapacity: true });
  }

  /** One attempt to admit a refused task by placing at most EJECTED_MAX others anew; `dear`: so that they take less. */
  eject(task: number, dear = false): boolean {
    this.#setScale(PRICE_SCALE_EMPTY);
    this.#step(task, EJECTED_MAX, dear);
    return this.state.placed[task] !== null;
  }

  /** The best plan there is, where all can be tried: true when the state is it. */
  finish(): boolean {
    const { state } = this;
    const { placed, proved } = finishOf({
      ...{ state, before: this.#before, fixed: this.#fixed, lasting: this.#lasting, stickiness: this.#stickiness },
    });
    const changed = placed?.flatMap((one, task) => (one === state.placed[task] ? [] : [task])) ?? [];
    for (const task of changed) if (state.placed[task] !== null) this.remove(task);
    for (const task of changed) if (placed![task] !== null) this.keep(task, placed![task]!);
    return proved;
  }

  /** A place for a task that is not one of the fleet's, or asks for something else, beside those that are placed. */
  find(task: Task, { ignoreCapacity = false, quickest = false }: FindOptions = {}): Placed | null {
    this.#setScale(PRICE_SCALE_SETTLED);
    const latencyPrice = quickest ? LATENCY_PRICE_ALONE : LATENCY_PRICE;
    const route = { task, before: null, stickiness: 0, ignoreCapacity, latencyPrice };
    return this.#overCandidates(task, null, (candidates) => this.#router.route({ ...route, candidates }));
  }

  /** Nodes that are looked at for a task. */
  candidatesOf(task: number): number[] {
    return this.#candidates.of(this.#fleet.tasks[task]!, this.#before[task]!, this.#random);
  }

  improve(iterations: number): void {
    const every = Math.max(1, Math.ceil(iterations / SCALE_STEPS));
    for (let done = 0; done < iterations; done++) {
      if (done % every === 0) this.#scalePrices(done / iterations);
      this.#iterate();
    }
  }

  /** Places a placed task anew by itself, nearly without prices: the most accurate place that there is room for. */
  rise(task: number): void {
    const old = this.state.placed[task]!;
    this.#setScale(PRICE_SCALE_LAST);
    this.remove(task);
    this.keep(task, this.#route(task) ?? old);
  }

  /** Steps that each gain utility as it is, whatever load they leave: for small changes of a plan that is good already. */
  climb(iterations: number): void {
    this.#scalePrices(1);
    for (let done = 0; done < iterations; done++) this.#iterate();
  }

  #scalePrices(progress: number): void {
    const last = progress >= 1 - FREE_SHARE;
    this.#setScale(last ? 0 : PRICE_SCALE_FIRST * (PRICE_SCALE_LAST / PRICE_SCALE_FIRST) ** progress);
  }

  #setScale(scale: number): void {
    if (Math.abs(scale - this.#scale) <= SCALE_STEP * this.#scale) return;
    this.#scale = scale;
    this.#basePrice.forEach((price, resource) => {
      this.state.fullPrice[resource] = price * scale;
    });
    this.state.reprice();
  }

  /** With `dropped`, one node or one alternative may not be taken: a way to what is best only together with others. */
  #route(task: number, dropped = false): Placed | null {
    const before = this.#before[task]!;
    const one = this.#fleet.tasks[task]!;
    const candidates = this.#candidates.of(one, before, this.#random);
    const route = { task: one, candidates, before, stickiness: this.#stickiness };
    if (!dropped) return this.#router.route(route);
    if (this.#random() < 0.5) return this.#router.route({ ...route, without: this.#anyOption(one) });
    const node = candidates[this.#below(candidates.length)]!;
    return this.#router.route({ ...route, candidates: candidates.filter((other) => other !== node) });
  }

  #anyOption({ graphs }: Task): number {
    const graph = graphs[this.#below(graphs.length)];
    if (graph === undefined) return -1;
    const choices = graph.handlers.flatMap((_, at) =>
      graph.optionCount[at]! > 1
        ? Array.from({ length: graph.optionCount[at]! }, (__, index) => graph.firstOption[at]! + index)
        : [],
    );
    return choices[this.#below(choices.length)] ?? -1;
  }

  #note(task: number): void {
    const at = this.#refusedAt[task]!;
    if (this.state.placed[task] === null && at < 0) {
      this.#refusedAt[task] = this.#refused.push(task) - 1;
    } else if (this.state.placed[task] !== null && at >= 0) {
      const last = this.#refused.pop()!;
      if (last !== task) {
        this.#refused[at] = last;
        this.#refusedAt[last] = at;
      }
      this.#refusedAt[task] = -1;
    }
  }

  #iterate(): void {
    const count = this.#fleet.tasks.length;
    const refused = this.#refused.length;
    if (count === 0) return;
    const aboutRefused = refused === count || (refused > 0 && this.#random() < REFUSED_SHARE);
    if (aboutRefused) {
      this.#step(this.#refused[this.#below(refused)]!, 2 + this.#below(TAKEN_OUT_MAX - 2), true);
      return;
    }
    let task = this.#below(count);
    while (this.state.placed[task] === null) task = this.#below(count);
    if (this.#fixed[task] === 1) return;
    this.#step(task, 1 + this.#below(TAKEN_OUT_MAX - 1));
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  /**
   * Takes out `task` (if placed) and up to `others` that share its resources, and puts all back in some order. `admits`:
   * at dear prices, under which all of them take less; if that makes room for one more it is worth any accuracy.
   */
  #step(task: number, others: number, admits = false): void {
    const { state } = this;
    const like = state.placed[task] ?? this.ideal(task, false);
    if (like === null) return;
    const tasks = this.#sharers.draw(task, like, others);
    const extra = this.#refused.length > 0 ? this.#refused[this.#below(this.#refused.length)]! : task;
    if (!this.#sharers.isDrawn(extra)) tasks.push(extra);
    const old = tasks.map((one) => state.placed[one]!);
    const { utility, moved, weight } = state;
    this.#cost.begin(old);
    for (const one of tasks) if (state.placed[one] !== null) this.remove(one);
    const usual = this.#scale;
    if (admits) this.#setScale(PRICE_SCALE_ADMIT);
    for (const one of this.#shuffled(tasks)) {
      const placed = this.#route(one, this.#random() < DROPPED_SHARE);
      if (placed !== null) this.keep(one, placed);
    }
    if (admits) this.#setScale(usual);
    const gain = state.utility - utility - this.#stickiness * (state.moved - moved);
    const now = tasks.map((one) => state.placed[one]!);
    const drops = tasks.some((one, at) => old[at] !== null && this.#lasting[one] === 1 && state.placed[one] === null);
    const isMore = state.weight > weight + WEIGHT_EPSILON;
    const isNoLess = state.weight >= weight - WEIGHT_EPSILON;
    const isDear = !isMore && state.moved > Math.max(moved, this.#movesMax);
    const isBetter = (isMore && admits) || (isNoLess && !isDear && gain >= this.#cost.rise(old, now));
    if (!drops && isBetter) return;
    for (const one of tasks) if (state.placed[one] !== null) this.remove(one);
    tasks.forEach((one, index) => {
      if (old[index] !== null) this.keep(one, old[index]!);
    });
  }

  #shuffled(tasks: readonly number[]): number[] {
    const order = [...tasks];
    for (let at = order.length - 1; at > 0; at--) {
      const other = this.#below(at + 1);
      [order[at], order[other]] = [order[other]!, order[at]!];
    }
    return order;
  }
}
