/**
 * The exact best placement of one session at given prices over all nodes, capacity apart: the pricing oracle of the
 * upper bound. Labels (price, latency, ln accuracy) without a limit on their number per node; a label dies only when a
 * dominating one exists or when no completion can beat the plan in hand.
 *
 * e^x is convex, so the accuracy still to come is worth at most its chord, which is linear and can be summed (tails.ts).
 * Where a graph forks or joins, links other than that from the handler before are left out: the value is then not less
 * than the truth, which is what a bound needs. Shared models' memory is left out likewise.
 */
import { FIT_EPSILON } from '../../bounds.js';
import type { Graph } from '../graphs.js';
import type { Fleet, Task } from '../model.js';
import { ADMITTED_UTILITY, type Appraiser, type Placed } from '../state.js';
import { type Arrival, arrivalsOf, type Label } from './arrivals.js';
import { PricedGraph } from './priced-graph.js';
import { stageLeast, type Tail, tailsOf } from './tails.js';

/** Labels of one search: some 20 MB and about a second. Beyond it the value is that of the tails, which is too high. */
const LABELS_MAX = 100_000;

const GAIN_EPSILON = 1e-9;

export interface Priced {
  /** Utility less price where that is above 0; more than that where the search was given up. Below 0: refusing is better. */
  readonly value: number;
  /** The hint when nothing is better; null when there is none, or when the search was given up. */
  readonly placed: Placed | null;
}

export class Pricer {
  readonly #fleet: Fleet;
  readonly #appraiser: Appraiser;
  #price: Float64Array;
  /** Value of the placement in hand, or of none: labels that cannot beat it die. */
  #inHand = 0;
  #labels = 0;

  constructor(fleet: Fleet, appraiser: Appraiser, price: Float64Array) {
    this.#fleet = fleet;
    this.#appraiser = appraiser;
    this.#price = price;
  }

  set price(price: Float64Array) {
    this.#price = price;
  }

  /** `hint` is any placement of the session: the better it is, the less there is to search. */
  best(task: Task, hint: Placed | null): Priced {
    let best: Priced =
      hint === null ? { value: Number.NEGATIVE_INFINITY, placed: null } : { value: this.valueOf(hint), placed: hint };
    for (const graph of task.graphs) best = this.#search(task, graph, best);
    return best;
  }

  valueOf(placed: Placed): number {
    let value = placed.utility;
    for (let index = 0; index < placed.resources.length; index++)
      value -= placed.amounts[index]! * this.#price[placed.resources[index]!]!;
    return value;
  }

  #search(task: Task, graph: Graph, best: Priced): Priced {
    const priced = new PricedGraph(this.#fleet, task, graph, this.#price);
    const range = graph.lnAccuracyRest[0]! - graph.lnAccuracyRestWorst[0]!;
    const floor = Math.max(task.lnAccuracyMin, graph.lnAccuracy + graph.lnAccuracyRestWorst[0]!);
    const slope = range > 0 ? (1 - Math.exp(-range)) / range : 1;
    const lnWorth = task.weight * slope * Math.exp(floor);
    this.#inHand = Math.max(0, best.value);
    this.#labels = 0;
    const tails = tailsOf(priced, lnWorth);
    if (tails === null) return best;
    let level: Label[] = [{ cost: 0, latMs: 0, lnAcc: graph.lnAccuracy, node: -1, option: -1, parent: null }];
    for (let at = 0; at < graph.handlers.length; at++) {
      level = this.#step(priced, level, at, tails[at]!);
      if (this.#labels > LABELS_MAX) return this.#givenUp(priced, tails[0]!, lnWorth, best);
      if (level.length === 0) return best;
    }
    let found: Label | null = null;
    let value = this.#inHand;
    for (const label of level) {
      const worth = task.weight * (ADMITTED_UTILITY + Math.exp(label.lnAcc)) - label.cost;
      if (worth <= value + GAIN_EPSILON) continue;
      found = label;
      value = worth;
    }
    if (found === null) return best;
    return { value, placed: this.#placedOf(task, graph, found) };
  }

  #givenUp(priced: PricedGraph, tail: Tail, lnWorth: number, best: Priced): Priced {
    const { task, graph } = priced;
    const cost = stageLeast(priced, 0, tail, lnWorth)!.worth.reduce((least, one) => Math.min(least, one), Infinity);
    const most = task.weight * (ADMITTED_UTILITY + Math.exp(graph.lnAccuracy + graph.lnAccuracyRest[0]!));
    return { value: Math.max(best.value, most - cost), placed: null };
  }

  #placedOf(task: Task, graph: Graph, end: Label): Placed {
    const depth = graph.handlers.length;
    const options = new Int32Array(depth);
    const nodes = new Int32Array(depth);
    let label: Label = end;
    for (let at = depth - 1; at >= 0; at--) {
      options[at] = label.option;
      nodes[at] = label.node;
      label = label.parent!;
    }
    return this.#appraiser.appraise(task, graph, options, nodes, 0);
  }

