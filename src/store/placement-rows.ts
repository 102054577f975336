/** The placement table is the plan of a session as rows; derived, so that the two cannot disagree. */
import type { StoredSession } from '../contracts/session.js';
import type { PlacementRow } from './store.js';

export function placementRows({ session_id, generation, plan }: StoredSession): PlacementRow[] {
  return plan.handlers
    .map(({ handler_id, handler_name, handler_type, node_id, alternative }) => ({
      ...{ session_id, generation, handler_id, handler_name, handler_type, node_id, alternative },
    }))
    .sort((a, b) => a.handler_id - b.handler_id);
}
