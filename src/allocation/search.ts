/**
 * The cheapest placement of one combination: the forward half of the dynamic programme, best bound first (A*).
 *
 * State after handler k: the nodes of the open handlers, those that still feed a later one. Labels of one state are
 * Pareto: arrival time at each open handler, longest finished path, extras, use of scarce nodes and links. Handlers are
 * placed in topological order, so any small DAG works, not only chains. The bound of a label never exceeds the truth
 * (tails.ts), hence the first complete label is the optimum; only labels that could beat the plan in hand are made.
 * First a dive along the bounds is tried: without scarce nodes it already is the optimum.
 */

import { Heap } from '../std/heap.js';
import { BEAM_LABELS, CLOSED_LABELS_MAX, FIT_EPSILON } from './bounds.js';
import { leavesAsMuch, NO_USE, Scarcity, type Uses } from './scarcity.js';
import type { Problem } from './tails.js';

/** Labels that may still be made; shared by the searches of one call. */
export interface Budget {
  labels: number;
}

export interface SearchOptions {
  readonly problem: Problem;
  /** End to end bound; Infinity when there is none. */
  readonly latencyMsMax: number;
  /** Only cheaper placements are wanted. */
  readonly costMsBelow: number;
  readonly budget: Budget;
  /** Stop at the first placement found, whatever it costs. */
  readonly anyWillDo?: boolean;
  /** A placement (node per handler) that is not wanted. */
  readonly not?: readonly number[];
}

export interface Found {
  /** Node index per handler; null when there is none. */
  readonly nodes: readonly number[] | null;
  readonly costMs: number;
  /** False when the budget ran out before the search was complete. */
  readonly exact: boolean;
}

interface Label {
  /** Handlers placed. */
  readonly depth: number;
  /** Of the last one placed. */
  readonly node: number;
  readonly finishMs: number;
  /** Longest path that ends in a handler which feeds nothing. */
  readonly endedMs: number;
  readonly extraMs: number;
  /** No completion costs less. */
  readonly boundMs: number;
  readonly parent: Label | null;
  readonly uses: Uses;
  /** Still equal to the placement that is not wanted. */
  readonly same: boolean;
  readonly serial: number;
}

export function search(options: SearchOptions): Found {
  const { problem, latencyMsMax, costMsBelow } = options;
  const none: Found = { nodes: null, costMs: Number.POSITIVE_INFINITY, exact: true };
  if (problem.leastLatencyMs > latencyMsMax + FIT_EPSILON || problem.leastCostMs >= costMsBelow) return none;
  return new Search(options).run();
}

class Search {
  readonly #options: SearchOptions;
  readonly #problem: Problem;
  readonly #scarcity: Scarcity | null;
  readonly #closed = new Map<string, ClosedLabel[]>();
  #below: number;
  #best: Label | null = null;
  #serial = 0;

  constructor(options: SearchOptions) {
    this.#options = options;
    this.#problem = options.problem;
    this.#scarcity = options.problem.graph.enforced ? new Scarcity(options.problem) : null;
    this.#below = options.costMsBelow;
  }

