/**
 * A plan in words and figures, whoever made it: where each session's predicted latency goes, what came second for each
 * handler and for the session, and why it lost; for a refused one the nearest objectives that would be admitted. Others
 * stay as the plan has them; a runner-up differs in one handler from what was planned.
 */
import type { FleetExplained, FleetPlan, FleetRunnerUp, FleetSnapshot } from '../../contracts/fleet.js';
import { accuracyText, ms } from '../words.js';
import { placedOf, searchOf } from './allocator.js';
import { promiseFault, roomFault } from './faults.js';
import { Fleet } from './model.js';
import { proposalsFor } from './refusal.js';
import type { FleetSearch } from './search.js';
import { Appraiser, type Placed } from './state.js';

/** Sessions explained in one plan, admitted and refused each: some 10 ms each. */
export const EXPLAINED_MAX = 200;

/** Latencies and accuracies that are closer are the same to a reader. */
const SAME_MS = 0.1;
const SAME_ACCURACY = 1e-4;

/** The plan with `explained`, and `nearest` at the refused; the first EXPLAINED_MAX of each. */
export function explainFleet(plan: FleetPlan, snapshot: FleetSnapshot): FleetPlan {
  const fleet = new Fleet(snapshot);
  const search = searchOf(fleet, { seed: 1, iterations: 0 });
  const appraiser = new Appraiser(fleet);
  const taskOf = new Map(fleet.tasks.map((task, index) => [task.session.session_id, index]));
  for (const planned of plan.sessions) {
    const index = taskOf.get(planned.session_id)!;
    const placed = placedOf(fleet, fleet.tasks[index]!, planned, appraiser);
    if (placed !== null) search.keep(index, placed);
  }
  const explainer = new Explainer(fleet, search, appraiser);
  const explained = plan.sessions
    .slice(0, EXPLAINED_MAX)
    .flatMap(({ session_id }) => explainer.explain(taskOf.get(session_id)!) ?? []);
  const refused = plan.refused.map((one, index) => {
    if (index >= EXPLAINED_MAX) return one;
    const proposals = proposalsFor(taskOf.get(one.session_id)!, search);
    return proposals.length === 0
      ? one
      : { ...one, nearest: proposals[0]!.objective, proposals: proposals.map(({ words }) => words) };
  });
  return { ...plan, refused, explained };
}

interface Rival {
  readonly at: number;
  readonly placed: Placed;
}

class Explainer {
  readonly #fleet: Fleet;
  readonly #search: FleetSearch;
  readonly #appraiser: Appraiser;

  constructor(fleet: Fleet, search: FleetSearch, appraiser: Appraiser) {
    this.#fleet = fleet;
    this.#search = search;
    this.#appraiser = appraiser;
  }

