/**
 * Labels of one handler on their way to the nodes of the next: over the hubs of the tree (node - site - core - site -
 * node), where only those are kept that no other dominates, or pair by pair where paths overrule the tree.
 */
import { HOP_MS } from '../../bounds.js';
import type { PricedGraph } from './priced-graph.js';

/** A placement of the first handlers. */
export interface Label {
  readonly cost: number;
  readonly latMs: number;
  readonly lnAcc: number;
  readonly node: number;
  readonly option: number;
  readonly parent: Label | null;
}

/** A label that has come to a hub or a node, with the price and the time of its way. */
export interface Arrival {
  readonly cost: number;
  readonly latMs: number;
  readonly lnAcc: number;
  /** Of its packet; 0 once it has arrived. */
  readonly bytes: number;
  readonly from: Label;
}

/** Finds what arrives at a node: labels of the handler before, none dominated. */
export function arrivalsOf(priced: PricedGraph, level: readonly Label[]): (node: number) => readonly Arrival[] {
  return priced.fleet.pathOf.size > 0 ? byPairs(priced, level) : byHubs(priced, level);
}

function bytesOf({ fleet }: PricedGraph, { option, node }: Label): number {
  return fleet.bytes[option * fleet.nodeCount + node]!;
}

const stays = (from: Label): Arrival => ({
  ...{ cost: from.cost, latMs: from.latMs, lnAcc: from.lnAcc },
  bytes: 0,
  from,
});

function byPairs(priced: PricedGraph, level: readonly Label[]): (node: number) => Arrival[] {
  return (node) => {
    const here: Arrival[] = [];
    for (const from of level) {
      if (from.node === node) {
        keep(here, stays(from));
        continue;
      }
      const bytes = bytesOf(priced, from);
      const latMs = from.latMs + priced.fleet.linkMs(from.node, node, bytes);
      if (latMs === Number.POSITIVE_INFINITY) continue;
      const cost = from.cost + priced.link(from.node, node, priced.mbit(bytes));
      keep(here, { cost, latMs, lnAcc: from.lnAcc, bytes: 0, from });
    }
    return here;
  };
}

function byHubs(priced: PricedGraph, level: readonly Label[]): (node: number) => Arrival[] {
  const { fleet, price } = priced;
  const { siteCount, site, accessMs, upMsPerByte, downMsPerByte, wanMs, wanUpMsPerByte, wanDownMsPerByte } = fleet;
  const core = siteCount + 1;
  const hubs: Arrival[][] = Array.from({ length: siteCount + 2 }, () => []);
  const there = new Map<number, Label[]>();
  for (const from of level) {
    const { node, lnAcc } = from;
    const list = there.get(node);
    if (list === undefined) there.set(node, [from]);
    else list.push(from);
    const bytes = bytesOf(priced, from);
    const mbit = priced.mbit(bytes);
    const home = site[node]!;
    const cost = from.cost + mbit * price[fleet.upAt + node]!;
    const latMs = from.latMs + accessMs[node]! + bytes * upMsPerByte[node]!;
    if (!keep(hubs[home]!, { cost, latMs, lnAcc, bytes, from })) continue;
    keep(hubs[core]!, {
      cost: cost + mbit * price[fleet.wanUpAt + home]!,
      latMs: latMs + wanMs[home]! + bytes * wanUpMsPerByte[home]!,
      ...{ lnAcc, bytes, from },
    });
  }
  return (node) => {
    const here: Arrival[] = [];
    const home = site[node]!;
    for (const from of there.get(node) ?? []) keep(here, stays(from));
    const take = (hub: readonly Arrival[], isFar: boolean) => {
      for (const { cost, latMs, lnAcc, bytes, from } of hub) {
        const mbit = priced.mbit(bytes);
        const far = isFar ? mbit * price[fleet.wanDownAt + home]! : 0;
        const farMs = isFar ? wanMs[home]! + bytes * wanDownMsPerByte[home]! : 0;
        keep(here, {
          cost: cost + mbit * price[fleet.downAt + node]! + far,
          latMs: latMs + HOP_MS + accessMs[node]! + bytes * downMsPerByte[node]! + farMs,
          ...{ lnAcc, bytes: 0, from },
        });
      }
    };
    take(hubs[home]!, false);
    take(hubs[core]!, true);
    return here;
  };
}

/** False when another dominates it; those that it dominates leave the list. */
function keep(list: Arrival[], one: Arrival): boolean {
  let kept = 0;
  for (let index = 0; index < list.length; index++) {
    const other = list[index]!;
    if (other.cost <= one.cost && other.latMs <= one.latMs && other.lnAcc >= one.lnAcc && other.bytes <= one.bytes)
      return false;
    if (!(one.cost <= other.cost && one.latMs <= other.latMs && one.lnAcc >= other.lnAcc && one.bytes <= other.bytes))
      list[kept++] = other;
  }
  list.length = kept;
  list.push(one);
  return true;
}
