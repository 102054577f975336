/** The best utility of any plan, by trying every placement of every session: for a handful of nodes and sessions only. */
import type { Fleet, Task } from './model.js';
import { fullPrices } from './prices.js';
import { Appraiser, type Placed, State } from './state.js';

export function bestUtility(fleet: Fleet): number {
  const state = new State(fleet, fullPrices(fleet));
  const placements = fleet.tasks.map((task) => placementsOf(fleet, task));
  let best = 0;
  const visit = (task: number): void => {
    if (task === placements.length) {
      best = Math.max(best, state.utility);
      return;
    }
    const most = placements.slice(task).reduce((sum, ones) => sum + (ones[0]?.utility ?? 0), state.utility);
    if (most <= best) return;
    for (const one of placements[task]!) {
      if (state.overloads(one) >= 0) continue;
      state.add(task, one);
      visit(task + 1);
      state.remove(task);
    }
    visit(task + 1);
  };
  visit(0);
  return best;
}

/** All that keep the session's own promises, best first. */
function placementsOf(fleet: Fleet, task: Task): Placed[] {
  const appraiser = new Appraiser(fleet);
  const found: Placed[] = [];
  for (const graph of task.graphs) {
    const options: number[] = [];
    const nodes: number[] = [];
    const visit = (at: number): void => {
      if (at === graph.handlers.length) {
        const placed = appraiser.appraise(task, graph, Int32Array.from(options), Int32Array.from(nodes), 0);
        if (placed.latencyMs <= task.latencyMsMax && Math.log(placed.accuracy) >= task.lnAccuracyMin)
          found.push(placed);
        return;
      }
      for (let index = 0; index < graph.optionCount[at]!; index++) {
        for (let node = 0; node < fleet.nodeCount; node++) {
          const option = graph.firstOption[at]! + index;
          if (
            fleet.possible[option * fleet.nodeCount + node] === 0 ||
            (fleet.atSource[option] === 1 && node !== task.source)
          )
            continue;
          options[at] = option;
          nodes[at] = node;
          visit(at + 1);
        }
      }
    };
    visit(0);
  }
  return found.sort((a, b) => b.utility - a.utility);
}
