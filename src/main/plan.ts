/**
 * `plan`: a snapshot file in, a certified plan out. The algorithm is one of ours by name, or a module of the user's: its
 * default export is an `Allocator` (src/allocation/fleet/allocator.ts). Whoever made it, a plan that the independent
 * verifier does not accept is not given out.
 */
import { allocateFleet } from '../allocation/fleet/allocator.js';
import { withBound } from '../allocation/fleet/bound/with-bound.js';
import { checkFleet } from '../allocation/fleet/check-fleet.js';
import { explainFleet } from '../allocation/fleet/explain.js';
import { verifyFleet } from '../allocation/fleet/verify-fleet.js';
import { readDocument } from '../config/documents.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { FleetPlan } from '../contracts/fleet.js';
import { findAllocator } from './allocators.js';

export interface PlanOptions {
  readonly file: string;
  /** A name, or the path of a module. */
  readonly algorithm: string;
  readonly seed: number;
  readonly iterations: number | undefined;
  /** Also improve when every session still has its place. */
  readonly replan: boolean;
  /** With `explained`, and `nearest` at the refused. */
  readonly explain: boolean;
  /** Time for the upper bound, ms; null = none is computed. */
  readonly boundMs: number | null;
}

export interface PlanOutcome {
  readonly plan: FleetPlan;
  readonly sessions: number;
  /** Mean over the admitted; null when there are none. */
  readonly accuracy: number | null;
}

/** Throws what readDocument throws, FLEET_SNAPSHOT_INVALID, ALLOCATOR_INVALID. */
export async function planFile(options: PlanOptions): Promise<PlanOutcome> {
  const { file, algorithm, seed, iterations, replan, explain, boundMs } = options;
  const snapshot = checkFleet(readDocument(file), file);
  const allocator = await findAllocator(algorithm);
  const made = allocateFleet(snapshot, allocator, {
    seed,
    replan,
    ...(iterations === undefined ? {} : { iterations }),
  });
  const violations = verifyFleet(made, snapshot);
  if (violations.length > 0) {
    const message = `the plan of ${allocator.name} does not hold: ${violations.slice(0, 3).join('; ')}`;
    throw new OrchestratorError('ALLOCATOR_INVALID', message, { violations: violations.slice(0, 20) });
  }
  const plan = explain ? explainFleet(made, snapshot) : made;
  const total = plan.sessions.reduce((sum, one) => sum + one.accuracy, 0);
  const accuracy = plan.sessions.length === 0 ? null : total / plan.sessions.length;
  const sessions = snapshot.sessions.length;
  if (boundMs === null) return { plan, sessions, accuracy };
  const end = performance.now() + boundMs;
  const bounded = await withBound(plan, snapshot, { msLeft: () => end - performance.now() });
  return { plan: bounded, sessions, accuracy };
}
