/**
 * What is at least still to come after a handler has finished on a node, for one combination of alternatives: the
 * backward half of the dynamic programme. Every path is taken by itself and shared capacity is left out, so the values
 * never exceed the truth; on a chain without scarce nodes they are the truth.
 *
 * Two bounds per handler and node: of latency, and of cost, where each handler adds its extra beyond the least extra it
 * has anywhere (the least ones are a constant, `remainingMs`). Cost of a plan = longest path + sum of all extras, hence
 * for any one path: latency of the path + excess extras on it + sum of least extras is a bound from below.
 * Work is handlers x nodes^2: a step of the path depends on the target only through one number per node.
 */
import { type Cluster, fits, mbitOf } from './cluster.js';
import type { Graph, Option } from './graph.js';
import { narrowed } from './narrow.js';

export interface Bounds {
  readonly latencyMs: Float64Array;
  readonly costMs: Float64Array;
}

/** By node of the handler: the worst over all its targets, and the cost towards each of them. */
export interface Tail extends Bounds {
  readonly towards: readonly { readonly target: number; readonly costMs: Float64Array }[];
}

/** A combination ready for the search. */
export interface Problem {
  readonly graph: Graph;
  readonly cluster: Cluster;
  readonly choice: readonly number[];
  /** The chosen option per handler. */
  readonly options: readonly Option[];
  /** Cost beside latency per handler and node; zeros when latency alone counts. */
  readonly extraMs: readonly Float64Array[];
  readonly tails: readonly Tail[];
  /** Least extras of this handler and all later ones. */
  readonly remainingMs: Float64Array;
  /** No plan of the combination costs less, or is faster; Infinity when it has none. */
  readonly leastCostMs: number;
  readonly leastLatencyMs: number;
}

/** Makes problems of one graph and remembers tails: combinations that agree on a handler and all after it share them. */
export class ProblemMaker {
  readonly #graph: Graph;
  readonly #cluster: Cluster;
  readonly #latencyOnly: boolean;
  readonly #zeros: Float64Array;
  readonly #later: readonly (readonly number[])[];
  readonly #tails = new Map<string, Tail>();

  constructor(graph: Graph, cluster: Cluster, latencyOnly: boolean) {
    this.#graph = graph;
    this.#cluster = cluster;
    this.#latencyOnly = latencyOnly;
    this.#zeros = new Float64Array(cluster.nodes.length);
    this.#later = descendants(graph);
  }

  make(choice: readonly number[]): Problem {
    const graph = this.#graph;
    const chosen = choice.map((index, at) => graph.options[at]![index]!);
    const options = narrowed(graph, this.#cluster, chosen);
    // Narrowing depends on earlier handlers too, so what was narrowed is not shared.
    const shared = options === chosen;
    const extraMs = options.map((option) => (this.#latencyOnly ? this.#zeros : option.extraMs));
    const leastExtra = options.map((option, at) => least(extraMs[at]!, option.possible));
    const remainingMs = new Float64Array(options.length + 1);
    for (let at = options.length - 1; at >= 0; at--) remainingMs[at] = remainingMs[at + 1]! + leastExtra[at]!;
    const tails: Tail[] = [];
    const parts = { graph, cluster: this.#cluster, options, extraMs, leastExtra, tails };
    for (let at = options.length - 1; at >= 0; at--) {
      const key = `${at}:${choice[at]}:${this.#later[at]!.map((later) => choice[later]).join(',')}`;
      const known = (shared ? this.#tails.get(key) : undefined) ?? tailOf(at, parts);
      if (shared) this.#tails.set(key, known);
      tails[at] = known;
    }
    return { ...parts, choice, remainingMs, ...leastOf(parts, remainingMs[0]!) };
  }
}

function descendants(graph: Graph): number[][] {
  const later: number[][] = graph.handlers.map(() => []);
  for (let at = graph.handlers.length - 1; at >= 0; at--) {
    const found = new Set(graph.targets[at]!.flatMap((target) => [target, ...later[target]!]));
    later[at] = [...found].sort((a, b) => a - b);
  }
  return later;
}

function least(values: Float64Array, at: Int32Array): number {
  let found = Number.POSITIVE_INFINITY;
  for (const index of at) found = Math.min(found, values[index]!);
  return found;
}

interface Parts {
  readonly graph: Graph;
  readonly cluster: Cluster;
  readonly options: readonly Option[];
  readonly extraMs: readonly Float64Array[];
  readonly leastExtra: readonly number[];
  readonly tails: readonly Tail[];
}

function tailOf(at: number, parts: Parts): Tail {
  const size = parts.cluster.nodes.length;
  const worst = { latencyMs: new Float64Array(size), costMs: new Float64Array(size) };
  const towards = parts.graph.targets[at]!.map((target) => {
    const { latencyMs, costMs } = leaving(at, target, parts);
    for (const node of parts.options[at]!.possible) {
      worst.latencyMs[node] = Math.max(worst.latencyMs[node]!, latencyMs[node]!);
      worst.costMs[node] = Math.max(worst.costMs[node]!, costMs[node]!);
    }
    return { target, costMs };
  });
  return { ...worst, towards };
}

/** From the arrival at `target` to the end, per node. */
function reaching(target: number, { options, extraMs, leastExtra, tails }: Parts): Bounds {
  const { stageMs } = options[target]!;
  const tail = tails[target]!;
  const extra = extraMs[target]!;
  return {
    latencyMs: stageMs.map((value, node) => value + tail.latencyMs[node]!),
    costMs: stageMs.map((value, node) => value + extra[node]! - leastExtra[target]! + tail.costMs[node]!),
  };
}

/** From the end of handler `at` over its link to `target` to the end of the chain, per node of `at`. */
function leaving(at: number, target: number, parts: Parts): Bounds {
  const { hopMs, msPerByte, mbitFree, nodes } = parts.cluster;
  const { possible, bytes } = parts.options[at]!;
  const onwards = reaching(target, parts);
  const bounds = { latencyMs: new Float64Array(nodes.length), costMs: new Float64Array(nodes.length) };
  for (const source of possible) {
    const row = source * nodes.length;
    const sent = bytes[source]!;
    const mbit = parts.graph.enforced ? mbitOf(parts.graph.fps, sent) : 0;
    let latency = Number.POSITIVE_INFINITY;
    let cost = Number.POSITIVE_INFINITY;
    for (const node of parts.options[target]!.possible) {
      if (!fits(mbit, mbitFree[row + node]!)) continue;
      const link = hopMs[row + node]! + sent * msPerByte[row + node]!;
      latency = Math.min(latency, link + onwards.latencyMs[node]!);
      cost = Math.min(cost, link + onwards.costMs[node]!);
    }
    bounds.latencyMs[source] = latency;
    bounds.costMs[source] = cost;
  }
  return bounds;
}

function leastOf(parts: Parts, leastExtras: number): { leastCostMs: number; leastLatencyMs: number } {
  let leastLatencyMs = 0;
  let leastPathMs = 0;
  parts.graph.feeds.forEach((feeds, at) => {
    if (feeds.length > 0) return;
    const from = reaching(at, parts);
    leastLatencyMs = Math.max(leastLatencyMs, least(from.latencyMs, parts.options[at]!.possible));
    leastPathMs = Math.max(leastPathMs, least(from.costMs, parts.options[at]!.possible));
  });
  return { leastCostMs: leastPathMs + leastExtras, leastLatencyMs };
}
