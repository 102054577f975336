/**
 * The session that is being placed, and what its labels hold: which nodes they have taken, what is free for one more
 * handler there, and what a link between two nodes costs. Router and Arrivals share one.
 */
import { FIT_EPSILON } from '../bounds.js';
import type { Graph } from './graphs.js';
import { Labels } from './labels.js';
import type { Fleet, Task } from './model.js';
import type { State } from './state.js';

/** Labels kept per handler and node: more than 8 changes no plan that was measured. */
const LABELS_PER_NODE = 6;

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
  /** Utility that a ms of latency costs: among placements that are otherwise alike the quicker one. */
  readonly latencyPrice?: number;
  /** Look at prices only, as if there were room everywhere: shows what a refused session would like to have. */
  readonly ignoreCapacity?: boolean;
}

export class Routing {
  readonly fleet: Fleet;
  readonly state: State;
  options!: RouteOptions;
  task!: Task;
  graph!: Graph;
  candidates: readonly number[] = [];
  /** Of handler `at` on the candidate numbered `place`: list at * candidates.length + place. */
  labels = new Labels(0, LABELS_PER_NODE);
  /** By node: 1 = could be too small for the whole session; only there labels add up what they took before. */
  readonly tight: Uint8Array;
  /** Second try: at most one handler on a node that is tight. */
  spread = false;
  #lists = 0;

  constructor(state: State) {
    this.fleet = state.fleet;
    this.state = state;
    this.tight = new Uint8Array(state.fleet.nodeCount);
  }

  begin(options: RouteOptions): void {
    this.options = options;
    this.task = options.task;
    this.candidates = options.candidates;
  }

  /** Empty lists for the graph at hand. */
  clear(): void {
    const lists = this.graph.handlers.length * this.candidates.length;
    if (lists > this.#lists) {
      this.#lists = lists;
      this.labels = new Labels(lists, LABELS_PER_NODE);
    }
    this.labels.count.fill(0, 0, lists);
    this.#findTight();
  }

  #findTight(): void {
    const { nodeCount, gpuAt, memAt, cpuMs, gpuMs, memMb, modelMb } = this.fleet;
    const { fps } = this.task;
    const { firstOption, optionCount } = this.graph;
    for (const node of this.candidates) {
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
      const { used } = this.state;
      const { capacity } = this.fleet;
      const tight =
        cpu * fps > capacity[node]! - used[node]! ||
        gpu * fps > capacity[gpuAt + node]! - used[gpuAt + node]! ||
        mem > capacity[memAt + node]! - used[memAt + node]!;
      this.tight[node] = tight ? 1 : 0;
    }
  }

  hasRoom(resource: number, amount: number): boolean {
    if (this.options.ignoreCapacity === true) return true;
    return this.state.used[resource]! + amount <= this.fleet.capacity[resource]! + FIT_EPSILON;
  }

  /** A label this accurate reaches the floor whatever follows handler `at`. */
  safeLnAcc(at: number): number {
    return this.task.lnAccuracyMin - this.graph.lnAccuracy - this.graph.lnAccuracyRestWorst[at + 1]!;
  }

  nodeOf(label: number, at: number): number {
    return this.candidates[Math.floor(label / this.labels.width) - at * this.candidates.length]!;
  }

  /** Whether the label has put any handler on the node. */
  isOn(label: number, at: number, node: number): boolean {
    let index = label;
    for (let step = at; step >= 0; step--) {
      if (this.nodeOf(index, step) === node) return true;
      index = this.labels.parent[index]!;
    }
    return false;
  }

  /** What loading the option's shared model on the node would take; nothing where a session has loaded it. */
  newModelMb(option: number, node: number): number {
    const { modelMb, model, nodeCount } = this.fleet;
    return modelMb[option]! > 0 && this.state.modelUsers[model[option]! * nodeCount + node] === 0
      ? modelMb[option]!
      : 0;
  }

  /** Whether the node holds this handler beside those that the label has put there before. */
  fitsAlong(label: number, at: number, node: number, cpu: number, gpu: number, mem: number): boolean {
    const { nodeCount, cpuMs, gpuMs, memMb, gpuAt, memAt } = this.fleet;
    const { fps } = this.task;
    let index = label;
    for (let step = at; step >= 0; step--) {
      if (this.nodeOf(index, step) === node) {
        const option = this.labels.option[index]!;
        cpu += fps * cpuMs[option * nodeCount + node]!;
        gpu += fps * gpuMs[option * nodeCount + node]!;
        mem += memMb[option]! + this.newModelMb(option, node);
      }
      index = this.labels.parent[index]!;
    }
    return this.hasRoom(node, cpu) && this.hasRoom(gpuAt + node, gpu) && this.hasRoom(memAt + node, mem);
  }

  linkPrice(from: number, to: number, mbit: number): number {
    if (from === to) return 0;
    const { site, siteCount, upAt, downAt, wanUpAt, wanDownAt, pathAt, pathOf, nodeCount } = this.fleet;
    const { price } = this.state;
    const out = site[from]!;
    const into = site[to]!;
    const path = pathOf.get(from * nodeCount + to);
    const segments = [upAt + from, downAt + to];
    if (path !== undefined) segments.push(pathAt + path);
    else if (out !== into) segments.push(wanUpAt + out, wanDownAt + into);
    let sum = 0;
    for (const segment of segments) {
      if (segment === wanUpAt + siteCount || segment === wanDownAt + siteCount) continue;
      if (!this.hasRoom(segment, mbit)) return Number.POSITIVE_INFINITY;
      sum += mbit * price[segment]!;
    }
    return sum;
  }
}
