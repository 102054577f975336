/**
 * The best plan over all variants: combinations are tried from the most accurate down, and all of one accuracy compete
 * in cost. What follows the winner (how many variants would do, which is second) only feeds reasons.
 * `goal: 'latency'` asks for the fastest placement at or above the accuracy floor instead, for refusals.
 */
import type { Objective, PlanRequest } from '../contracts/plan.js';
import { ACCURACY_EPSILON, COMBINATIONS_MAX, LABELS_MAX, SURVEY_LABELS_MAX, SURVEY_MAX } from './bounds.js';
import type { Cluster } from './cluster.js';
import { type Graph, graphOf } from './graph.js';
import { type Budget, type Found, search } from './search.js';
import { ProblemMaker } from './tails.js';
import { type Combination, mergedCombinations, type Wanted } from './variants.js';

export interface Solution extends Combination {
  /** Node index per handler, in the graph's order. */
  readonly nodes: readonly number[];
  readonly costMs: number;
}

export interface Solved {
  readonly best: Solution | null;
  readonly exact: boolean;
  /** Best plan of another combination, else another placement of the same; null when there is none. */
  readonly second: Solution | null;
  /** Combinations that have a placement, of those that were counted. */
  readonly possible: number;
  readonly counted: number;
}

export interface SolveOptions {
  readonly parts: readonly { readonly graph: Graph; readonly only: Wanted['only'] }[];
  readonly cluster: Cluster;
  readonly objective: Objective;
  readonly goal?: 'accuracy' | 'latency';
  readonly labelsMax?: number;
  /** Also find the second best and count what would do. */
  readonly survey?: boolean;
}

/** Graphs of the wanted variants; they depend on fps, pins and `previous`, not on latency or accuracy. */
export function graphsOf(wanted: readonly Wanted[], request: PlanRequest, cluster: Cluster): SolveOptions['parts'] {
  return wanted.map(({ variant, only }) => ({ graph: graphOf({ variant, request, cluster }), only }));
}

export function solve(options: SolveOptions): Solved {
  return new Solver(options).run();
}

class Solver {
  readonly #options: SolveOptions;
  readonly #latencyMsMax: number;
  readonly #makers: ReadonlyMap<Graph, ProblemMaker>;
  readonly #budget: Budget;
  readonly #labelsMax: number;
  #best: Solution | null = null;
  #second: Solution | null = null;
  #exact = true;
  #possible = 0;
  #counted = 0;

  constructor(options: SolveOptions) {
    const latencyOnly = options.goal === 'latency';
    this.#options = options;
    this.#latencyMsMax = options.objective.latency_ms_max ?? Number.POSITIVE_INFINITY;
    this.#makers = new Map(
      options.parts.map(({ graph }) => [graph, new ProblemMaker(graph, options.cluster, latencyOnly)]),
    );
    this.#labelsMax = options.labelsMax ?? LABELS_MAX;
    this.#budget = { labels: this.#labelsMax };
  }

  run(): Solved {
    const accuracyMin = this.#options.objective.accuracy_min ?? 0;
    let tried = 0;
    for (const combination of mergedCombinations(this.#options.parts)) {
      if (combination.accuracy < accuracyMin - ACCURACY_EPSILON) break;
      if (this.#decided(combination)) {
        if (this.#options.survey !== true || this.#counted >= SURVEY_MAX) break;
        this.#look(combination);
      } else {
        // The fallback without labels left costs time too: a quarter more, and it ends.
        if (tried++ >= COMBINATIONS_MAX || this.#budget.labels < -this.#labelsMax / 4) {
          this.#exact = false;
          break;
        }
        this.#compete(combination);
      }
    }
    if (this.#options.survey === true && this.#best !== null && this.#second === null) this.#second = this.#elsewhere();
    return {
      best: this.#best,
      second: this.#second,
      exact: this.#exact,
      possible: this.#possible,
      counted: this.#counted,
    };
  }

  /** No combination from here on can win. */
  #decided({ accuracy }: Combination): boolean {
    if (this.#best === null || this.#options.goal === 'latency') return false;
    return accuracy < this.#best.accuracy - ACCURACY_EPSILON;
  }

  #search(
    combination: Combination,
    limits: { below: number; budget?: Budget; anyWillDo?: boolean; not?: readonly number[] },
  ): Found {
    return search({
      problem: this.#makers.get(combination.graph)!.make(combination.choice),
      latencyMsMax: this.#latencyMsMax,
      costMsBelow: limits.below,
      budget: limits.budget ?? this.#budget,
      anyWillDo: limits.anyWillDo,
      not: limits.not,
    });
  }

  /** Of those that are equally accurate the cheapest is best, the next cheapest second. */
  #compete(combination: Combination): void {
    const rivals = this.#options.survey === true ? this.#second : this.#best;
    const below = rivals?.costMs ?? Number.POSITIVE_INFINITY;
    const found = this.#search(combination, { below });
    this.#exact &&= found.exact;
    this.#counted++;
    if (found.nodes === null) {
      // Not cheaper than the second is no verdict on whether it is possible.
      if (rivals !== null && this.#options.survey === true) this.#possible += this.#isPossible(combination) ? 1 : 0;
      return;
    }
    this.#possible++;
    const solution = { ...combination, nodes: found.nodes, costMs: found.costMs };
    if (this.#best === null || solution.costMs < this.#best.costMs) {
      this.#second = this.#best;
      this.#best = solution;
    } else this.#second = solution;
  }

  #isPossible(combination: Combination): boolean {
    const budget = { labels: SURVEY_LABELS_MAX };
    return this.#search(combination, { below: Number.POSITIVE_INFINITY, budget, anyWillDo: true }).nodes !== null;
  }

  /** A less accurate combination: the second best if none was found yet among the more accurate. */
  #look(combination: Combination): void {
    this.#counted++;
    const second = this.#second;
    if (second !== null && combination.accuracy < second.accuracy - ACCURACY_EPSILON) {
      this.#possible += this.#isPossible(combination) ? 1 : 0;
      return;
    }
    const budget = { labels: SURVEY_LABELS_MAX };
    const found = this.#search(combination, { below: Number.POSITIVE_INFINITY, budget });
    if (found.nodes === null) return;
    this.#possible++;
    if (second === null || found.costMs < second.costMs) {
      this.#second = { ...combination, nodes: found.nodes, costMs: found.costMs };
    }
  }

  #elsewhere(): Solution | null {
    const best = this.#best!;
    const budget = { labels: SURVEY_LABELS_MAX };
    const found = this.#search(best, { below: Number.POSITIVE_INFINITY, budget, not: best.nodes });
    return found.nodes === null ? null : { ...best, nodes: found.nodes, costMs: found.costMs };
  }
}
