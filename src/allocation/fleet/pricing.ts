/**
 * The exact best placement of one session at given prices over all nodes, capacity apart: the pricing oracle of the
 * upper bound. Labels (price, latency, ln accuracy) without a limit on their number; a label dies only when a dominating
 * one exists or when no completion can beat the plan in hand.
 *
 * Completions are bounded by backward tails: the least of price less the worth of accuracy, and the least latency, each
 * by itself. e^x is convex, so the accuracy still to come is worth at most its chord, which is linear and can be summed.
 * Where a graph forks or joins, links other than that from the handler before are left out: the value is then not less
 * than the truth, which is what a bound needs. Shared models' memory is left out likewise.
 */
import { OrchestratorError } from '../../contracts/errors.js';
import { FIT_EPSILON } from '../bounds.js';
import type { Fleet, Graph, Task } from './model.js';
import { ADMITTED_UTILITY, type Appraiser, type Placed } from './state.js';

export interface Priced {
  /** Utility less price; may be negative. -Infinity when there is no placement. */
  readonly value: number;
  readonly placed: Placed | null;
}

/** Backward values of one handler, by [bytes class][node]. */
interface Tail {
  readonly classOf: Int32Array;
  readonly worth: readonly Float64Array[];
  readonly latMs: readonly Float64Array[];
}

interface Label {
  readonly cost: number;
  readonly latMs: number;
  readonly lnAcc: number;
  readonly node: number;
  readonly option: number;
  readonly parent: Label | null;
}

export class Pricer {
  readonly #fleet: Fleet;
  readonly #appraiser: Appraiser;
  #price: Float64Array;
  #task!: Task;
  #graph!: Graph;
  /** Worth of one unit of ln accuracy, at least. */
  #worth = 0;
  /** Value of the placement in hand: labels that cannot beat it die. */
  #inHand = 0;

  constructor(fleet: Fleet, appraiser: Appraiser, price: Float64Array) {
    if (fleet.paths.length > 0)
      throw new OrchestratorError('FLEET_SNAPSHOT_INVALID', '/paths: a bound is known for a tree of hubs only');
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
    this.#task = task;
    this.#graph = graph;
    const range = graph.lnAccuracyRest[0]! - graph.lnAccuracyRestWorst[0]!;
    const floor = Math.max(task.lnAccuracyMin, graph.lnAccuracy + graph.lnAccuracyRestWorst[0]!);
    const slope = range > 0 ? (1 - Math.exp(-range)) / range : 1;
    this.#worth = task.weight * slope * Math.exp(floor);
    this.#inHand = best.value;
    const tails = this.#tails();
    if (tails === null) return best;
    let level: Label[] = [{ cost: 0, latMs: 0, lnAcc: graph.lnAccuracy, node: -1, option: -1, parent: null }];
    for (let at = 0; at < graph.handlers.length; at++) {
      level = this.#step(level, at, tails[at]!);
      if (level.length === 0) return best;
    }
    let found: Label | null = null;
    let value = best.value;
    for (const label of level) {
      const worth = task.weight * (ADMITTED_UTILITY + Math.exp(label.lnAcc)) - label.cost;
      if (worth <= value + 1e-9) continue;
      found = label;
      value = worth;
    }
    if (found === null) return best;
    return { value, placed: this.#placedOf(found) };
  }

  #placedOf(end: Label): Placed {
    const depth = this.#graph.handlers.length;
    const options = new Int32Array(depth);
    const nodes = new Int32Array(depth);
    let label: Label = end;
    for (let at = depth - 1; at >= 0; at--) {
      options[at] = label.option;
      nodes[at] = label.node;
      label = label.parent!;
    }
    return this.#appraiser.appraise(this.#task, this.#graph, options, nodes, 0);
  }

