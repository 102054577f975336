/**
 * Places one session at the prices of the moment: label setting over (handler, alternative, node).
 *
 * A label is a partial placement: price paid, latency, ln accuracy. Labels of one handler on one node are Pareto and at
 * most a few (routing.ts); how they come to the nodes of the next handler is arrivals.ts.
 * Labels that end are checked against all capacities at once; the best that holds is the answer. It is near the optimum
 * at these prices, not always the optimum: bound/pricing.ts has the exact one.
 */
import { FIT_EPSILON } from '../bounds.js';
import { Arrivals } from './arrivals.js';
import type { Graph } from './graphs.js';
import type { Fleet } from './model.js';
import { type RouteOptions, Routing } from './routing.js';
import { ADMITTED_UTILITY, type Appraiser, type Placed, type State } from './state.js';

/** Among so few nodes the second try is always made; among many, another node does as well as a crowded one. */
const SPREAD_NODES_MAX = 12;

/** Complete labels that are checked against all capacities at once. */
const ENDS_TRIED_MAX = 6;

export class Router {
  readonly #fleet: Fleet;
  readonly #state: State;
  readonly #appraiser: Appraiser;
  readonly #routing: Routing;
  readonly #arrivals: Arrivals;
  readonly #restMs = new Map<Graph, Float64Array>();
  #accuracyPrice = 0;
  /** A label was given up because its own handlers crowd a node. */
  #crowded = false;

  constructor(state: State, appraiser: Appraiser) {
    this.#fleet = state.fleet;
    this.#state = state;
    this.#appraiser = appraiser;
    this.#routing = new Routing(state);
    this.#arrivals = new Arrivals(this.#routing);
  }

  /** Best placement at the prices of the moment with room for it; null when none was found. */
  route(options: RouteOptions): Placed | null {
    this.#routing.begin(options);
    let best: Placed | null = null;
    let bestCost = Number.POSITIVE_INFINITY;
    for (const graph of options.task.graphs) {
      this.#routing.graph = graph;
      this.#routing.spread = false;
      this.#crowded = false;
      let found = this.#fill() ? this.#take(bestCost) : null;
      if (this.#crowded && (found === null || this.#routing.candidates.length <= SPREAD_NODES_MAX)) {
        this.#routing.spread = true;
        found = (this.#fill() ? this.#take(found?.cost ?? bestCost) : null) ?? found;
      }
      if (found === null) continue;
      best = found.placed;
      bestCost = found.cost;
    }
    return best;
  }

  /** Labels of all handlers; false when some handler has none. */
  #fill(): boolean {
    const depth = this.#routing.graph.handlers.length;
    const width = this.#routing.candidates.length;
    this.#routing.clear();
    this.#accuracyPrice =
      this.#routing.task.weight * Math.exp(this.#routing.graph.lnAccuracy + this.#routing.graph.lnAccuracyRest[0]!);
    for (let at = 0; at < depth; at++) {
      this.#arrivals.prepare(at);
      let any = false;
      for (let place = 0; place < width; place++) any = this.#fillNode(at, place) || any;
      if (!any) return false;
    }
    return true;
  }