  #step(priced: PricedGraph, level: readonly Label[], at: number, tail: Tail): Label[] {
    const arrivalsAt = at > 0 && priced.linked(at) ? arrivalsOf(priced, level) : () => anywhere(level);
    const grown: Label[] = [];
    for (let node = 0; node < this.#fleet.nodeCount; node++) {
      const made = this.#stepTo(priced, at, node, arrivalsAt, tail);
      for (const label of made) grown.push(label);
      this.#labels += made.length;
      if (this.#labels > LABELS_MAX) break;
    }
    return grown;
  }

  #stepTo(
    priced: PricedGraph,
    at: number,
    node: number,
    arrivalsAt: (node: number) => readonly Arrival[],
    tail: Tail,
  ): Label[] {
    const { lnAccuracy } = this.#fleet;
    const { graph } = priced;
    const { weight, latencyMsMax, lnAccuracyMin, fps } = priced.task;
    const first = graph.firstOption[at]!;
    const rest = graph.lnAccuracyRest[at + 1]!;
    const made: Label[] = [];
    let arrivals: readonly Arrival[] | null = null;
    for (let index = 0; index < graph.optionCount[at]!; index++) {
      const option = first + index;
      if (!priced.allowed(option, node)) continue;
      arrivals ??= arrivalsAt(node);
      const stageMs = this.#fleet.stageMs(option, node, fps);
      const stagePrice = priced.stage(option, node);
      const after = tail.classOf[index]!;
      const tailWorth = tail.worth[after]![node]!;
      const tailMs = tail.latMs[after]![node]!;
      for (const { cost: before, latMs: beforeMs, lnAcc: beforeLn, from } of arrivals) {
        const lnAcc = beforeLn + lnAccuracy[option]!;
        if (lnAcc + rest < lnAccuracyMin) continue;
        const latMs = beforeMs + stageMs;
        if (latMs + tailMs > latencyMsMax + FIT_EPSILON) continue;
        const cost = before + stagePrice;
        const most = weight * (ADMITTED_UTILITY + Math.exp(lnAcc + rest));
        if (most - cost - tailWorth <= this.#inHand + GAIN_EPSILON) continue;
        insert(made, { cost, latMs, lnAcc, node, option, parent: from });
      }
    }
    return made;
  }
}

/** Where the handler before does not feed this one, nothing is carried and time starts again. */
const anywhere = (level: readonly Label[]): Arrival[] =>
  level.map((from) => ({ cost: from.cost, latMs: 0, lnAcc: from.lnAcc, bytes: 0, from }));

/** Labels of one handler on one node: their packets may differ in size, so equal options only are compared. */
function insert(list: Label[], one: Label): void {
  let kept = 0;
  for (let index = 0; index < list.length; index++) {
    const other = list[index]!;
    if (other.option === one.option && other.cost <= one.cost && other.latMs <= one.latMs && other.lnAcc >= one.lnAcc)
      return;
    const dies =
      other.option === one.option && one.cost <= other.cost && one.latMs <= other.latMs && one.lnAcc >= other.lnAcc;
    if (!dies) list[kept++] = other;
  }
  list.length = kept;
  list.push(one);
}
