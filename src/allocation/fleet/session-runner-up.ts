/** What came second for one session, and why it lost. */
import type { SessionPlan } from '../../contracts/plan.js';
import { accuracyText, ms, plural } from '../words.js';
import { type Described, labelOf, wasThere } from './described.js';
import { promiseFault, roomFault } from './faults.js';
import type { OneSession } from './one-session.js';
import type { Placed } from './state.js';

/** Differences below these are not worth a word. */
const SAME_MS = 0.05;
const SAME_ACCURACY = 1e-9;

/** The more accurate one that it would have with everything to itself; else the best of what fits instead. */
export function runnerUpOf(described: Described): SessionPlan['runner_up'] {
  const { one, request, load, placed } = described;
  const second = described.better ?? bestOf(described);
  if (second === undefined) return undefined;
  return {
    variant: labelOf(request, second),
    accuracy: second.accuracy,
    latency_ms: load.p95MsWith(second, one.task.fps),
    placement: second.graph.handlers
      .map(({ handler_name }, at) => `${handler_name} @${one.fleet.nodes[second.nodes[at]!]!.node_name}`)
      .join(', '),
    why_not: whyNot(described, placed, second),
  };
}

/** A more accurate placement: with everything to itself, and if need be with all the time in the world. */
export function betterOf({ task, search, fleet, index }: OneSession, placed: Placed): Placed | null {
  const isBetter = (other: Placed | null) => other !== null && other.accuracy > placed.accuracy + SAME_ACCURACY;
  const within = search.find(fleet.tasks[index]!, { ignoreCapacity: true });
  if (isBetter(within)) return within;
  const late = search.find({ ...task, latencyMsMax: Number.MAX_VALUE }, { ignoreCapacity: true });
  return isBetter(late) ? late : null;
}

/** With one handler elsewhere or otherwise, or in another variant: the most accurate, then the quickest. */
function bestOf({ one, placed, rivals, load }: Described): Placed | undefined {
  const task = one.fleet.tasks[one.index]!;
  const swapped = rivals.flatMap((rival) =>
    rival.fault === null && !isSame(rival.placed!, placed) ? [rival.placed!] : [],
  );
  const others = task.graphs
    .filter((graph) => graph !== placed.graph)
    .flatMap((graph) => one.search.find({ ...task, graphs: [graph] }) ?? []);
  const all = [...swapped, ...others];
  const accuracy = Math.max(...all.map((each) => each.accuracy));
  const best = all.filter((each) => each.accuracy > accuracy - SAME_ACCURACY);
  const latencies = new Map(best.map((each) => [each, load.p95MsWith(each, task.fps)]));
  return best.sort((a, b) => latencies.get(a)! - latencies.get(b)!)[0];
}

function isSame(a: Placed, b: Placed): boolean {
  return a.nodes.every((node, at) => node === b.nodes[at] && a.options[at] === b.options[at]);
}

function whyNot({ one, request, load, expected }: Described, ours: Placed, theirs: Placed): string {
  const { fleet, task, state } = one;
  const fault = promiseFault(fleet, task, theirs) ?? roomFault(state, theirs);
  if (fault !== null) return fault;
  if (theirs.accuracy < ours.accuracy - SAME_ACCURACY)
    return `accuracy ${accuracyText(theirs.accuracy)} < ${accuracyText(ours.accuracy)}`;
  const slowerMs = load.p95MsWith(theirs, task.fps) - expected.p95Ms;
  const moves = request.previous === undefined ? 0 : movesOf(one, theirs) - movesOf(one, ours);
  const parts = [
    ...(theirs.accuracy > ours.accuracy + SAME_ACCURACY ? [`accuracy ${accuracyText(theirs.accuracy)}`] : []),
    ...(slowerMs >= SAME_MS ? [`${ms(slowerMs)} slower`] : []),
    ...(slowerMs <= -SAME_MS ? [`${ms(-slowerMs)} faster`] : []),
    ...(moves > 0 ? [`moves ${plural(moves, 'handler')} more`] : []),
  ];
  if (slowerMs >= SAME_MS || moves > 0) return parts.join(', but ');
  return [...parts, parts.length === 0 ? 'as good, and no emptier' : 'it takes more of what is scarce'].join(', but ');
}

const movesOf = (one: OneSession, placed: Placed): number =>
  placed.graph.handlers.filter((_, at) => !wasThere(one, placed, at)).length;
