/**
 * The latency of each placed session at the load that the snapshot's own sessions make. A plan promises less: what holds
 * even when every queue stands at the utilisation cap. The formula is the planner's (queueing.ts), at another load.
 */
import type { FleetSnapshot } from '../../contracts/fleet.js';
import { HOP_MS, UTILISATION_CAP } from '../bounds.js';
import { waitFactor } from '../queueing.js';
import { placedAsIs } from './allocator.js';
import { Fleet } from './model.js';
import { Appraiser, type Placed, State } from './state.js';

/**
 * Share of the formula's wait that a handler's own stream makes: a camera gives its frames evenly, and what is uneven in
 * them comes from the queues before. The formula is for arrivals by Poisson, on the safe side for promises. Fitted to the
 * simulator at 80 % (bench simulate): with 1 predictions are a tenth to a fifth too high.
 */
const STEADY_SHARE = 0.4;

/** By session_id, ms; only of sessions that run (`previous`). Sessions of a snapshot with `paths` go over the tree here. */
export function expectedLatencies(snapshot: FleetSnapshot): Map<number, number> {
  const fleet = new Fleet(snapshot);
  const appraiser = new Appraiser(fleet);
  const state = new State(fleet, new Float64Array(fleet.resourceCount));
  fleet.tasks.forEach((task, index) => {
    const placed = placedAsIs(fleet, task, appraiser);
    if (placed !== null) state.add(index, placed);
  });
  const load = new Load(state);
  const latencies = new Map<number, number>();
  fleet.tasks.forEach(({ session, fps }, index) => {
    const placed = state.placed[index];
    if (placed !== null && placed !== undefined) latencies.set(session.session_id, load.latencyMs(placed, fps));
  });
  return latencies;
}

class Load {
  readonly #state: State;
  readonly #wanMbit: ReadonlyMap<number, { readonly up: number; readonly down: number }>;

  constructor(state: State) {
    this.#state = state;
    const { fleet } = state;
    const site = (index: number) => ({
      up: fleet.capacity[fleet.wanUpAt + index]! / UTILISATION_CAP,
      down: fleet.capacity[fleet.wanDownAt + index]! / UTILISATION_CAP,
    });
    this.#wanMbit = new Map(Array.from({ length: fleet.siteCount }, (_, index) => [index, site(index)]));
  }

  latencyMs({ graph, options, nodes }: Placed, fps: number): number {
    const { fleet } = this.#state;
    const done: number[] = [];
    nodes.forEach((node, at) => {
      let arrival = 0;
      for (const source of graph.feeds[at]!) {
        const from = nodes[source]!;
        const bytes = fleet.bytes[options[source]! * fleet.nodeCount + from]!;
        arrival = Math.max(arrival, done[source]! + this.#linkMs(from, node, bytes));
      }
      done.push(arrival + this.#stageMs(options[at]!, node, fps));
    });
    return Math.max(...done);
  }

  #stageMs(option: number, node: number, fps: number): number {
    const { fleet } = this.#state;
    const { cpu_cores, gpus } = fleet.nodes[node]!;
    const cell = option * fleet.nodeCount + node;
    const computeMs = fleet.computeMs[cell]!;
    const own = STEADY_SHARE * waitFactor(1, (fps * computeMs) / 1000);
    const waits = [own, waitFactor(cpu_cores, this.#utilisation(node))];
    if (fleet.gpuMs[cell]! > 0) waits.push(waitFactor(gpus, this.#utilisation(fleet.gpuAt + node)));
    return computeMs * (1 + Math.max(...waits));
  }

  #linkMs(from: number, to: number, bytes: number): number {
    if (from === to) return 0;
    const { fleet } = this.#state;
    const out = fleet.site[from]!;
    const into = fleet.site[to]!;
    let ms = HOP_MS + fleet.accessMs[from]! + fleet.accessMs[to]!;
    ms += this.#sendMs(fleet.upAt + from, fleet.nodes[from]!.access.up_mbit, bytes);
    ms += this.#sendMs(fleet.downAt + to, fleet.nodes[to]!.access.down_mbit, bytes);
    if (out === into) return ms;
    ms += fleet.wanMs[out]! + fleet.wanMs[into]!;
    const up = this.#wanMbit.get(out)?.up;
    const down = this.#wanMbit.get(into)?.down;
    if (up !== undefined) ms += this.#sendMs(fleet.wanUpAt + out, up, bytes);
    if (down !== undefined) ms += this.#sendMs(fleet.wanDownAt + into, down, bytes);
    return ms;
  }

  #sendMs(resource: number, mbit: number, bytes: number): number {
    return ((bytes * 8) / (mbit * 1000)) * (1 + waitFactor(1, this.#utilisation(resource)));
  }

  #utilisation(resource: number): number {
    const { used, fleet } = this.#state;
    return (used[resource]! / fleet.capacity[resource]!) * UTILISATION_CAP;
  }
}
