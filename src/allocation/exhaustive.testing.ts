/**
 * Baseline for tests: every alternative on every node, judged by the verifier. Slow on purpose and free of any idea the
 * planner has; only the times and needs of a single handler on a single node are taken from the planner's options, and
 * the verifier recomputes those.
 */
import type { PlanRequest, SessionPlan, Snapshot } from '../contracts/plan.js';
import { ACCURACY_EPSILON } from './bounds.js';
import { clusterOf } from './cluster.js';
import { describePlan } from './describe.js';
import { evaluate } from './evaluate.js';
import { graphsOf } from './solve.js';
import { type Wanted, wantedVariants } from './variants.js';
import { verifyPlan } from './verify.js';

export interface Exhaustive {
  readonly accuracy: number;
  readonly costMs: number;
  readonly plan: SessionPlan;
}

/** The best plan by enumeration; null when no placement passes the verifier. */
export function exhaustive(request: PlanRequest, snapshot: Snapshot): Exhaustive | null {
  const cluster = clusterOf(snapshot);
  const wanted: Wanted[] = wantedVariants(request);
  let best: Exhaustive | null = null;
  for (const { graph } of graphsOf(wanted, request, cluster)) {
    const spots = graph.options.map((options) =>
      options.flatMap((_, choice) => cluster.nodes.map((__, node) => ({ choice, node }))),
    );
    for (const spot of product(spots)) {
      const choice = spot.map((one) => one.choice);
      const nodes = spot.map((one) => one.node);
      const { costMs, latencyMs } = evaluate({ graph, cluster, choice, nodes });
      const accuracy = choice.reduce(
        (all, index, at) => all * graph.handlers[at]!.alternatives[index]!.accuracy,
        graph.variant.accuracy,
      );
      if (!Number.isFinite(latencyMs) || (best !== null && !isBetter({ accuracy, costMs }, best))) continue;
      const solution = { graph, choice, nodes, accuracy, costMs };
      const solved = { best: solution, second: null, exact: true, possible: 1, counted: 1 };
      const plan = describePlan({ request, cluster, wanted, solved, best: solution, explain: false });
      if (verifyPlan(plan, request, snapshot).length === 0) best = { accuracy, costMs, plan };
    }
  }
  return best;
}

function isBetter(one: { accuracy: number; costMs: number }, than: { accuracy: number; costMs: number }): boolean {
  if (Math.abs(one.accuracy - than.accuracy) > ACCURACY_EPSILON) return one.accuracy > than.accuracy;
  return one.costMs < than.costMs;
}

function* product<T>(lists: readonly (readonly T[])[]): Generator<T[]> {
  const [first, ...rest] = lists;
  if (first === undefined) {
    yield [];
    return;
  }
  for (const item of first) for (const tail of product(rest)) yield [item, ...tail];
}
