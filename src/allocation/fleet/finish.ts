/**
 * The best plan of a fleet so small that all can be tried: every placement of every session that keeps the session's own
 * promises, less those that another one dominates, then branch and bound over the sessions. It ends a search whose
 * labels are few by design; what it returns when `proved` is the optimum. Bounded by counts, never by a clock.
 */
import { FIT_EPSILON } from '../bounds.js';
import type { Graph } from './graphs.js';
import type { Fleet, Task } from './model.js';
import type { Before } from './routing.js';
import { Appraiser, type Placed, type State } from './state.js';

/** Sessions that are placed together at most. */
const TASKS_MAX = 6;

/** Placements of one session that are made at most: some 10 ms. */
const PLACEMENTS_MAX = 2048;

/** Placements of one session that none dominates. */
const KEPT_MAX = 512;

/** Placements put into the state on trial, at most: some 100 ms. */
const TRIALS_MAX = 100_000;

const GAIN_EPSILON = 1e-9;

export interface FinishInput {
  /** Left as it was found. */
  readonly state: State;
  readonly before: readonly (Before | null)[];
  /** By task: 1 = stays as it is. */
  readonly fixed: Uint8Array;
  /** By task: 1 = keeps a place, when it has one. */
  readonly lasting: Uint8Array;
  /** Utility of a handler that stays. */
  readonly stickiness: number;
}

export interface Finish {
  /** By task; null = the plan in the state is as good. */
  readonly placed: readonly (Placed | null)[] | null;
  /** Everything was tried. */
  readonly proved: boolean;
}

const GIVEN_UP: Finish = { placed: null, proved: false };

/** Never admits less weight than the state does. */
export function finishOf(input: FinishInput): Finish {
  const { state, fixed } = input;
  const open = state.fleet.tasks.flatMap((_, task) => (fixed[task] === 1 ? [] : [task]));
  if (open.length === 0 || open.length > TASKS_MAX) return GIVEN_UP;
  if (open.some((task) => placementCount(state.fleet, state.fleet.tasks[task]!) > PLACEMENTS_MAX)) return GIVEN_UP;
  const old = [...state.placed];
  const goal = { value: worthOf(state, input), weight: state.weight };
  for (const task of open) if (old[task] !== null) state.remove(task);
  const lists = open.map((task) => placementsOf(input, task));
  const found = lists.every((list) => list.length <= KEPT_MAX)
    ? new Branches(input, open, lists, goal, old).run()
    : { placed: null, proved: false };
  for (const task of open) if (old[task] !== null) state.add(task, old[task]!);
  return found;
}

const worthOf = ({ utility, moved }: { utility: number; moved: number }, { stickiness }: FinishInput): number =>
  utility - stickiness * moved;

function choicesAt(fleet: Fleet, task: Task, graph: Graph, at: number): { option: number; node: number }[] {
  const { possible, atSource, nodeCount } = fleet;
  const first = graph.firstOption[at]!;
  const choices: { option: number; node: number }[] = [];
  for (let option = first; option < first + graph.optionCount[at]!; option++) {
    for (let node = 0; node < nodeCount; node++) {
      if (possible[option * nodeCount + node] === 0 || (atSource[option] === 1 && node !== task.source)) continue;
      if (task.stay === null || task.stay[node] === 1) choices.push({ option, node });
    }
  }
  return choices;
}

function placementCount(fleet: Fleet, task: Task): number {
  return task.graphs.reduce(
    (sum, graph) =>
      sum + graph.handlers.reduce((product, _, at) => product * choicesAt(fleet, task, graph, at).length, 1),
    0,
  );
}

/** All that keep the session's promises and have room beside what stays, best first, none dominated. */
function placementsOf(input: FinishInput, index: number): Placed[] {
  const { state, before } = input;
  const { fleet } = state;
  const task = fleet.tasks[index]!;
  const appraiser = new Appraiser(fleet);
  const found: Placed[] = [];
  for (const graph of task.graphs) {
    const depth = graph.handlers.length;
    const choices = graph.handlers.map((_, at) => choicesAt(fleet, task, graph, at));
    const options = new Int32Array(depth);
    const nodes = new Int32Array(depth);
    const here = before[index]?.get(graph);
    const visit = (at: number, lnAccuracy: number): void => {
      if (lnAccuracy + graph.lnAccuracyRest[at]! < task.lnAccuracyMin) return;
      if (at < depth) {
        for (const { option, node } of choices[at]!) {
          options[at] = option;
          nodes[at] = node;
          visit(at + 1, lnAccuracy + fleet.lnAccuracy[option]!);
        }
        return;
      }
      const moved =
        here === undefined
          ? 0
          : nodes.reduce((sum, node, k) => sum + (node === here.nodes[k] && options[k] === here.options[k] ? 0 : 1), 0);
      const placed = appraiser.appraise(task, graph, options.slice(), nodes.slice(), moved);
      if (placed.latencyMs <= task.latencyMsMax + FIT_EPSILON && state.overloads(placed) < 0) found.push(placed);
    };
    visit(0, graph.lnAccuracy);
  }
  return undominated(input, found);
}

