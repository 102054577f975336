/**
 * The allocator's entry: one session, one snapshot, one answer with reasons. Pure: same request and snapshot, same plan,
 * in whatever order the snapshot lists its nodes. Order of what counts: being admitted, accuracy, then cost = predicted
 * latency + MOVE_MS per handler that leaves `previous` + a little for load.
 */
import type { PlanRequest, PlanResult, Snapshot } from '../contracts/plan.js';
import { clusterOf } from './cluster.js';
import { describePlan } from './describe.js';
import { refuse } from './refuse.js';
import { graphsOf, solve } from './solve.js';
import { wantedVariants } from './variants.js';

export interface AllocateOptions {
  /** Bound on the search; see LABELS_MAX. */
  readonly labelsMax?: number;
  /** False: no runner-up, candidates, sentences per handler or nearest objective; a fraction of the time. */
  readonly explain?: boolean;
}

/** Throws VARIANT_NOT_FOUND; every other answer is a plan or a refusal. */
export function allocate(request: PlanRequest, snapshot: Snapshot, options: AllocateOptions = {}): PlanResult {
  const wanted = wantedVariants(request);
  const cluster = clusterOf(snapshot);
  const parts = graphsOf(wanted, request, cluster);
  const { labelsMax } = options;
  const explain = options.explain !== false;
  const solved = solve({ parts, cluster, objective: request.objective, survey: explain, labelsMax });
  if (solved.best !== null) {
    return { admitted: true, plan: describePlan({ request, cluster, wanted, solved, best: solved.best, explain }) };
  }
  const refusal = refuse({ request, cluster, wanted, parts, exact: solved.exact, labelsMax, explain });
  return { admitted: false, refusal };
}