  #fillNode(at: number, place: number): boolean {
    const node = this.#routing.candidates[place]!;
    const { stay, source } = this.#routing.task;
    const first = this.#routing.graph.firstOption[at]!;
    if (stay !== null && stay[node] === 0) return false;
    if (this.#fleet.atSource[first] === 1 && node !== source) return false;
    if (!this.#arrivals.at(at, place)) return false;
    for (let option = first; option < first + this.#routing.graph.optionCount[at]!; option++) {
      if (option === this.#routing.options.without) continue;
      if (this.#fleet.possible[option * this.#fleet.nodeCount + node] === 1) this.#extend(at, place, option);
    }
    return this.#routing.labels.count[at * this.#routing.candidates.length + place]! > 0;
  }

  /** Every arrival with one alternative on the node. */
  #extend(at: number, place: number, option: number): void {
    const { nodeCount, gpuAt, memAt, cpuMs, gpuMs, memMb, lnAccuracy } = this.#fleet;
    const { fps, latencyMsMax, lnAccuracyMin } = this.#routing.task;
    const graph = this.#routing.graph;
    const node = this.#routing.candidates[place]!;
    const cell = option * nodeCount + node;
    const stageMs = this.#fleet.stageMs(option, node, fps);
    const cpu = fps * cpuMs[cell]!;
    const gpu = fps * gpuMs[cell]!;
    const mem = memMb[option]! + this.#routing.newModelMb(option, node);
    if (
      !this.#routing.hasRoom(node, cpu) ||
      !this.#routing.hasRoom(gpuAt + node, gpu) ||
      !this.#routing.hasRoom(memAt + node, mem)
    )
      return;
    const { price } = this.#state;
    const accuracy = lnAccuracy[option]!;
    const restMs = this.#restOf(graph)[at]!;
    const price_ = cpu * price[node]! + gpu * price[gpuAt + node]! + mem * price[memAt + node]!;
    const extra = price_ + this.#leaving(at, node, option) - this.#accuracyPrice * accuracy;
    const tight = this.#routing.tight[node] === 1 && this.#routing.options.ignoreCapacity !== true;
    const arrivals = this.#arrivals.list;
    const list = at * this.#routing.candidates.length + place;
    const safe = this.#routing.safeLnAcc(at);
    for (let index = 0; index < arrivals.count[0]!; index++) {
      const lat = arrivals.lat[index]! + stageMs;
      if (lat + restMs > latencyMsMax + FIT_EPSILON) continue;
      const lnAcc = arrivals.lnAcc[index]! + accuracy;
      if (graph.lnAccuracy + lnAcc + graph.lnAccuracyRest[at + 1]! < lnAccuracyMin) continue;
      if (tight && !this.#routing.fitsAlong(arrivals.parent[index]!, at - 1, node, cpu, gpu, mem)) {
        this.#crowded = true;
        continue;
      }
      const ended = graph.ends[at] ? Math.max(arrivals.ended[index]!, lat) : arrivals.ended[index]!;
      this.#routing.labels.insert(
        list,
        safe,
        arrivals.cost[index]! + extra,
        lat,
        ended,
        lnAcc,
        0,
        arrivals.parent[index]!,
        option,
      );
    }
  }

  /** Price of not being where the handler was. */
  #leaving(at: number, node: number, option: number): number {
    const { before, stickiness } = this.#routing.options;
    if (before === null || stickiness === 0) return 0;
    const here = before.get(this.#routing.graph)!;
    return here.nodes[at] === node && here.options[at] === option ? 0 : stickiness;
  }

  /** Least compute time from the end of each handler to the end of its longest path. */
  #restOf(graph: Graph): Float64Array {
    const known = this.#restMs.get(graph);
    if (known !== undefined) return known;
    const { nodeCount, computeMs, possible } = this.#fleet;
    const rest = new Float64Array(graph.handlers.length);
    for (let at = graph.handlers.length - 1; at > 0; at--) {
      let least = Number.POSITIVE_INFINITY;
      const first = graph.firstOption[at]! * nodeCount;
      for (let cell = first; cell < first + graph.optionCount[at]! * nodeCount; cell++) {
        if (possible[cell] === 1 && computeMs[cell]! < least) least = computeMs[cell]!;
      }
      for (const source of graph.feeds[at]!) rest[source] = Math.max(rest[source]!, rest[at]! + least);
    }
    this.#restMs.set(graph, rest);
    return rest;
  }

  /** The best complete label that is cheaper and has room with all its handlers together. */
  #take(below: number): { placed: Placed; cost: number } | null {
    const labels = this.#routing.labels;
    const width = this.#routing.candidates.length;
    const last = this.#routing.graph.handlers.length - 1;
    const ends: { index: number; cost: number }[] = [];
    for (let list = last * width; list < (last + 1) * width; list++) {
      const start = list * labels.width;
      for (let index = start; index < start + labels.count[list]!; index++) {
        if (labels.ended[index]! > this.#routing.task.latencyMsMax + FIT_EPSILON) continue;
        const lnAcc = labels.lnAcc[index]!;
        const worth = this.#routing.task.weight * (ADMITTED_UTILITY + Math.exp(this.#routing.graph.lnAccuracy + lnAcc));
        const slow = (this.#routing.options.latencyPrice ?? 0) * labels.ended[index]!;
        const cost = labels.cost[index]! + this.#accuracyPrice * lnAcc - worth + slow;
        if (cost < below) ends.push({ index, cost });
      }
    }
    ends.sort((a, b) => a.cost - b.cost);
    for (const { index, cost } of ends.slice(0, ENDS_TRIED_MAX)) {
      const placed = this.#placedOf(index, last);
      if (this.#routing.options.ignoreCapacity === true || this.#state.overloads(placed) < 0) return { placed, cost };
    }
    return null;
  }

  #placedOf(end: number, last: number): Placed {
    const options = new Int32Array(last + 1);
    const nodes = new Int32Array(last + 1);
    const here = this.#routing.options.before?.get(this.#routing.graph);
    let moved = 0;
    let index = end;
    for (let at = last; at >= 0; at--) {
      options[at] = this.#routing.labels.option[index]!;
      nodes[at] = this.#routing.nodeOf(index, at);
      if (here !== undefined && (here.nodes[at] !== nodes[at] || here.options[at] !== options[at])) moved++;
      index = this.#routing.labels.parent[index]!;
    }
    return this.#appraiser.appraise(this.#routing.task, this.#routing.graph, options, nodes, moved);
  }
}