  explain(index: number): FleetExplained | null {
    const placed = this.#search.state.placed[index] ?? null;
    if (placed === null) return null;
    this.#search.remove(index);
    const rivals = this.#rivals(index, placed);
    const handlers = placed.graph.handlers.map((_, at) => this.#handler(index, placed, at, rivals));
    const second = this.#second(index, placed, rivals);
    this.#search.keep(index, placed);
    return {
      session_id: this.#fleet.tasks[index]!.session.session_id,
      handlers,
      links: this.#links(index, placed),
      ...(second === null ? {} : { runner_up: second }),
    };
  }

  /** The plan with one handler elsewhere or in another alternative; the most accurate first, then the fastest. */
  #rivals(index: number, placed: Placed): Rival[] {
    const { possible, atSource, nodeCount } = this.#fleet;
    const task = this.#fleet.tasks[index]!;
    const { graph } = placed;
    const candidates = this.#search.candidatesOf(index);
    const rivals = graph.handlers.flatMap((_, at) => {
      const options = Array.from({ length: graph.optionCount[at]! }, (__, k) => graph.firstOption[at]! + k);
      return options.flatMap((option) =>
        candidates.flatMap((node): Rival[] => {
          const isSame = option === placed.options[at] && node === placed.nodes[at];
          if (isSame || possible[option * nodeCount + node] === 0) return [];
          if ((atSource[option] === 1 && node !== task.source) || (task.stay !== null && task.stay[node] === 0))
            return [];
          const changed = [placed.options.with(at, option), placed.nodes.with(at, node)] as const;
          return [{ at, placed: this.#appraiser.appraise(task, graph, ...changed, 0) }];
        }),
      );
    });
    return rivals.sort((a, b) => b.placed.accuracy - a.placed.accuracy || a.placed.latencyMs - b.placed.latencyMs);
  }

  #handler(index: number, placed: Placed, at: number, rivals: readonly Rival[]): FleetExplained['handlers'][number] {
    const { nodes, computeMs, nodeCount } = this.#fleet;
    const handler = placed.graph.handlers[at]!;
    const option = placed.options[at]!;
    const node = placed.nodes[at]!;
    const compute_ms = computeMs[option * nodeCount + node]!;
    const rival = rivals.find((one) => one.at === at)?.placed;
    return {
      ...{ handler_id: handler.handler_id, handler_name: handler.handler_name },
      ...{ node_id: nodes[node]!.node_id, node_name: nodes[node]!.node_name, alternative: nameAt(placed, at) },
      ...{ compute_ms, queue_ms: this.#fleet.stageMs(option, node, this.#fleet.tasks[index]!.fps) - compute_ms },
      ...(rival === undefined
        ? {}
        : {
            runner_up: {
              node_id: nodes[rival.nodes[at]!]!.node_id,
              node_name: nodes[rival.nodes[at]!]!.node_name,
              alternative: nameAt(rival, at),
              why_not: this.#whyNot(index, placed, rival),
            },
          }),
    };
  }

  #links(index: number, { graph, nodes, options }: Placed): FleetExplained['links'] {
    const { bytes, nodeCount, nodes: all } = this.#fleet;
    const { fps } = this.#fleet.tasks[index]!;
    return graph.feeds.flatMap((feeds, at) =>
      feeds.map((source) => {
        const [from, to] = [nodes[source]!, nodes[at]!];
        const packet = bytes[options[source]! * nodeCount + from]!;
        return {
          source_handler: graph.handlers[source]!.handler_id,
          target_handler: graph.handlers[at]!.handler_id,
          source_node: all[from]!.node_id,
          target_node: all[to]!.node_id,
          mbit_per_s: from === to ? 0 : (fps * packet * 8) / 1e6,
          latency_ms: this.#fleet.linkMs(from, to, packet),
        };
      }),
    );
  }

  /** What it would have with every node to itself, where that is better; else the best that fits instead. */
  #second(index: number, placed: Placed, rivals: readonly Rival[]): FleetRunnerUp | null {
    const wish = this.#search.ideal(index);
    const better = wish !== null && wish.accuracy > placed.accuracy + SAME_ACCURACY ? wish : undefined;
    const second = better ?? rivals.find((one) => this.#fault(index, one.placed) === null)?.placed;
    if (second === undefined) return null;
    return {
      variant: second.graph.variant.variant_name,
      ...{ accuracy: second.accuracy, latency_ms: second.latencyMs },
      placement: second.graph.handlers
        .map((one, at) => {
          const name = nameAt(second, at);
          const what = name === 'default' ? one.handler_name : `${one.handler_name} ${name}`;
          return `${what} @${this.#fleet.nodes[second.nodes[at]!]!.node_name}`;
        })
        .join(', '),
      why_not: this.#whyNot(index, placed, second),
    };
  }

  /** A promise that it breaks, or what has no room for it. */
  #fault(index: number, placed: Placed): string | null {
    return promiseFault(this.#fleet, this.#fleet.tasks[index]!, placed) ?? roomFault(this.#search.state, placed);
  }

  #whyNot(index: number, ours: Placed, theirs: Placed): string {
    const fault = this.#fault(index, theirs);
    if (fault !== null) return fault;
    if (theirs.accuracy < ours.accuracy - SAME_ACCURACY)
      return `accuracy ${accuracyText(theirs.accuracy)} < ${accuracyText(ours.accuracy)}`;
    const slowerMs = theirs.latencyMs - ours.latencyMs;
    const isDearer = this.#cost(theirs) > this.#cost(ours);
    const price = isDearer ? 'takes more of what is scarce' : 'not reached within the iterations';
    if (theirs.accuracy > ours.accuracy + SAME_ACCURACY)
      return `more accurate (${accuracyText(theirs.accuracy)}), but ${price}`;
    if (slowerMs >= SAME_MS) return `${ms(slowerMs)} slower`;
    return slowerMs <= -SAME_MS ? `${ms(-slowerMs)} faster than it needs to be, but ${price}` : `as good, but ${price}`;
  }

  /** At the prices of the moment, the session itself apart. */
  #cost({ resources, amounts }: Placed): number {
    const { price } = this.#search.state;
    return resources.reduce((sum, resource, at) => sum + amounts[at]! * price[resource]!, 0);
  }
}

function nameAt({ graph, options }: Placed, at: number): string {
  return graph.handlers[at]!.alternatives[options[at]! - graph.firstOption[at]!]!.name;
}
