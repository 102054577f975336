/** A plan with the bound beside it: how much better any other plan could be. Whoever made the plan, the bound is the same. */
import type { FleetPlan, FleetSnapshot } from '../../../contracts/fleet.js';
import { placedOf } from '../allocator.js';
import { Fleet } from '../model.js';
import { Appraiser } from '../state.js';
import { type BoundOptions, columnBound } from './column-bound.js';

export async function withBound(
  plan: FleetPlan,
  snapshot: FleetSnapshot,
  options: Omit<BoundOptions, 'fleet' | 'starts' | 'wholeMs'> = {},
): Promise<FleetPlan> {
  const fleet = new Fleet(snapshot);
  const appraiser = new Appraiser(fleet);
  const planned = new Map(plan.sessions.map((one) => [one.session_id, one]));
  const start = fleet.tasks.map((task) => {
    const one = planned.get(task.session.session_id);
    return one === undefined ? null : placedOf(fleet, task, one, appraiser);
  });
  const { utility, finished, rounds } = await columnBound({ ...options, fleet, starts: [start] });
  // Of the placements, not as the plan tells it: a module of the user's may count otherwise.
  const reached = start.reduce((sum, placed) => sum + (placed?.utility ?? 0), 0);
  const gap = utility > 0 ? Math.max(0, (utility - reached) / utility) : 0;
  return { ...plan, bound: { utility, gap, finished, rounds } };
}
