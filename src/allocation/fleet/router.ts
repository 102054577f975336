/**
 * Places one session at the prices of the moment: label setting over (handler, alternative, node).
 *
 * A label is a partial placement: price paid, latency, ln accuracy. Labels of one handler on one node are Pareto and at
 * most LABELS_PER_NODE. The network is a tree, so a step to the next handler goes node -> site -> core -> site -> node
 * with a few labels kept at every hub: work grows with the nodes, not with their pairs. A handler with several inputs,
 * or one that is not fed by the handler before it, looks its inputs up along the label and goes over all pairs.
 * Labels that end are checked against all capacities at once; the best that holds is the answer. It is near the optimum
 * at these prices, not always the optimum: bound.ts has the exact one.
 */
import { FIT_EPSILON, HOP_MS } from '../bounds.js';
import { Labels } from './labels.js';
import type { Fleet, Graph, Task } from './model.js';
import { ADMITTED_UTILITY, type Appraiser, type Placed, type State } from './state.js';

/** Labels kept per handler and node, and per hub: more than 8 changes no plan that was measured. */
const LABELS_PER_NODE = 6;

/** Labels at a hub: it gathers those of many nodes. */
const LABELS_PER_HUB = 10;

/** Among so few nodes the second try is always made; among many, another node does as well as a crowded one. */
const SPREAD_NODES_MAX = 12;

/** Complete labels that are checked against all capacities at once. */
const ENDS_TRIED_MAX = 6;

/** Where a session ran, in the terms of each of its graphs: option and node per handler, -1 where it had none. */
export type Before = ReadonlyMap<Graph, { readonly options: Int32Array; readonly nodes: Int32Array }>;

export interface RouteOptions {
  readonly task: Task;
  /** Node indices, each once. */
  readonly candidates: readonly number[];
  readonly before: Before | null;
  /** Utility that a handler which stays where it was is worth. */
  readonly stickiness: number;
  /** An option that may not be taken. */
  readonly without?: number;
  /** Look at prices only, as if there were room everywhere: shows what a refused session would like to have. */
  readonly ignoreCapacity?: boolean;
}

export class Router {
  readonly #fleet: Fleet;
  readonly #state: State;
  readonly #appraiser: Appraiser;
  #labels: Labels;
  readonly #arrivals = new Labels(1, LABELS_PER_HUB);
  readonly #hubs: Labels;
  readonly #tight: Uint8Array;
  readonly #restMs = new Map<Graph, Float64Array>();
  #lists = 0;
  // The session that is being placed.
  #task!: Task;
  #graph!: Graph;
  #candidates: readonly number[] = [];
  #options!: RouteOptions;
  #accuracyPrice = 0;
  /** A label was given up because its own handlers crowd a node. */
  #crowded = false;
  /** Second try: at most one handler on a node that is too small for the whole session. */
  #spread = false;

  constructor(state: State, appraiser: Appraiser) {
    this.#fleet = state.fleet;
    this.#state = state;
    this.#appraiser = appraiser;
    this.#labels = new Labels(0, LABELS_PER_NODE);
    this.#hubs = new Labels(state.fleet.siteCount + 2, LABELS_PER_HUB);
    this.#tight = new Uint8Array(state.fleet.nodeCount);
  }

