/**
 * Improvement of a plan that runs: a sticky search into a part of what there is, in short stretches; each is taken that
 * gains more than its moves cost and stays within the budget. First those who gain by themselves, most for each handler
 * first, so that the budget goes where it does most; then a few of several at once. It ends: utility only rises, and
 * what is kept free is a share of the whole, so that a round finds nothing because the one before has left a part.
 */

import { changedFrom, type Places, restore } from './loop-places.js';
import type { LoopRules } from './loop-rules.js';
import type { Fleet } from './model.js';
import type { FleetSearch } from './search.js';
import type { Placed } from './state.js';

/** Steps of the search that are taken or left together: few, so that little has to be left. */
const STRETCH_STEPS = 2;

/** Sessions that are looked at one by one, those with most to gain first. */
const RISERS_MAX = 500;

/** Utility that a stretch must gain beyond what its moves cost: more than rounding. */
const GAIN_MIN = 1e-6;

export interface ImproveInput {
  readonly fleet: Fleet;
  /** Its state is changed. */
  readonly search: FleetSearch;
  readonly rules: LoopRules;
  /** session_ids that stay as they are. */
  readonly fixed: ReadonlySet<number>;
  /** session_ids of those that are late: nothing is added where they run. */
  readonly late: ReadonlySet<number>;
  /** Handlers that move when these tasks have the places that they have now. */
  readonly costOf: (changed: readonly number[]) => number;
  /** Handlers that may move. */
  readonly budget: number;
}

/** `isDear`: something was left out for want of budget. */
export function improve(input: ImproveInput): { readonly isDear: boolean } {
  const { fleet, search, rules, fixed } = input;
  const { capacity } = fleet;
  fleet.tasks.forEach(({ session }, task) => {
    if (fixed.has(session.session_id)) search.fix(task);
  });
  const whole = capacity.slice();
  capacity.forEach((most, resource) => {
    const { used } = search.state;
    // Where there is too much already, by what is measured now, nothing is put again.
    if (Number.isFinite(most))
      capacity[resource] = Math.min(most, Math.max(used[resource]!, most * (1 - rules.headroom)));
  });
  fleet.tasks.forEach(({ session }, task) => {
    if (!input.late.has(session.session_id)) return;
    for (const resource of search.state.placed[task]?.resources ?? [])
      capacity[resource] = Math.min(capacity[resource]!, search.state.used[resource]!);
  });
  const improvement = new Improvement(input);
  for (const task of risers(input)) improvement.stretch(() => search.rise(task));
  const { iterationsMin, iterationsPerSession, iterationsMax } = rules;
  const iterations = Math.min(iterationsMax, iterationsMin + iterationsPerSession * fleet.tasks.length);
  for (let done = 0; done < iterations; done += STRETCH_STEPS) improvement.stretch(() => search.climb(STRETCH_STEPS));
  capacity.set(whole);
  return { isDear: improvement.isDear };
}

class Improvement {
  isDear = false;
  readonly #input: ImproveInput;
  readonly #first: Places;

  constructor(input: ImproveInput) {
    this.#input = input;
    this.#first = [...input.search.state.placed];
  }

  stretch(step: () => void): void {
    const { search, rules, costOf, budget } = this.#input;
    const { state } = search;
    const before = [...state.placed];
    const worth = () => state.utility - rules.stickiness * state.moved;
    const least = worth() + GAIN_MIN;
    step();
    const isDear = costOf(changedFrom(this.#first, state.placed)) > budget;
    if (!isDear && worth() > least) return;
    if (isDear) this.isDear = true;
    restore(search, before);
  }
}

function risers({ fleet, search, rules, fixed }: ImproveInput): number[] {
  const { placed } = search.state;
  const wanting = fleet.tasks
    .flatMap(({ session }, task) => {
      const one = placed[task] ?? null;
      return one === null || fixed.has(session.session_id) ? [] : [{ task, want: wantOf(one) }];
    })
    .sort((a, b) => b.want - a.want || a.task - b.task);
  const gains = wanting.slice(0, RISERS_MAX).flatMap(({ task }) => {
    const old = placed[task]!;
    search.rise(task);
    const now = placed[task]!;
    const moved = now.moved - old.moved;
    const gain = now.utility - old.utility - rules.stickiness * moved;
    search.remove(task);
    search.keep(task, old);
    return gain > GAIN_MIN ? [{ task, gain: gain / Math.max(1, moved) }] : [];
  });
  return gains.sort((a, b) => b.gain - a.gain || a.task - b.task).map(({ task }) => task);
}

/** How much more it would be worth with the best alternatives, whatever room there is. */
function wantOf({ graph, accuracy, weight }: Placed): number {
  return weight * (Math.exp(graph.lnAccuracy + graph.lnAccuracyRest[0]!) - accuracy);
}
