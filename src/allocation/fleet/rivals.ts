/**
 * What else each handler of one placed session could have done with the rest as planned: every alternative on every node
 * that is worth looking at, with what speaks against it.
 */
import type { Candidate } from '../../contracts/plan.js';
import { aloneFault, placeFault, promiseFault, roomFault } from './faults.js';
import type { Graph } from './graphs.js';
import type { OneSession } from './one-session.js';
import type { Placed } from './state.js';

/** In larger fleets the nodes that a decision looks at are told of, not all. */
const NODES_TOLD_MAX = 64;

export interface Rival {
  readonly at: number;
  readonly option: number;
  readonly node: number;
  /** Null = it cannot run there, whatever is beside it. */
  readonly placed: Placed | null;
  readonly fault: string | null;
}

/** `one` is without its place: what it takes is free for it. */
export function rivalsOf(one: OneSession, placed: Placed): Rival[] {
  const { fleet, task, state, appraiser } = one;
  const { graph } = placed;
  const nodes = nodesTold(one, placed);
  const rest = graph.handlers.length > 1 ? ' with the rest as planned' : '';
  return [...optionsOf(graph)].flatMap(({ at, option }) =>
    nodes.map((node): Rival => {
      const alone = placeFault(fleet, task, graph, at, option, node);
      if (alone !== null) return { at, option, node, placed: null, fault: alone };
      const options = placed.options.with(at, option);
      const swapped = appraiser.appraise(task, graph, options, placed.nodes.with(at, node), 0);
      const broken = promiseFault(fleet, task, swapped);
      const fault =
        aloneFault(state, task, graph, at, option, node) ??
        roomFault(state, swapped) ??
        (broken === null ? null : `${broken}${rest}`);
      return { at, option, node, placed: swapped, fault };
    }),
  );
}

function* optionsOf({ handlers, firstOption, optionCount }: Graph): Generator<{ at: number; option: number }> {
  for (let at = 0; at < handlers.length; at++) {
    for (let option = firstOption[at]!; option < firstOption[at]! + optionCount[at]!; option++) yield { at, option };
  }
}

/** Ascending, which is by node_id. */
export function nodesTold({ fleet, search, index }: OneSession, placed: Placed | null): number[] {
  if (fleet.nodeCount <= NODES_TOLD_MAX) return fleet.nodes.map((_, node) => node);
  return [...new Set([...search.candidatesOf(index), ...(placed?.nodes ?? [])])].sort((a, b) => a - b);
}

export function candidateOf({ fleet }: OneSession, graph: Graph, rival: Omit<Rival, 'placed'>): Candidate {
  const { at, option, node, fault } = rival;
  const cell = option * fleet.nodeCount + node;
  return {
    node_id: fleet.nodes[node]!.node_id,
    node_name: fleet.nodes[node]!.node_name,
    alternative: graph.handlers[at]!.alternatives[option - graph.firstOption[at]!]!.name,
    compute_ms: fleet.computeMs[cell]!,
    profile: fleet.measured[cell] === 1 ? 'measured' : 'declared',
    ...(fault === null ? {} : { rejected: fault }),
  };
}

/** Every alternative of every handler of a graph on every node, each by itself. */
export function alone(one: OneSession, graph: Graph): Omit<Rival, 'placed'>[] {
  const { fleet, task, state } = one;
  const nodes = nodesTold(one, null);
  return [...optionsOf(graph)].flatMap(({ at, option }) =>
    nodes.map((node) => ({
      ...{ at, option, node },
      fault: placeFault(fleet, task, graph, at, option, node) ?? aloneFault(state, task, graph, at, option, node),
    })),
  );
}