/** What a placement takes: amounts by resource, and the models that it needs by node. */
interface Needs {
  readonly amounts: Float64Array;
  readonly models: ReadonlySet<number>;
}

function undominated(input: FinishInput, found: Placed[]): Placed[] {
  const { fleet } = input.state;
  const kept: { placed: Placed; needs: Needs }[] = [];
  found.sort((a, b) => worthOf(b, input) - worthOf(a, input) || sum(a.amounts) - sum(b.amounts));
  for (const placed of found) {
    const needs = needsOf(fleet, placed);
    if (kept.some((other) => isWithin(other.needs, needs))) continue;
    kept.push({ placed, needs });
    if (kept.length > KEPT_MAX) break;
  }
  return kept.map(({ placed }) => placed);
}

const sum = (amounts: Float64Array): number => amounts.reduce((total, one) => total + one, 0);

function needsOf({ resourceCount, model, modelMb, nodeCount }: Fleet, placed: Placed): Needs {
  const amounts = new Float64Array(resourceCount);
  placed.resources.forEach((resource, at) => {
    amounts[resource] = placed.amounts[at]!;
  });
  const models = new Set<number>();
  placed.options.forEach((option, at) => {
    if (modelMb[option]! > 0) models.add(model[option]! * nodeCount + placed.nodes[at]!);
  });
  return { amounts, models };
}

const isWithin = (small: Needs, large: Needs): boolean =>
  small.amounts.every((amount, resource) => amount <= large.amounts[resource]!) &&
  [...small.models].every((model) => large.models.has(model));

class Branches {
  readonly #input: FinishInput;
  readonly #state: State;
  readonly #open: readonly number[];
  readonly #lists: readonly (readonly Placed[])[];
  /** The most that this task and those after it can add: value, and weight. */
  readonly #valueRest: Float64Array;
  readonly #weightRest: Float64Array;
  readonly #goal: { value: number; weight: number };
  /** By task: what it had. */
  readonly #old: readonly (Placed | null)[];
  #best: (Placed | null)[] | null = null;
  #trials = 0;

  constructor(
    input: FinishInput,
    open: readonly number[],
    lists: readonly (readonly Placed[])[],
    goal: { value: number; weight: number },
    old: readonly (Placed | null)[],
  ) {
    this.#old = old;
    this.#input = input;
    this.#state = input.state;
    this.#open = open;
    this.#lists = lists;
    this.#goal = { ...goal };
    this.#valueRest = new Float64Array(open.length + 1);
    this.#weightRest = new Float64Array(open.length + 1);
    for (let at = open.length - 1; at >= 0; at--) {
      const first = lists[at]![0];
      this.#valueRest[at] = this.#valueRest[at + 1]! + (first === undefined ? 0 : worthOf(first, input));
      this.#weightRest[at] = this.#weightRest[at + 1]! + (first?.weight ?? 0);
    }
  }

  run(): Finish {
    this.#visit(0);
    return { placed: this.#best, proved: this.#trials <= TRIALS_MAX };
  }

  #canWin(value: number, at: number): boolean {
    return (
      value + this.#valueRest[at]! > this.#goal.value + GAIN_EPSILON &&
      this.#state.weight + this.#weightRest[at]! >= this.#goal.weight - GAIN_EPSILON
    );
  }

  #visit(at: number): void {
    const state = this.#state;
    const value = worthOf(state, this.#input);
    if (this.#trials > TRIALS_MAX || !this.#canWin(value, at)) return;
    if (at === this.#open.length) {
      this.#goal.value = value;
      this.#best = [...state.placed];
      return;
    }
    const task = this.#open[at]!;
    for (const placed of this.#lists[at]!) {
      // Best first: what comes after this one is worth no more.
      if (value + worthOf(placed, this.#input) + this.#valueRest[at + 1]! <= this.#goal.value + GAIN_EPSILON) break;
      if (state.overloads(placed) >= 0) continue;
      if (this.#trials++ > TRIALS_MAX) return;
      state.add(task, placed);
      this.#visit(at + 1);
      state.remove(task);
    }
    if (this.#old[task] === null || this.#input.lasting[task] === 0) this.#visit(at + 1);
  }
}