  #allowed(option: number, node: number): boolean {
    const { possible, nodeCount, atSource } = this.#fleet;
    const { stay, source } = this.#task;
    if (possible[option * nodeCount + node] === 0 || (atSource[option] === 1 && node !== source)) return false;
    return stay === null || stay[node] === 1;
  }

  #stagePrice(option: number, node: number): number {
    const { nodeCount, cpuMs, gpuMs, memMb, gpuAt, memAt } = this.#fleet;
    const price = this.#price;
    const cell = option * nodeCount + node;
    return (
      this.#task.fps * (cpuMs[cell]! * price[node]! + gpuMs[cell]! * price[gpuAt + node]!) +
      memMb[option]! * price[memAt + node]!
    );
  }

  #linked(at: number): boolean {
    return this.#graph.feeds[at]!.includes(at - 1);
  }

  /** Null when some handler has no node. */
  #tails(): Tail[] | null {
    const depth = this.#graph.handlers.length;
    const tails = new Array<Tail>(depth);
    const count = this.#fleet.nodeCount;
    for (let at = depth - 1; at >= 0; at--) {
      const first = this.#graph.firstOption[at]!;
      const options = this.#graph.optionCount[at]!;
      const classOf = new Int32Array(options);
      const classes: number[] = [];
      for (let index = 0; index < options; index++) {
        const bytes = at === depth - 1 || !this.#linked(at + 1) ? 0 : this.#leastBytes(first + index);
        let known = classes.indexOf(bytes);
        if (known < 0) known = classes.push(bytes) - 1;
        classOf[index] = known;
      }
      if (at === depth - 1) {
        tails[at] = { classOf, worth: [new Float64Array(count)], latMs: [new Float64Array(count)] };
        continue;
      }
      const next = this.#stageValues(at + 1, tails[at + 1]!);
      if (next === null) return null;
      const linked = this.#linked(at + 1);
      const carried = classes.map((bytes) => this.#carry(next, bytes, linked));
      tails[at] = { classOf, worth: carried.map((one) => one.worth), latMs: carried.map((one) => one.latMs) };
    }
    return tails;
  }

  #leastBytes(option: number): number {
    const { bytes, nodeCount } = this.#fleet;
    let least = Number.POSITIVE_INFINITY;
    for (let cell = option * nodeCount; cell < (option + 1) * nodeCount; cell++) least = Math.min(least, bytes[cell]!);
    return least;
  }

  /** By node: least price less worth, and least latency, from the start of handler `at` to the end. */
  #stageValues(at: number, tail: Tail): { worth: Float64Array; latMs: Float64Array } | null {
    const { nodeCount, lnAccuracy } = this.#fleet;
    const worth = new Float64Array(nodeCount).fill(Number.POSITIVE_INFINITY);
    const latMs = new Float64Array(nodeCount).fill(Number.POSITIVE_INFINITY);
    const first = this.#graph.firstOption[at]!;
    const bestLn = this.#graph.lnAccuracyRest[at]! - this.#graph.lnAccuracyRest[at + 1]!;
    let any = false;
    for (let index = 0; index < this.#graph.optionCount[at]!; index++) {
      const option = first + index;
      const lost = this.#worth * (bestLn - lnAccuracy[option]!);
      const after = tail.classOf[index]!;
      for (let node = 0; node < nodeCount; node++) {
        if (!this.#allowed(option, node)) continue;
        const stage = this.#fleet.stageMs(option, node, this.#task.fps);
        if (stage === Number.POSITIVE_INFINITY) continue;
        any = true;
        worth[node] = Math.min(worth[node]!, this.#stagePrice(option, node) + lost + tail.worth[after]![node]!);
        latMs[node] = Math.min(latMs[node]!, stage + tail.latMs[after]![node]!);
      }
    }
    return any ? { worth, latMs } : null;
  }

  /** The same from the end of the handler before, for packets of `bytes`: over the hubs. */
  #carry(next: { worth: Float64Array; latMs: Float64Array }, bytes: number, linked: boolean) {
    const fleet = this.#fleet;
    const { nodeCount, siteCount, site } = fleet;
    const mbit = (this.#task.fps * bytes * 8) / 1e6;
    const worth = new Float64Array(nodeCount);
    const latMs = new Float64Array(nodeCount);
    const hubWorth = new Float64Array(siteCount + 2).fill(Number.POSITIVE_INFINITY);
    const hubMs = new Float64Array(siteCount + 2).fill(Number.POSITIVE_INFINITY);
    const price = this.#price;
    for (let node = 0; node < nodeCount; node++) {
      const home = site[node]!;
      const down = linked ? mbit * price[fleet.downAt + node]! : 0;
      hubWorth[home] = Math.min(hubWorth[home]!, next.worth[node]! + down);
      hubMs[home] = Math.min(
        hubMs[home]!,
        next.latMs[node]! + (linked ? fleet.accessMs[node]! + bytes * fleet.downMsPerByte[node]! : 0),
      );
    }
    const core = siteCount + 1;
    for (let home = 0; home <= siteCount; home++) {
      const wan = linked ? mbit * price[fleet.wanDownAt + home]! : 0;
      hubWorth[core] = Math.min(hubWorth[core]!, hubWorth[home]! + wan);
      hubMs[core] = Math.min(
        hubMs[core]!,
        hubMs[home]! + (linked ? fleet.wanMs[home]! + bytes * fleet.wanDownMsPerByte[home]! : 0),
      );
    }
    for (let node = 0; node < nodeCount; node++) {
      const home = site[node]!;
      if (!linked) {
        worth[node] = hubWorth[core]!;
        latMs[node] = hubMs[core]!;
        continue;
      }
      const wan = Math.min(hubWorth[home]!, hubWorth[core]! + mbit * price[fleet.wanUpAt + home]!);
      const wanMs = Math.min(hubMs[home]!, hubMs[core]! + fleet.wanMs[home]! + bytes * fleet.wanUpMsPerByte[home]!);
      worth[node] = Math.min(next.worth[node]!, wan + mbit * price[fleet.upAt + node]!);
      latMs[node] = Math.min(next.latMs[node]!, wanMs + fleet.accessMs[node]! + bytes * fleet.upMsPerByte[node]!);
    }
    return { worth, latMs };
  }

  #step(level: readonly Label[], at: number, tail: Tail): Label[] {
    const { nodeCount, lnAccuracy } = this.#fleet;
    const graph = this.#graph;
    const { weight, latencyMsMax, lnAccuracyMin, fps } = this.#task;
    const linked = at > 0 && this.#linked(at);
    const first = graph.firstOption[at]!;
    const grown: Label[] = [];
    const rest = graph.lnAccuracyRest[at + 1]!;
    for (let node = 0; node < nodeCount; node++) {
      const made: Label[] = [];
      for (let index = 0; index < graph.optionCount[at]!; index++) {
        const option = first + index;
        if (!this.#allowed(option, node)) continue;
        const stageMs = this.#fleet.stageMs(option, node, fps);
        const stagePrice = this.#stagePrice(option, node);
        const after = tail.classOf[index]!;
        const tailWorth = tail.worth[after]![node]!;
        const tailMs = tail.latMs[after]![node]!;
        for (const label of level) {
          const lnAcc = label.lnAcc + lnAccuracy[option]!;
          if (lnAcc + rest < lnAccuracyMin) continue;
          let cost = label.cost + stagePrice;
          const most = weight * (ADMITTED_UTILITY + Math.exp(lnAcc + rest));
          if (most - cost - tailWorth <= this.#inHand + 1e-9) continue;
          let latMs = linked ? label.latMs : 0;
          if (linked && label.node !== node) {
            const bytes = this.#fleet.bytes[label.option * nodeCount + label.node]!;
            cost += this.#linkPrice(label.node, node, (fps * bytes * 8) / 1e6);
            if (most - cost - tailWorth <= this.#inHand + 1e-9) continue;
            latMs += this.#fleet.linkMs(label.node, node, bytes);
          }
          latMs += stageMs;
          if (latMs + tailMs > latencyMsMax + FIT_EPSILON) continue;
          insert(made, { cost, latMs, lnAcc, node, option, parent: label });
        }
      }
      for (const label of made) grown.push(label);
    }
    return grown;
  }

  #linkPrice(from: number, to: number, mbit: number): number {
    const { site, upAt, downAt, wanUpAt, wanDownAt } = this.#fleet;
    const price = this.#price;
    let sum = price[upAt + from]! + price[downAt + to]!;
    if (site[from] !== site[to]) sum += price[wanUpAt + site[from]!]! + price[wanDownAt + site[to]!]!;
    return mbit * sum;
  }
}

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
