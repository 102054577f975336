/**
 * What arrives at a node from the handler before: labels with the price and the time of their way. The network is a tree,
 * so a step goes node -> site -> core -> site -> node with a few labels kept at every hub: work grows with the nodes, not
 * with their pairs. A handler with several inputs, or one that is not fed by the handler before it, looks its inputs up
 * along the label and goes over all pairs.
 */
import { HOP_MS } from '../bounds.js';
import { Labels } from './labels.js';
import type { Routing } from './routing.js';

/** Labels at a hub, and of those that arrive at one node: they come from many nodes. */
const LABELS_PER_HUB = 10;

export class Arrivals {
  /** List 0: what has arrived at the node that was asked about last; parents are labels of the handler before. */
  readonly list = new Labels(1, LABELS_PER_HUB);
  readonly #routing: Routing;
  readonly #hubs: Labels;

  constructor(routing: Routing) {
    this.#routing = routing;
    this.#hubs = new Labels(routing.fleet.siteCount + 2, LABELS_PER_HUB);
  }

  /** Before nodes of handler `at` are asked about. */
  prepare(at: number): void {
    if (at > 0 && this.#isByHubs(at)) this.#fillHubs(at - 1);
  }

  /** Fills `list` for handler `at` on the candidate numbered `place`; false when nothing can come there. */
  at(at: number, place: number): boolean {
    this.list.count[0] = 0;
    if (at === 0) this.list.insert(0, 0, 0, 0, 0, 0, 0, -1, 0);
    else if (this.#isByHubs(at)) this.#byHubsAt(at, place);
    else this.#byPairs(at, this.#routing.candidates[place]!);
    return this.list.count[0]! > 0;
  }

  #isByHubs(at: number): boolean {
    return !this.#routing.spread && this.#routing.graph.chained[at]!;
  }

  /** Labels of handler `at` carried up to their sites and to the core. */
  #fillHubs(at: number): void {
    const { nodeCount, site, siteCount, upAt, wanUpAt, bytes, accessMs, upMsPerByte, wanMs, wanUpMsPerByte } =
      this.#routing.fleet;
    const labels = this.#routing.labels;
    const hubs = this.#hubs;
    const { price } = this.#routing.state;
    const { fps } = this.#routing.task;
    const core = siteCount + 1;
    hubs.count.fill(0);
    const width = this.#routing.candidates.length;
    const safe = this.#routing.safeLnAcc(at);
    for (let place = 0; place < width; place++) {
      const node = this.#routing.candidates[place]!;
      const list = at * width + place;
      const start = list * labels.width;
      const home = site[node]!;
      for (let index = start; index < start + labels.count[list]!; index++) {
        const packet = bytes[labels.option[index]! * nodeCount + node]!;
        const mbit = (fps * packet * 8) / 1e6;
        if (!this.#routing.hasRoom(upAt + node, mbit)) continue;
        const cost = labels.cost[index]! + mbit * price[upAt + node]!;
        const lat = labels.lat[index]! + accessMs[node]! + packet * upMsPerByte[node]!;
        const ended = labels.ended[index]!;
        const acc = labels.lnAcc[index]!;
        hubs.insert(home, safe, cost, lat, ended, acc, packet, index, 0);
        if (home === siteCount) {
          hubs.insert(core, safe, cost, lat, ended, acc, packet, index, 0);
        } else if (this.#routing.hasRoom(wanUpAt + home, mbit)) {
          const wanCost = cost + mbit * price[wanUpAt + home]!;
          hubs.insert(
            core,
            safe,
            wanCost,
            lat + wanMs[home]! + packet * wanUpMsPerByte[home]!,
            ended,
            acc,
            packet,
            index,
            0,
          );
        }
      }
    }
  }

  #byHubsAt(at: number, place: number): void {
    const { site, siteCount, accessMs, wanMs, downAt, wanDownAt, downMsPerByte, wanDownMsPerByte } =
      this.#routing.fleet;
    const node = this.#routing.candidates[place]!;
    const labels = this.#routing.labels;
    const hubs = this.#hubs;
    const arrivals = this.list;
    const safe = this.#routing.safeLnAcc(at - 1);
    const list = (at - 1) * this.#routing.candidates.length + place;
    const start = list * labels.width;
    for (let index = start; index < start + labels.count[list]!; index++) {
      arrivals.insert(
        0,
        safe,
        labels.cost[index]!,
        labels.lat[index]!,
        labels.ended[index]!,
        labels.lnAcc[index]!,
        0,
        index,
        0,
      );
    }
    const { price } = this.#routing.state;
    const { fps } = this.#routing.task;
    const home = site[node]!;
    const hop = accessMs[node]! + HOP_MS;
    for (let hub = home; hub <= siteCount + 1; hub += Math.max(1, siteCount + 1 - home)) {
      const far = hub === siteCount + 1 && home !== siteCount;
      const from = hub * hubs.width;
      for (let index = from; index < from + hubs.count[hub]!; index++) {
        const packet = hubs.bytes[index]!;
        const mbit = (fps * packet * 8) / 1e6;
        if (!this.#routing.hasRoom(downAt + node, mbit) || (far && !this.#routing.hasRoom(wanDownAt + home, mbit)))
          continue;
        let cost = hubs.cost[index]! + mbit * price[downAt + node]!;
        let lat = hubs.lat[index]! + hop + packet * downMsPerByte[node]!;
        if (far) {
          cost += mbit * price[wanDownAt + home]!;
          lat += wanMs[home]! + packet * wanDownMsPerByte[home]!;
        }
        arrivals.insert(0, safe, cost, lat, hubs.ended[index]!, hubs.lnAcc[index]!, 0, hubs.parent[index]!, 0);
      }
    }
  }

  /** Inputs that are further back: looked up along each label. */
  #byPairs(at: number, node: number): void {
    const labels = this.#routing.labels;
    const width = this.#routing.candidates.length;
    const safe = this.#routing.safeLnAcc(at - 1);
    for (let list = (at - 1) * width; list < at * width; list++) {
      const start = list * labels.width;
      for (let index = start; index < start + labels.count[list]!; index++) {
        if (this.#routing.spread && this.#routing.tight[node] === 1 && this.#routing.isOn(index, at - 1, node))
          continue;
        let cost = labels.cost[index]!;
        let lat = 0;
        for (const source of this.#routing.graph.feeds[at]!) {
          let back = index;
          for (let step = at - 1; step > source; step--) back = labels.parent[back]!;
          const from = this.#routing.nodeOf(back, source);
          const packet = this.#routing.fleet.bytes[labels.option[back]! * this.#routing.fleet.nodeCount + from]!;
          cost += this.#routing.linkPrice(from, node, (this.#routing.task.fps * packet * 8) / 1e6);
          lat = Math.max(lat, labels.lat[back]! + this.#routing.fleet.linkMs(from, node, packet));
        }
        if (cost === Number.POSITIVE_INFINITY) continue;
        this.list.insert(0, safe, cost, lat, labels.ended[index]!, labels.lnAcc[index]!, 0, index, 0);
      }
    }
  }
}