  /** Best placement at the prices of the moment with room for it; null when none was found. */
  route(options: RouteOptions): Placed | null {
    this.#task = options.task;
    this.#options = options;
    this.#candidates = options.candidates;
    let best: Placed | null = null;
    let bestCost = Number.POSITIVE_INFINITY;
    for (const graph of options.task.graphs) {
      this.#graph = graph;
      this.#spread = false;
      this.#crowded = false;
      let found = this.#fill() ? this.#take(bestCost) : null;
      if (this.#crowded && (found === null || this.#candidates.length <= SPREAD_NODES_MAX)) {
        this.#spread = true;
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
    const depth = this.#graph.handlers.length;
    const width = this.#candidates.length;
    if (depth * width > this.#lists) {
      this.#lists = depth * width;
      this.#labels = new Labels(this.#lists, LABELS_PER_NODE);
    }
    this.#labels.count.fill(0, 0, depth * width);
    this.#accuracyPrice = this.#task.weight * Math.exp(this.#graph.lnAccuracy + this.#graph.lnAccuracyRest[0]!);
    this.#findTight();
    for (let at = 0; at < depth; at++) {
      if (this.#byHubs(at)) this.#fillHubs(at - 1);
      let any = false;
      for (let place = 0; place < width; place++) any = this.#fillNode(at, place) || any;
      if (!any) return false;
    }
    return true;
  }

  /** Nodes that could be too small for the whole session: only there labels add up what they took before. */
  #findTight(): void {
    const { nodeCount, gpuAt, memAt, cpuMs, gpuMs, memMb, modelMb } = this.#fleet;
    const { fps } = this.#task;
    const { firstOption, optionCount } = this.#graph;
    for (const node of this.#candidates) {
      let cpu = 0;
      let gpu = 0;
      let mem = 0;
      for (let at = 0; at < firstOption.length; at++) {
        let cpuMost = 0;
        let gpuMost = 0;
        let memMost = 0;
        for (let option = firstOption[at]!; option < firstOption[at]! + optionCount[at]!; option++) {
          const cell = option * nodeCount + node;
          cpuMost = Math.max(cpuMost, cpuMs[cell]!);
          gpuMost = Math.max(gpuMost, gpuMs[cell]!);
          memMost = Math.max(memMost, memMb[option]! + modelMb[option]!);
        }
        cpu += cpuMost;
        gpu += gpuMost;
        mem += memMost;
      }
      const { used } = this.#state;
      const { capacity } = this.#fleet;
      const tight =
        cpu * fps > capacity[node]! - used[node]! ||
        gpu * fps > capacity[gpuAt + node]! - used[gpuAt + node]! ||
        mem > capacity[memAt + node]! - used[memAt + node]!;
      this.#tight[node] = tight ? 1 : 0;
    }
  }

  /** Labels of handler `at` carried up to their sites and to the core. */
  #fillHubs(at: number): void {
    const { nodeCount, site, siteCount, upAt, wanUpAt, bytes, accessMs, upMsPerByte, wanMs, wanUpMsPerByte } =
      this.#fleet;
    const labels = this.#labels;
    const hubs = this.#hubs;
    const { price } = this.#state;
    const { fps } = this.#task;
    const core = siteCount + 1;
    hubs.count.fill(0);
    const width = this.#candidates.length;
    const safe = this.#safeLnAcc(at);
    for (let place = 0; place < width; place++) {
      const node = this.#candidates[place]!;
      const list = at * width + place;
      const start = list * labels.width;
      const home = site[node]!;
      for (let index = start; index < start + labels.count[list]!; index++) {
        const packet = bytes[labels.option[index]! * nodeCount + node]!;
        const mbit = (fps * packet * 8) / 1e6;
        if (!this.#hasRoom(upAt + node, mbit)) continue;
        const cost = labels.cost[index]! + mbit * price[upAt + node]!;
        const lat = labels.lat[index]! + accessMs[node]! + packet * upMsPerByte[node]!;
        const ended = labels.ended[index]!;
        const acc = labels.lnAcc[index]!;
        hubs.insert(home, safe, cost, lat, ended, acc, packet, index, 0);
        if (home === siteCount) {
          hubs.insert(core, safe, cost, lat, ended, acc, packet, index, 0);
        } else if (this.#hasRoom(wanUpAt + home, mbit)) {
          const wanCost = cost + mbit * price[wanUpAt + home]!;
          hubs.insert(
            core,
            safe,
            wanCost,
            lat + wanMs[home]! + packet * wanUpMsPerByte[home]!,
            ended,
            acc,
            packet,
            index,
            0,
          );
        }
      }
    }
  }

  #byHubs(at: number): boolean {
    return !this.#spread && this.#graph.chained[at]!;
  }

  #hasRoom(resource: number, amount: number): boolean {
    if (this.#options.ignoreCapacity === true) return true;
    return this.#state.used[resource]! + amount <= this.#fleet.capacity[resource]! + FIT_EPSILON;
  }

  /** A label this accurate reaches the floor whatever follows handler `at`. */
  #safeLnAcc(at: number): number {
    return this.#task.lnAccuracyMin - this.#graph.lnAccuracy - this.#graph.lnAccuracyRestWorst[at + 1]!;
  }

