/**
 * The algorithms that ours is compared with. Each places session after session and handler after handler and never
 * takes a step back; for each session combinations of alternatives are tried from the most accurate down to its floor,
 * and the first with a place that keeps every promise is taken. That is more than the originals do, and in their favour.
 */
import { FIT_EPSILON } from '../bounds.js';
import type { Allocator } from './allocator.js';
import { keepPlaced, planOf, searchOf } from './allocator.js';
import type { Graph } from './graphs.js';
import type { Fleet, Task } from './model.js';
import { Appraiser, type Placed, type State } from './state.js';

/** Combinations tried per session, spread evenly over those that reach the floor. */
const COMBINATIONS_TRIED = 8;

interface Pick {
  readonly state: State;
  readonly task: Task;
  /** Node of the handler before; -1 for the first. */
  readonly from: number;
  readonly option: number;
  readonly bytes: number;
}

/** Lower is better; Infinity = never. `turn` counts decisions. */
type Rank = (node: number, pick: Pick, turn: number) => number;

const isOwnSite = (fleet: Fleet, task: Task, node: number) =>
  node !== task.source && fleet.site[node] === fleet.site[task.source];

const cpuLoad = (state: State, node: number): number => state.used[node]! / state.fleet.capacity[node]!;

const RANKS: Readonly<Record<string, Rank>> = {
  round_robin: (node, { state }, turn) => (node - turn + state.fleet.nodeCount * (turn + 1)) % state.fleet.nodeCount,
  first_fit: (node) => node,
  least_loaded: (node, { state }) => cpuLoad(state, node),
  network_aware: (node, { state, task, from, option, bytes }) =>
    (from < 0 ? 0 : state.fleet.linkMs(from, node, bytes)) + state.fleet.stageMs(option, node, task.fps),
  all_edge: (node, { state, task }) =>
    isOwnSite(state.fleet, task, node) ? cpuLoad(state, node) : Number.POSITIVE_INFINITY,
  all_cloud: (node, { state }) =>
    state.fleet.site[node] === state.fleet.siteCount ? cpuLoad(state, node) : Number.POSITIVE_INFINITY,
  static: (node, { state, task }) =>
    isOwnSite(state.fleet, task, node) ? -state.fleet.capacity[node]! : Number.POSITIVE_INFINITY,
};

export const BASELINES: readonly Allocator[] = Object.entries(RANKS).map(([name, rank]) => ({
  name,
  plan(fleet, options) {
    const search = searchOf(fleet, options);
    keepPlaced(fleet, search, options.held);
    const placer = new Placer(search.state, rank);
    fleet.tasks.forEach((task, index) => {
      if (search.state.placed[index] !== null) return;
      const placed = placer.place(task);
      if (placed !== null) search.keep(index, placed);
    });
    return planOf(name, search);
  },
}));

class Placer {
  readonly #state: State;
  readonly #rank: Rank;
  readonly #appraiser: Appraiser;
  #turn = 0;

  constructor(state: State, rank: Rank) {
    this.#state = state;
    this.#rank = rank;
    this.#appraiser = new Appraiser(state.fleet);
  }

  place(task: Task): Placed | null {
    for (const graph of task.graphs) {
      for (const options of spread(combinationsOf(task, graph, this.#state.fleet.lnAccuracy))) {
        const placed = this.#placeCombination(task, graph, options);
        if (placed !== null) return placed;
      }
    }
    return null;
  }

  #placeCombination(task: Task, graph: Graph, options: readonly number[]): Placed | null {
    const nodes = new Int32Array(options.length);
    for (let at = 0; at < options.length; at++) {
      const node = this.#node(task, graph, options, nodes, at);
      if (node < 0) return null;
      nodes[at] = node;
    }
    const placed = this.#appraiser.appraise(task, graph, Int32Array.from(options), nodes, 0);
    const holds = placed.latencyMs <= task.latencyMsMax + FIT_EPSILON && this.#state.overloads(placed) < 0;
    return holds ? placed : null;
  }

  #node(task: Task, graph: Graph, options: readonly number[], nodes: Int32Array, at: number): number {
    const { fleet } = this.#state;
    const option = options[at]!;
    const source = graph.feeds[at]!.at(-1);
    const from = source === undefined ? -1 : nodes[source]!;
    const bytes = source === undefined ? 0 : fleet.bytes[options[source]! * fleet.nodeCount + from]!;
    this.#turn += 1;
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (let node = 0; node < fleet.nodeCount; node++) {
      if (!this.#canRun(task, option, node)) continue;
      const pinned = fleet.atSource[option] === 1 || graph.handlers[at]!.at !== null;
      const rank = pinned ? 0 : this.#rank(node, { state: this.#state, task, from, option, bytes }, this.#turn);
      if (rank < least) {
        best = node;
        least = rank;
      }
    }
    return best;
  }

  #canRun(task: Task, option: number, node: number): boolean {
    const { fleet, used } = this.#state;
    const cell = option * fleet.nodeCount + node;
    if (fleet.possible[cell] === 0 || (fleet.atSource[option] === 1 && node !== task.source)) return false;
    if (task.stay !== null && task.stay[node] === 0) return false;
    return (
      used[node]! + task.fps * fleet.cpuMs[cell]! <= fleet.capacity[node]! &&
      used[fleet.gpuAt + node]! + task.fps * fleet.gpuMs[cell]! <= fleet.capacity[fleet.gpuAt + node]! &&
      used[fleet.memAt + node]! + fleet.memMb[option]! + fleet.modelMb[option]! <= fleet.capacity[fleet.memAt + node]!
    );
  }
}

/** Options per handler, most accurate first, that reach the session's floor; bounded like the single planner's. */
function combinationsOf(task: Task, graph: Graph, lnAccuracy: Float64Array): number[][] {
  let found: { options: number[]; ln: number }[] = [{ options: [], ln: graph.lnAccuracy }];
  graph.handlers.forEach((_, at) => {
    const first = graph.firstOption[at]!;
    const choices = Array.from({ length: graph.optionCount[at]! }, (__, index) => first + index);
    found = found
      .flatMap(({ options, ln }) =>
        choices.map((option) => ({ options: [...options, option], ln: ln + lnAccuracy[option]! })),
      )
      .filter(({ ln }) => ln + graph.lnAccuracyRest[at + 1]! >= task.lnAccuracyMin)
      .slice(0, 4096);
  });
  return found.sort((a, b) => b.ln - a.ln).map(({ options }) => options);
}

function spread<T>(all: readonly T[]): T[] {
  if (all.length <= COMBINATIONS_TRIED) return [...all];
  return Array.from(
    { length: COMBINATIONS_TRIED },
    (_, index) => all[Math.round((index * (all.length - 1)) / (COMBINATIONS_TRIED - 1))]!,
  );
}
