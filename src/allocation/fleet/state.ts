/**
 * Who runs where, what that takes of every resource, and the price of the next unit of it. Adding and removing a session
 * touches its own resources only, prices included. Invariant: `used` is the sum of what the placed sessions take.
 */
import { FIT_EPSILON } from '../bounds.js';
import type { Graph } from './graphs.js';
import type { Fleet, Task } from './model.js';

/** How steeply a price rises with utilisation: e^-PRICE_SLOPE of the full price on an empty resource. */
export const PRICE_SLOPE = 6;

/** What admitting a session is worth beside its accuracy: no sum of accuracy lost elsewhere outweighs many of these. */
export const ADMITTED_UTILITY = 10;

/** A placed session. Immutable: taking a step back is putting the old one in again. */
export interface Placed {
  readonly graph: Graph;
  /** Option and node per handler. */
  readonly options: Int32Array;
  readonly nodes: Int32Array;
  readonly latencyMs: number;
  readonly accuracy: number;
  /** Weight x (ADMITTED_UTILITY + accuracy). */
  readonly utility: number;
  /** Handlers that are not where they ran before. */
  readonly moved: number;
  readonly weight: number;
  /** Resources taken, each once, and how much; shared models apart. */
  readonly resources: Int32Array;
  readonly amounts: Float64Array;
}

export class State {
  readonly fleet: Fleet;
  readonly used: Float64Array;
  readonly price: Float64Array;
  /** Price of the last unit of a whole resource. */
  readonly fullPrice: Float64Array;
  readonly placed: (Placed | null)[];
  /** Sessions with a model on a node: [model * nodes + node]. */
  readonly modelUsers: Uint16Array;
  /** Per resource, the tasks that take of it; unordered. */
  readonly tasksOn: number[][];
  /** Of `used`, over all nodes. */
  readonly totals = { cpu: 0, gpu: 0 };
  utility = 0;
  admitted = 0;
  moved = 0;
  /** Of the admitted. */
  weight = 0;

  constructor(fleet: Fleet, fullPrice: Float64Array) {
    this.fleet = fleet;
    this.fullPrice = fullPrice;
    this.used = new Float64Array(fleet.resourceCount);
    this.price = new Float64Array(fleet.resourceCount);
    this.placed = new Array<Placed | null>(fleet.tasks.length).fill(null);
    this.modelUsers = new Uint16Array(fleet.modelCount * fleet.nodeCount);
    this.tasksOn = Array.from({ length: fleet.resourceCount }, () => []);
    this.reprice();
  }

  reprice(): void {
    for (let resource = 0; resource < this.price.length; resource++) this.#price(resource);
  }

  #price(resource: number): void {
    const capacity = this.fleet.capacity[resource]!;
    if (!(capacity > 0) || capacity === Number.POSITIVE_INFINITY) return;
    const load = this.used[resource]! / capacity;
    this.price[resource] = (this.fullPrice[resource]! / capacity) * Math.exp(PRICE_SLOPE * (load - 1));
  }

  free(resource: number): number {
    return this.fleet.capacity[resource]! - this.used[resource]!;
  }

  /** The first resource that the session would overload, or -1. */
  overloads(one: Placed): number {
    const { capacity } = this.fleet;
    for (let index = 0; index < one.resources.length; index++) {
      const resource = one.resources[index]!;
      if (this.used[resource]! + this.#need(one, index) > capacity[resource]! + FIT_EPSILON) return resource;
    }
    return -1;
  }

  /** What the session would take of a resource, models that it would have to load included. */
  needOf(one: Placed, resource: number): number {
    const index = one.resources.indexOf(resource);
    return index < 0 ? 0 : this.#need(one, index);
  }

  #need(one: Placed, index: number): number {
    const { memAt, nodeCount } = this.fleet;
    const resource = one.resources[index]!;
    const isMemory = resource >= memAt && resource < memAt + nodeCount;
    return one.amounts[index]! + (isMemory ? this.#newModelMb(one, resource - memAt) : 0);
  }

  #newModelMb(one: Placed, node: number): number {
    const { model, modelMb, nodeCount } = this.fleet;
    let sum = 0;
    for (let at = 0; at < one.nodes.length; at++) {
      if (one.nodes[at] !== node) continue;
      const option = one.options[at]!;
      if (modelMb[option]! > 0 && this.modelUsers[model[option]! * nodeCount + node] === 0) sum += modelMb[option]!;
    }
    return sum;
  }

  add(task: number, one: Placed): void {
    this.placed[task] = one;
    this.utility += one.utility;
    this.moved += one.moved;
    this.weight += one.weight;
    this.admitted += 1;
    for (let index = 0; index < one.resources.length; index++) {
      const resource = one.resources[index]!;
      this.#use(resource, one.amounts[index]!);
      this.tasksOn[resource]!.push(task);
    }
    this.#models(one, 1);
    for (const resource of one.resources) this.#price(resource);
  }

  remove(task: number): Placed {
    const one = this.placed[task]!;
    this.placed[task] = null;
    this.utility -= one.utility;
    this.moved -= one.moved;
    this.weight -= one.weight;
    this.admitted -= 1;
    for (let index = 0; index < one.resources.length; index++) {
      const resource = one.resources[index]!;
      this.#use(resource, -one.amounts[index]!);
      const there = this.tasksOn[resource]!;
      const at = there.lastIndexOf(task);
      there[at] = there[there.length - 1]!;
      there.pop();
    }
    this.#models(one, -1);
    for (const resource of one.resources) this.#price(resource);
    return one;
  }

  #use(resource: number, amount: number): void {
    this.used[resource]! += amount;
    if (resource < this.fleet.gpuAt) this.totals.cpu += amount;
    else if (resource < this.fleet.memAt) this.totals.gpu += amount;
  }

  #models(one: Placed, sign: 1 | -1): void {
    const { model, modelMb, nodeCount, memAt } = this.fleet;
    for (let at = 0; at < one.nodes.length; at++) {
      const option = one.options[at]!;
      if (modelMb[option] === 0) continue;
      const node = one.nodes[at]!;
      const cell = model[option]! * nodeCount + node;
      const users = this.modelUsers[cell]!;
      this.modelUsers[cell] = users + sign;
      if (users === 0 || users + sign === 0) this.used[memAt + node]! += sign * modelMb[option]!;
    }
  }
}