  run(): Found {
    if (this.#scarcity?.hopeless === true) return this.#answer(true);
    const root = this.#root();
    this.#dive(root);
    const settled = this.#best !== null && this.#options.anyWillDo === true;
    if (settled || this.#below <= root.boundMs + FIT_EPSILON) return this.#answer(true);
    const exact = this.#bestFirst(root);
    if (!exact) this.#beam(root);
    return this.#answer(exact);
  }

  #answer(exact: boolean): Found {
    if (this.#best === null) return { nodes: null, costMs: Number.POSITIVE_INFINITY, exact };
    return { nodes: pathOf(this.#best).map((label) => label.node), costMs: this.#best.boundMs, exact };
  }

  #root(): Label {
    return {
      depth: 0,
      node: -1,
      finishMs: 0,
      endedMs: 0,
      extraMs: 0,
      boundMs: this.#problem.leastCostMs,
      parent: null,
      uses: NO_USE,
      same: this.#options.not !== undefined,
      serial: this.#serial++,
    };
  }

  #complete(label: Label): boolean {
    return label.depth === this.#problem.options.length;
  }

  #take(label: Label): void {
    if (label.boundMs >= this.#below) return;
    this.#best = label;
    this.#below = label.boundMs;
  }

  #dive(root: Label): void {
    let at: Label | null = root;
    while (at !== null && !this.#complete(at)) {
      let next: Label | null = null;
      for (const label of this.#expand(at)) if (next === null || label.boundMs < next.boundMs) next = label;
      at = next;
    }
    if (at !== null) this.#take(at);
  }

  /** True when complete: nothing that was not looked at can be better. */
  #bestFirst(root: Label): boolean {
    const heap = new Heap<Label>(comesBefore);
    heap.push(root);
    for (let label = heap.pop(); label !== undefined; label = heap.pop()) {
      if (label.boundMs >= this.#below) return true;
      if (this.#complete(label)) {
        this.#take(label);
        return true;
      }
      if (this.#dominated(label)) continue;
      if (this.#options.budget.labels <= 0) return false;
      for (const next of this.#expand(label)) if (next.boundMs < this.#below) heap.push(next);
    }
    return true;
  }

  /** A last resort that always ends: the best BEAM_LABELS labels of each depth. */
  #beam(root: Label): void {
    this.#closed.clear();
    let level: Label[] = [root];
    for (let depth = 0; depth < this.#problem.options.length; depth++) {
      const grown = level.flatMap((label) => this.#expand(label)).filter((label) => label.boundMs < this.#below);
      grown.sort((a, b) => (comesBefore(a, b) ? -1 : 1));
      level = [];
      for (const label of grown) {
        if (level.length >= BEAM_LABELS) break;
        if (this.#complete(label) || !this.#dominated(label)) level.push(label);
      }
    }
    for (const label of level) this.#take(label);
  }

  /** Labels with the next handler on each node where it can be. */
  #expand(label: Label): Label[] {
    const { graph, options, extraMs, tails, remainingMs } = this.#problem;
    const at = label.depth;
    const path = pathOf(label);
    const option = options[at]!;
    const tail = tails[at]!;
    const isEnd = graph.targets[at]!.length === 0;
    const otherOpenMs = this.#openBound(path, at);
    const last = at + 1 === options.length;
    const grown: Label[] = [];
    for (const node of option.possible) {
      const finishMs = this.#arrival(path, at, node) + option.stageMs[node]!;
      if (finishMs + tail.latencyMs[node]! > this.#options.latencyMsMax + FIT_EPSILON) continue;
      const extra = label.extraMs + extraMs[at]![node]!;
      const endedMs = isEnd ? Math.max(label.endedMs, finishMs) : label.endedMs;
      const longestMs = Math.max(otherOpenMs, endedMs, finishMs + tail.costMs[node]!);
      // The last label's bound is its cost, so that equal placements compare as equal.
      const boundMs = last ? longestMs + extra : Math.max(label.boundMs, longestMs + extra + remainingMs[at + 1]!);
      if (boundMs >= this.#below || boundMs === Number.POSITIVE_INFINITY) continue;
      const same = label.same && this.#options.not?.[at] === node;
      if (last && same) continue;
      const uses =
        this.#scarcity === null ? label.uses : this.#scarcity.place(label.uses, at, node, (one) => path[one]!.node);
      if (uses === null) continue;
      this.#options.budget.labels--;
      grown.push({
        depth: at + 1,
        node,
        finishMs,
        endedMs,
        extraMs: extra,
        boundMs,
        parent: label,
        uses,
        same,
        serial: this.#serial++,
      });
    }
    return grown;
  }

  /** When all inputs of handler `at` have arrived on `node`; Infinity without a path. */
  #arrival(path: readonly Label[], at: number, node: number): number {
    const { graph, options, cluster } = this.#problem;
    const { hopMs, msPerByte, nodes } = cluster;
    let arrival = 0;
    for (const source of graph.feeds[at]!) {
      const from = path[source]!;
      const link = from.node * nodes.length + node;
      const moved = hopMs[link]! + options[source]!.bytes[from.node]! * msPerByte[link]!;
      arrival = Math.max(arrival, from.finishMs + moved);
    }
    return arrival;
  }

  /**
   * Bound by the handlers that stay open beside the next one. Only towards what is not placed yet: the extras of placed
   * handlers are already in the label and would count twice.
   */
  #openBound(path: readonly Label[], at: number): number {
    let longest = 0;
    for (const open of this.#problem.graph.open[at]!) {
      if (open === at) continue;
      const { node, finishMs } = path[open]!;
      for (const { target, costMs } of this.#problem.tails[open]!.towards) {
        if (target > at) longest = Math.max(longest, finishMs + costMs[node]!);
      }
    }
    return longest;
  }

  /** Closes the label unless an earlier one of its state is at least as good in everything that still matters. */
  #dominated(label: Label): boolean {
    if (label.depth === 0) return false;
    const path = pathOf(label);
    const open = this.#problem.graph.open[label.depth - 1]!;
    const key = `${label.depth}:${open.map((one) => path[one]!.node).join(',')}`;
    const ends = [label.endedMs, ...open.map((one) => path[one]!.finishMs)];
    const closed = this.#closed.get(key);
    const entry: ClosedLabel = { ends, extraMs: label.extraMs, uses: label.uses, same: label.same };
    if (closed === undefined) this.#closed.set(key, [entry]);
    else if (closed.some((one) => dominates(one, entry, this.#options.latencyMsMax))) return true;
    else if (closed.length < CLOSED_LABELS_MAX) closed.push(entry);
    return false;
  }
}

interface ClosedLabel {
  /** Longest ended path, then the finish of each open handler. */
  readonly ends: readonly number[];
  readonly extraMs: number;
  readonly uses: Uses;
  readonly same: boolean;
}

function dominates(a: ClosedLabel, b: ClosedLabel, latencyMsMax: number): boolean {
  if (a.same && !b.same) return false;
  const bounded = latencyMsMax < Number.POSITIVE_INFINITY;
  for (let index = 0; index < a.ends.length; index++) {
    const own = a.ends[index]!;
    const other = b.ends[index]!;
    // Later but with less extra is as good in cost; under a latency bound it must not be later either.
    if (own + a.extraMs > other + b.extraMs || (bounded && own > other)) return false;
  }
  return leavesAsMuch(a.uses, b.uses);
}

/** Lower bound first, then the deeper, then the one made first: lower node ids. */
function comesBefore(a: Label, b: Label): boolean {
  if (a.boundMs !== b.boundMs) return a.boundMs < b.boundMs;
  return a.depth !== b.depth ? a.depth > b.depth : a.serial < b.serial;
}

/** The labels that placed handlers 0..depth-1. */
function pathOf(label: Label): Label[] {
  const path = new Array<Label>(label.depth);
  for (let at: Label | null = label; at !== null && at.depth > 0; at = at.parent) path[at.depth - 1] = at;
  return path;
}
