/**
 * The victims of a loss, placed again all in one decision, beside the others as they are: nobody else moves. One by one, the
 * first would take what is best for themselves and leave nothing to the last. Pure.
 *
 *   settled   heaviest first, each as accurately as there is room beside those before it
 *   finished  where that leaves somebody out, and they are so few that all can be tried: the best there is
 *   spared    otherwise: all of them at prices that leave room for the rest, those without a place by
 *             changing places among themselves; then each rises into what is left. Kept when it places more weight
 */
import type { FleetPlanned, FleetSnapshot } from '../../contracts/fleet.js';
import { seededRandom } from '../../std/prng.js';
import { beforeOf, placedAsIs, placementsOf } from './allocator.js';
import { restore } from './loop-places.js';
import { Fleet } from './model.js';
import { arrivalScale, loadOf } from './prices.js';
import { FleetSearch } from './search.js';
import { Appraiser } from './state.js';

/** Of the generator that draws candidates: the same loss has the same answer. */
const SEED = 1;

/** Utility of a handler that stays: more than any accuracy, less than a place. What can stay need not start anew. */
const STAY = 1;

/** Attempts to make room for one victim among the others, every other one at dear prices. */
const EXCHANGES_PER_VICTIM = 12;

/** Where the sessions `ids` of the snapshot go; those for which there is no room are left out. */
export function placeVictims(snapshot: FleetSnapshot, ids: ReadonlySet<number>): FleetPlanned[] {
  const fleet = new Fleet(snapshot);
  const { tasks } = fleet;
  const isVictim = tasks.map(({ session }) => ids.has(session.session_id));
  const search = new FleetSearch({
    ...{ fleet, random: seededRandom(SEED), stickiness: STAY },
    before: tasks.map((task, index) => (isVictim[index] === true ? beforeOf(fleet, task) : null)),
    fixed: Uint8Array.from(isVictim, (one) => (one ? 0 : 1)),
    lasting: Uint8Array.from(isVictim, (one) => (one ? 1 : 0)),
  });
  const appraiser = new Appraiser(fleet);
  tasks.forEach((task, index) => {
    const placed = isVictim[index] === true ? null : placedAsIs(fleet, task, appraiser);
    if (placed !== null) search.keep(index, placed);
  });
  const victims = tasks
    .flatMap((_, index) => (isVictim[index] === true ? [index] : []))
    .sort((a, b) => tasks[b]!.weight - tasks[a]!.weight || a - b);
  for (const one of victims) search.settle(one);
  const isShort = victims.some((one) => search.state.placed[one] === null);
  if (isShort && !search.finish()) spare(search, victims);
  return placementsOf('', search.state).sessions.filter(({ session_id }) => ids.has(session_id));
}

function spare(search: FleetSearch, victims: readonly number[]): void {
  const { state } = search;
  const settled = [...state.placed];
  const { weight } = state;
  for (const one of victims) if (state.placed[one] !== null) search.remove(one);
  const expected = victims.length / Math.max(1, state.admitted);
  for (const one of victims) search.insert(one, arrivalScale(loadOf(state), expected));
  for (const one of victims) {
    for (let tries = 0; tries < EXCHANGES_PER_VICTIM && state.placed[one] === null; tries++)
      search.eject(one, tries % 2 === 1);
  }
  if (state.weight <= weight) restore(search, settled);
  else for (const one of victims) if (state.placed[one] !== null) search.rise(one);
}