/** What a placement takes, how long it takes and what it is worth. */
export class Appraiser {
  readonly #fleet: Fleet;
  readonly #amount: Float64Array;
  readonly #touched: number[] = [];

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
    this.#amount = new Float64Array(fleet.resourceCount);
  }

  appraise(task: Task, graph: Graph, options: Int32Array, nodes: Int32Array, moved: number): Placed {
    const fleet = this.#fleet;
    const { nodeCount } = fleet;
    const finish = new Float64Array(nodes.length);
    let latencyMs = 0;
    let lnAccuracy = graph.lnAccuracy;
    for (let at = 0; at < nodes.length; at++) {
      const node = nodes[at]!;
      const option = options[at]!;
      const cell = option * nodeCount + node;
      let arrival = 0;
      for (const source of graph.feeds[at]!) {
        const from = nodes[source]!;
        const bytes = fleet.bytes[options[source]! * nodeCount + from]!;
        arrival = Math.max(arrival, finish[source]! + fleet.linkMs(from, node, bytes));
        if (from !== node) this.#takeLink(from, node, (task.fps * bytes * 8) / 1e6);
      }
      finish[at] = arrival + fleet.stageMs(option, node, task.fps);
      if (finish[at]! > latencyMs) latencyMs = finish[at]!;
      lnAccuracy += fleet.lnAccuracy[option]!;
      this.#take(node, task.fps * fleet.cpuMs[cell]!);
      this.#take(fleet.gpuAt + node, task.fps * fleet.gpuMs[cell]!);
      // Memory is named even when it is nought: a shared model may still have to be loaded.
      this.#take(fleet.memAt + node, Math.max(fleet.memMb[option]!, Number.MIN_VALUE));
    }
    const count = this.#touched.length;
    const resources = new Int32Array(count);
    const amounts = new Float64Array(count);
    for (let index = 0; index < count; index++) {
      const resource = this.#touched[index]!;
      resources[index] = resource;
      amounts[index] = this.#amount[resource]!;
      this.#amount[resource] = 0;
    }
    this.#touched.length = 0;
    const accuracy = Math.exp(lnAccuracy);
    const utility = task.weight * (ADMITTED_UTILITY + accuracy);
    return { graph, options, nodes, latencyMs, accuracy, utility, moved, weight: task.weight, resources, amounts };
  }

  #take(resource: number, amount: number): void {
    if (amount === 0) return;
    if (this.#amount[resource] === 0) this.#touched.push(resource);
    this.#amount[resource]! += amount;
  }

  #takeLink(from: number, to: number, mbit: number): void {
    const { upAt, downAt, wanUpAt, wanDownAt, pathAt, pathOf, nodeCount, site, siteCount } = this.#fleet;
    this.#take(upAt + from, mbit);
    this.#take(downAt + to, mbit);
    const path = pathOf.get(from * nodeCount + to);
    if (path !== undefined) {
      this.#take(pathAt + path, mbit);
      return;
    }
    const out = site[from]!;
    const into = site[to]!;
    if (out === into) return;
    if (out !== siteCount) this.#take(wanUpAt + out, mbit);
    if (into !== siteCount) this.#take(wanDownAt + into, mbit);
  }
}
