/**
 * The p95 latency of each placed session at the load that the snapshot's own sessions make. A plan promises something else:
 * what holds even when every queue stands at the utilisation cap.
 *
 * Mean and variance of every delay on the way are added up, and p95 is that of a gamma distribution with both. Delays:
 *   cores     shared evenly by all that is at work: a packet takes longer in proportion to itself (M/G/c-PS)
 *   GPUs      in the order of coming: a packet waits for those of others, whatever its own size (M/G/c)
 *   segments  the same; 3 kB wait behind 90 kB
 *   itself    one packet at a time: one that comes early waits for the one before. A camera gives its frames evenly;
 *             every delay that wavers before makes them less so (G/G/1, Kraemer and Langenbach-Belz)
 * Nothing waits for itself at what is shared: it sees the load of the others. Nothing here is fitted to the simulator;
 * what is taken for granted are the spreads below.
 */
import type { FleetSnapshot } from '../../contracts/fleet.js';
import { HOP_MS, UTILISATION_CAP } from '../bounds.js';
import { placedAsIs } from './allocator.js';
import { FifoLoad, gammaP95, ownWait, SharedLoad } from './delays.js';
import { Fleet } from './model.js';
import { Appraiser, type Placed } from './state.js';

/** Spread of the work of one packet and of its size, standard deviation over mean. */
const WORK_SPREAD = 0.2;
const SIZE_SPREAD = 0.2;

/** By session_id, ms; only of sessions that run (`previous`). Sessions of a snapshot with `paths` go over the tree here. */
export function expectedLatencies(snapshot: FleetSnapshot): Map<number, number> {
  const fleet = new Fleet(snapshot);
  const appraiser = new Appraiser(fleet);
  const load = new Load(fleet);
  const placed = fleet.tasks.map((task) => placedAsIs(fleet, task, appraiser));
  const places = (each: (one: Placed, fps: number, session_id: number) => void) =>
    placed.forEach((one, index) => {
      const { fps, session } = fleet.tasks[index]!;
      if (one !== null) each(one, fps, session.session_id);
    });
  places((one, fps) => load.add(one, fps));
  const latencies = new Map<number, number>();
  places((one, fps, session_id) => latencies.set(session_id, load.p95Ms(one, fps)));
  return latencies;
}

/** Of a frame when it leaves a handler: what is sure to pass, and what wavers, ms and ms². */
interface Way {
  readonly sureMs: number;
  readonly meanMs: number;
  readonly variance: number;
}

const START: Way = { sureMs: 0, meanMs: 0, variance: 0 };

const p95Of = ({ sureMs, meanMs, variance }: Way): number => sureMs + gammaP95(meanMs, variance);

class Load {
  readonly #fleet: Fleet;
  /** By node. */
  readonly #cpu: readonly SharedLoad[];
  /** GPUs and segments, by resource. */
  readonly #fifo = new Map<number, FifoLoad>();

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
    this.#cpu = fleet.nodes.map(({ cpu_cores }) => new SharedLoad(cpu_cores));
  }

  add({ graph, options, nodes }: Placed, fps: number): void {
    const { nodeCount, cpuMs, gpuMs, gpuAt, bytes } = this.#fleet;
    nodes.forEach((node, at) => {
      const cell = options[at]! * nodeCount + node;
      this.#cpu[node]!.add(fps, cpuMs[cell]!);
      if (gpuMs[cell]! > 0) this.#station(gpuAt + node).add(fps, gpuMs[cell]!, WORK_SPREAD);
      for (const source of graph.feeds[at]!) {
        const from = nodes[source]!;
        const packet = bytes[options[source]! * nodeCount + from]!;
        for (const { resource, mbit } of this.#segments(from, node))
          this.#station(resource).add(fps, sendMs(packet, mbit), SIZE_SPREAD);
      }
    });
  }

  p95Ms({ graph, options, nodes }: Placed, fps: number): number {
    const { nodeCount, bytes } = this.#fleet;
    const done: Way[] = [];
    nodes.forEach((node, at) => {
      let arrival = START;
      for (const source of graph.feeds[at]!) {
        const from = nodes[source]!;
        const packet = bytes[options[source]! * nodeCount + from]!;
        const way = this.#over(done[source]!, from, node, packet, fps);
        if (p95Of(way) > p95Of(arrival)) arrival = way;
      }
      done.push(this.#through(arrival, options[at]!, node, fps));
    });
    return Math.max(...done.map(p95Of));
  }

  /** Through a handler: its work among that of others, and the wait for its own packet before. */
  #through(way: Way, option: number, node: number, fps: number): Way {
    const { nodeCount, cpuMs, gpuMs, computeMs, gpuAt } = this.#fleet;
    const cell = option * nodeCount + node;
    // Measured time contains what others took of the node; measured CPU time that of several threads at once.
    const alone = Math.min(1, computeMs[cell]! / (cpuMs[cell]! + gpuMs[cell]! || 1));
    const cpu = cpuMs[cell]! * alone;
    const gpu = gpuMs[cell]! * alone;
    const longer = cpu * this.#cpu[node]!.stretch(fps, cpuMs[cell]!);
    const wait = gpu > 0 ? this.#station(gpuAt + node).wait(fps, gpuMs[cell]!) : { meanMs: 0, variance: 0 };
    const meanMs = cpu + longer + gpu + wait.meanMs;
    const variance = (WORK_SPREAD * (cpu + longer)) ** 2 + longer ** 2 + (WORK_SPREAD * gpu) ** 2 + wait.variance;
    const own = ownWait(fps, { meanMs, variance }, way.variance);
    return {
      sureMs: way.sureMs,
      meanMs: way.meanMs + meanMs + own.meanMs,
      variance: way.variance + variance + own.variance,
    };
  }

  #over(way: Way, from: number, to: number, packet: number, fps: number): Way {
    if (from === to) return way;
    const { accessMs, wanMs, site } = this.#fleet;
    const out = site[from]!;
    const into = site[to]!;
    let { meanMs, variance } = way;
    for (const { resource, mbit } of this.#segments(from, to)) {
      const ms = sendMs(packet, mbit);
      const wait = this.#station(resource).wait(fps, ms);
      meanMs += ms + wait.meanMs;
      variance += (SIZE_SPREAD * ms) ** 2 + wait.variance;
    }
    const delayMs = HOP_MS + accessMs[from]! + accessMs[to]! + (out === into ? 0 : wanMs[out]! + wanMs[into]!);
    return { sureMs: way.sureMs + delayMs, meanMs, variance };
  }

  /** With their rates; the core itself has none. */
  #segments(from: number, to: number): { resource: number; mbit: number }[] {
    if (from === to) return [];
    const { site, siteCount, upAt, downAt, wanUpAt, wanDownAt, capacity } = this.#fleet;
    const out = site[from]!;
    const into = site[to]!;
    const wan = out === into ? [] : [wanUpAt + out, wanDownAt + into];
    return [upAt + from, ...wan, downAt + to]
      .filter((resource) => resource !== wanUpAt + siteCount && resource !== wanDownAt + siteCount)
      .map((resource) => ({ resource, mbit: capacity[resource]! / UTILISATION_CAP }));
  }

  #station(resource: number): FifoLoad {
    const { gpuAt, memAt, nodes } = this.#fleet;
    const known = this.#fifo.get(resource);
    if (known !== undefined) return known;
    const made = new FifoLoad(resource >= gpuAt && resource < memAt ? nodes[resource - gpuAt]!.gpus : 1);
    this.#fifo.set(resource, made);
    return made;
  }
}

const sendMs = (bytes: number, mbit: number): number => (bytes * 8) / (mbit * 1000);
