/**
 * What is still to come after a handler, from below: the least of price less the worth of accuracy, and the least
 * latency, each by itself. With them a search for the best placement gives up what cannot win any more.
 *
 * Accuracy counts by its chord (pricing.ts), so that it can be summed. Packets are as small as they are on any node.
 * A path that overrules the tree of hubs is taken beside the tree's own way: that is never more than the truth.
 */
import type { Fleet } from '../model.js';
import type { PricedGraph } from './priced-graph.js';

/** Values after one handler, by [class of packet size][node]. */
export interface Tail {
  /** By alternative of the handler. */
  readonly classOf: Int32Array;
  readonly worth: readonly Float64Array[];
  readonly latMs: readonly Float64Array[];
}

/** By node: least price less worth, and least latency, ms. */
interface Least {
  readonly worth: Float64Array;
  readonly latMs: Float64Array;
}

/** By handler; null when some handler has no node. `lnWorth` is the worth of one unit of ln accuracy. */
export function tailsOf(priced: PricedGraph, lnWorth: number): Tail[] | null {
  const { fleet, graph } = priced;
  const depth = graph.handlers.length;
  const tails = new Array<Tail>(depth);
  for (let at = depth - 1; at >= 0; at--) {
    const first = graph.firstOption[at]!;
    const options = graph.optionCount[at]!;
    const classOf = new Int32Array(options);
    const classes: number[] = [];
    for (let index = 0; index < options; index++) {
      const bytes = at === depth - 1 || !priced.linked(at + 1) ? 0 : leastBytes(fleet, first + index);
      let known = classes.indexOf(bytes);
      if (known < 0) known = classes.push(bytes) - 1;
      classOf[index] = known;
    }
    if (at === depth - 1) {
      tails[at] = { classOf, worth: [new Float64Array(fleet.nodeCount)], latMs: [new Float64Array(fleet.nodeCount)] };
      continue;
    }
    const next = stageLeast(priced, at + 1, tails[at + 1]!, lnWorth);
    if (next === null) return null;
    const linked = priced.linked(at + 1);
    const carried = classes.map((bytes) => (linked ? carry(priced, next, bytes) : anywhere(next)));
    tails[at] = { classOf, worth: carried.map((one) => one.worth), latMs: carried.map((one) => one.latMs) };
  }
  return tails;
}

function leastBytes({ bytes, nodeCount }: Fleet, option: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let cell = option * nodeCount; cell < (option + 1) * nodeCount; cell++) least = Math.min(least, bytes[cell]!);
  return least;
}

/** From the start of handler `at` to the end. */
export function stageLeast(priced: PricedGraph, at: number, tail: Tail, lnWorth: number): Least | null {
  const { fleet, graph, task } = priced;
  const { nodeCount, lnAccuracy } = fleet;
  const worth = new Float64Array(nodeCount).fill(Number.POSITIVE_INFINITY);
  const latMs = new Float64Array(nodeCount).fill(Number.POSITIVE_INFINITY);
  const first = graph.firstOption[at]!;
  const bestLn = graph.lnAccuracyRest[at]! - graph.lnAccuracyRest[at + 1]!;
  let any = false;
  for (let index = 0; index < graph.optionCount[at]!; index++) {
    const option = first + index;
    const lost = lnWorth * (bestLn - lnAccuracy[option]!);
    const after = tail.classOf[index]!;
    for (let node = 0; node < nodeCount; node++) {
      if (!priced.allowed(option, node)) continue;
      const stage = fleet.stageMs(option, node, task.fps);
      if (stage === Number.POSITIVE_INFINITY) continue;
      any = true;
      worth[node] = Math.min(worth[node]!, priced.stage(option, node) + lost + tail.worth[after]![node]!);
      latMs[node] = Math.min(latMs[node]!, stage + tail.latMs[after]![node]!);
    }
  }
  return any ? { worth, latMs } : null;
}

/** From the end of the handler before, which does not feed this one: wherever it is best. */
function anywhere(next: Least): Least {
  const count = next.worth.length;
  return {
    worth: new Float64Array(count).fill(next.worth.reduce((least, one) => Math.min(least, one), Infinity)),
    latMs: new Float64Array(count).fill(next.latMs.reduce((least, one) => Math.min(least, one), Infinity)),
  };
}

/** From the end of the handler before, for packets of `bytes`: over the hubs. */
function carry(priced: PricedGraph, next: Least, bytes: number): Least {
  const { fleet, price } = priced;
  const { nodeCount, siteCount, site } = fleet;
  const mbit = priced.mbit(bytes);
  const worth = new Float64Array(nodeCount);
  const latMs = new Float64Array(nodeCount);
  const hubWorth = new Float64Array(siteCount + 2).fill(Number.POSITIVE_INFINITY);
  const hubMs = new Float64Array(siteCount + 2).fill(Number.POSITIVE_INFINITY);
  for (let node = 0; node < nodeCount; node++) {
    const home = site[node]!;
    hubWorth[home] = Math.min(hubWorth[home]!, next.worth[node]! + mbit * price[fleet.downAt + node]!);
    const ms = next.latMs[node]! + fleet.accessMs[node]! + bytes * fleet.downMsPerByte[node]!;
    hubMs[home] = Math.min(hubMs[home]!, ms);
  }
  const core = siteCount + 1;
  for (let home = 0; home <= siteCount; home++) {
    hubWorth[core] = Math.min(hubWorth[core]!, hubWorth[home]! + mbit * price[fleet.wanDownAt + home]!);
    const ms = hubMs[home]! + fleet.wanMs[home]! + bytes * fleet.wanDownMsPerByte[home]!;
    hubMs[core] = Math.min(hubMs[core]!, ms);
  }
  for (let node = 0; node < nodeCount; node++) {
    const home = site[node]!;
    const wan = Math.min(hubWorth[home]!, hubWorth[core]! + mbit * price[fleet.wanUpAt + home]!);
    const wanMs = Math.min(hubMs[home]!, hubMs[core]! + fleet.wanMs[home]! + bytes * fleet.wanUpMsPerByte[home]!);
    worth[node] = Math.min(next.worth[node]!, wan + mbit * price[fleet.upAt + node]!);
    latMs[node] = Math.min(next.latMs[node]!, wanMs + fleet.accessMs[node]! + bytes * fleet.upMsPerByte[node]!);
  }
  for (const pair of fleet.pathOf.keys()) {
    const from = Math.floor(pair / nodeCount);
    const to = pair % nodeCount;
    const ms = fleet.linkMs(from, to, bytes);
    if (ms === Number.POSITIVE_INFINITY) continue;
    worth[from] = Math.min(worth[from]!, next.worth[to]! + priced.link(from, to, mbit));
    latMs[from] = Math.min(latMs[from]!, next.latMs[to]! + ms);
  }
  return { worth, latMs };
}