  #fillNode(at: number, place: number): boolean {
    const node = this.#candidates[place]!;
    const { stay, source } = this.#task;
    const first = this.#graph.firstOption[at]!;
    if (stay !== null && stay[node] === 0) return false;
    if (this.#fleet.atSource[first] === 1 && node !== source) return false;
    const arrivals = this.#arrivals;
    arrivals.count[0] = 0;
    if (at === 0) arrivals.insert(0, 0, 0, 0, 0, 0, 0, -1, 0);
    else if (this.#byHubs(at)) this.#arriveByHubs(at, place);
    else this.#arriveByPairs(at, node);
    if (arrivals.count[0] === 0) return false;
    for (let option = first; option < first + this.#graph.optionCount[at]!; option++) {
      if (option === this.#options.without) continue;
      if (this.#fleet.possible[option * this.#fleet.nodeCount + node] === 1) this.#extend(at, place, option);
    }
    return this.#labels.count[at * this.#candidates.length + place]! > 0;
  }

  #arriveByHubs(at: number, place: number): void {
    const { site, siteCount, accessMs, wanMs, downAt, wanDownAt, downMsPerByte, wanDownMsPerByte } = this.#fleet;
    const node = this.#candidates[place]!;
    const labels = this.#labels;
    const hubs = this.#hubs;
    const arrivals = this.#arrivals;
    const safe = this.#safeLnAcc(at - 1);
    const list = (at - 1) * this.#candidates.length + place;
    const start = list * labels.width;
    for (let index = start; index < start + labels.count[list]!; index++) {
      arrivals.insert(
        0,
        safe,
        labels.cost[index]!,
        labels.lat[index]!,
        labels.ended[index]!,
        labels.lnAcc[index]!,
        0,
        index,
        0,
      );
    }
    const { price } = this.#state;
    const { fps } = this.#task;
    const home = site[node]!;
    const hop = accessMs[node]! + HOP_MS;
    for (let hub = home; hub <= siteCount + 1; hub += Math.max(1, siteCount + 1 - home)) {
      const far = hub === siteCount + 1 && home !== siteCount;
      const from = hub * hubs.width;
      for (let index = from; index < from + hubs.count[hub]!; index++) {
        const packet = hubs.bytes[index]!;
        const mbit = (fps * packet * 8) / 1e6;
        if (!this.#hasRoom(downAt + node, mbit) || (far && !this.#hasRoom(wanDownAt + home, mbit))) continue;
        let cost = hubs.cost[index]! + mbit * price[downAt + node]!;
        let lat = hubs.lat[index]! + hop + packet * downMsPerByte[node]!;
        if (far) {
          cost += mbit * price[wanDownAt + home]!;
          lat += wanMs[home]! + packet * wanDownMsPerByte[home]!;
        }
        arrivals.insert(0, safe, cost, lat, hubs.ended[index]!, hubs.lnAcc[index]!, 0, hubs.parent[index]!, 0);
      }
    }
  }

  /** Inputs that are further back: looked up along each label. */
  #arriveByPairs(at: number, node: number): void {
    const labels = this.#labels;
    const width = this.#candidates.length;
    const safe = this.#safeLnAcc(at - 1);
    for (let list = (at - 1) * width; list < at * width; list++) {
      const start = list * labels.width;
      for (let index = start; index < start + labels.count[list]!; index++) {
        if (this.#spread && this.#tight[node] === 1 && this.#isOn(index, at - 1, node)) continue;
        let cost = labels.cost[index]!;
        let lat = 0;
        for (const source of this.#graph.feeds[at]!) {
          let back = index;
          for (let step = at - 1; step > source; step--) back = labels.parent[back]!;
          const from = this.#nodeOf(back, source);
          const packet = this.#fleet.bytes[labels.option[back]! * this.#fleet.nodeCount + from]!;
          cost += this.#linkPrice(from, node, (this.#task.fps * packet * 8) / 1e6);
          lat = Math.max(lat, labels.lat[back]! + this.#fleet.linkMs(from, node, packet));
        }
        if (cost === Number.POSITIVE_INFINITY) continue;
        this.#arrivals.insert(0, safe, cost, lat, labels.ended[index]!, labels.lnAcc[index]!, 0, index, 0);
      }
    }
  }

  /** Whether the label has put any handler on the node. */
  #isOn(label: number, at: number, node: number): boolean {
    let index = label;
    for (let step = at; step >= 0; step--) {
      if (this.#nodeOf(index, step) === node) return true;
      index = this.#labels.parent[index]!;
    }
    return false;
  }

  #nodeOf(label: number, at: number): number {
    return this.#candidates[Math.floor(label / this.#labels.width) - at * this.#candidates.length]!;
  }

  #linkPrice(from: number, to: number, mbit: number): number {
    if (from === to) return 0;
    const { site, siteCount, upAt, downAt, wanUpAt, wanDownAt, pathAt, pathOf, nodeCount } = this.#fleet;
    const { price } = this.#state;
    const out = site[from]!;
    const into = site[to]!;
    const path = pathOf.get(from * nodeCount + to);
    const segments = [upAt + from, downAt + to];
    if (path !== undefined) segments.push(pathAt + path);
    else if (out !== into) segments.push(wanUpAt + out, wanDownAt + into);
    let sum = 0;
    for (const segment of segments) {
      if (segment === wanUpAt + siteCount || segment === wanDownAt + siteCount) continue;
      if (!this.#hasRoom(segment, mbit)) return Number.POSITIVE_INFINITY;
      sum += mbit * price[segment]!;
    }
    return sum;
  }

  /** Every arrival with one alternative on the node. */
  #extend(at: number, place: number, option: number): void {
    const { nodeCount, gpuAt, memAt, cpuMs, gpuMs, memMb, lnAccuracy } = this.#fleet;
    const { fps, latencyMsMax, lnAccuracyMin } = this.#task;
    const graph = this.#graph;
    const node = this.#candidates[place]!;
    const cell = option * nodeCount + node;
    const stageMs = this.#fleet.stageMs(option, node, fps);
    const cpu = fps * cpuMs[cell]!;
    const gpu = fps * gpuMs[cell]!;
    const mem = memMb[option]! + this.#newModelMb(option, node);
    if (!this.#hasRoom(node, cpu) || !this.#hasRoom(gpuAt + node, gpu) || !this.#hasRoom(memAt + node, mem)) return;
    const { price } = this.#state;
    const accuracy = lnAccuracy[option]!;
    const restMs = this.#restOf(graph)[at]!;
    const price_ = cpu * price[node]! + gpu * price[gpuAt + node]! + mem * price[memAt + node]!;
    const extra = price_ + this.#leaving(at, node, option) - this.#accuracyPrice * accuracy;
    const tight = this.#tight[node] === 1 && this.#options.ignoreCapacity !== true;
    const arrivals = this.#arrivals;
    const list = at * this.#candidates.length + place;
    const safe = this.#safeLnAcc(at);
    for (let index = 0; index < arrivals.count[0]!; index++) {
      const lat = arrivals.lat[index]! + stageMs;
      if (lat + restMs > latencyMsMax + FIT_EPSILON) continue;
      const lnAcc = arrivals.lnAcc[index]! + accuracy;
      if (graph.lnAccuracy + lnAcc + graph.lnAccuracyRest[at + 1]! < lnAccuracyMin) continue;
      if (tight && !this.#fitsAlong(arrivals.parent[index]!, at - 1, node, cpu, gpu, mem)) {
        this.#crowded = true;
        continue;
      }
      const ended = graph.ends[at] ? Math.max(arrivals.ended[index]!, lat) : arrivals.ended[index]!;
      this.#labels.insert(
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

  /** What loading the option's shared model on the node would take; nothing where a session has loaded it. */
  #newModelMb(option: number, node: number): number {
    const { modelMb, model, nodeCount } = this.#fleet;
    return modelMb[option]! > 0 && this.#state.modelUsers[model[option]! * nodeCount + node] === 0
      ? modelMb[option]!
      : 0;
  }

  /** Whether the node holds this handler beside those that the label has put there before. */
  #fitsAlong(label: number, at: number, node: number, cpu: number, gpu: number, mem: number): boolean {
    const { nodeCount, cpuMs, gpuMs, memMb, gpuAt, memAt } = this.#fleet;
    const { fps } = this.#task;
    let index = label;
    for (let step = at; step >= 0; step--) {
      if (this.#nodeOf(index, step) === node) {
        const option = this.#labels.option[index]!;
        cpu += fps * cpuMs[option * nodeCount + node]!;
        gpu += fps * gpuMs[option * nodeCount + node]!;
        mem += memMb[option]! + this.#newModelMb(option, node);
      }
      index = this.#labels.parent[index]!;
    }
    return this.#hasRoom(node, cpu) && this.#hasRoom(gpuAt + node, gpu) && this.#hasRoom(memAt + node, mem);
  }

  /** Price of not being where the handler was. */
  #leaving(at: number, node: number, option: number): number {
    const { before, stickiness } = this.#options;
    if (before === null || stickiness === 0) return 0;
    const here = before.get(this.#graph)!;
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
    const labels = this.#labels;
    const width = this.#candidates.length;
    const last = this.#graph.handlers.length - 1;
    const ends: { index: number; cost: number }[] = [];
    for (let list = last * width; list < (last + 1) * width; list++) {
      const start = list * labels.width;
      for (let index = start; index < start + labels.count[list]!; index++) {
        if (labels.ended[index]! > this.#task.latencyMsMax + FIT_EPSILON) continue;
        const lnAcc = labels.lnAcc[index]!;
        const worth = this.#task.weight * (ADMITTED_UTILITY + Math.exp(this.#graph.lnAccuracy + lnAcc));
        const cost = labels.cost[index]! + this.#accuracyPrice * lnAcc - worth;
        if (cost < below) ends.push({ index, cost });
      }
    }
    ends.sort((a, b) => a.cost - b.cost);
    for (const { index, cost } of ends.slice(0, ENDS_TRIED_MAX)) {
      const placed = this.#placedOf(index, last);
      if (this.#options.ignoreCapacity === true || this.#state.overloads(placed) < 0) return { placed, cost };
    }
    return null;
  }

  #placedOf(end: number, last: number): Placed {
    const options = new Int32Array(last + 1);
    const nodes = new Int32Array(last + 1);
    const here = this.#options.before?.get(this.#graph);
    let moved = 0;
    let index = end;
    for (let at = last; at >= 0; at--) {
      options[at] = this.#labels.option[index]!;
      nodes[at] = this.#nodeOf(index, at);
      if (here !== undefined && (here.nodes[at] !== nodes[at] || here.options[at] !== options[at])) moved++;
      index = this.#labels.parent[index]!;
    }
    return this.#appraiser.appraise(this.#task, this.#graph, options, nodes, moved);
  }
}
