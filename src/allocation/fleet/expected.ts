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

/** By session_id, ms; only of sessions that run (`previous`). */
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

const meanOf = ({ sureMs, meanMs }: Way): number => sureMs + meanMs;

const p95Of = ({ sureMs, meanMs, variance }: Way): number => sureMs + gammaP95(meanMs, variance);

/** What one frame of a placed session is expected to take; means, but for the whole. */
export interface Expected {
  readonly p95Ms: number;
  /** By handler: its work, and what it waits beside. */
  readonly stages: readonly { readonly workMs: number; readonly waitMs: number }[];
  /** By handler, of each link into it. */
  readonly links: readonly (readonly number[])[];
  /** Handlers of the longest path, the last one first. */
  readonly path: readonly number[];
}

export class Load {
  readonly #fleet: Fleet;
  /** By node. */
  readonly #cpu: readonly SharedLoad[];
  /** GPUs and segments, by resource. */
  readonly #fifo = new Map<number, FifoLoad>();

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
    this.#cpu = fleet.nodes.map(({ cpu_cores }) => new SharedLoad(cpu_cores));
  }

  add(placed: Placed, fps: number): void {
    this.#count(placed, fps, 1);
  }

  /** What has been added is there no more. */
  remove(placed: Placed, fps: number): void {
    this.#count(placed, fps, -1);
  }

  #count({ graph, options, nodes }: Placed, fps: number, sign: 1 | -1): void {
    const { nodeCount, cpuMs, gpuMs, gpuAt, bytes } = this.#fleet;
    nodes.forEach((node, at) => {
      const cell = options[at]! * nodeCount + node;
      this.#cpu[node]!.add(fps, cpuMs[cell]!, sign);
      if (gpuMs[cell]! > 0) this.#station(gpuAt + node).add(fps, gpuMs[cell]!, WORK_SPREAD, sign);
      for (const source of graph.feeds[at]!) {
        const from = nodes[source]!;
        const packet = bytes[options[source]! * nodeCount + from]!;
        for (const { resource, mbit } of this.#segments(from, node))
          this.#station(resource).add(fps, sendMs(packet, mbit), SIZE_SPREAD, sign);
      }
    });
  }

  /** Of a placement that has been added. */
  p95Ms(placed: Placed, fps: number): number {
    return this.expected(placed, fps).p95Ms;
  }

  /** Of a placement that has not been added. */
  p95MsWith(placed: Placed, fps: number): number {
    this.add(placed, fps);
    const ms = this.p95Ms(placed, fps);
    this.remove(placed, fps);
    return ms;
  }

  /** Of a placement that has been added. */
  expected({ graph, options, nodes }: Placed, fps: number): Expected {
    const { nodeCount, bytes } = this.#fleet;
    const done: Way[] = [];
    const before: number[] = [];
    const stages: { workMs: number; waitMs: number }[] = [];
    const links: number[][] = [];
    nodes.forEach((node, at) => {
      let arrival = START;
      before.push(-1);
      const into = graph.feeds[at]!.map((source) => {
        const from = nodes[source]!;
        const way = this.#over(done[source]!, from, node, bytes[options[source]! * nodeCount + from]!, fps);
        if (before[at]! < 0 || p95Of(way) > p95Of(arrival)) {
          arrival = way;
          before[at] = source;
        }
        return meanOf(way) - meanOf(done[source]!);
      });
      links.push(into);
      const after = this.#through(arrival, options[at]!, node, fps);
      const workMs = this.#fleet.computeMs[options[at]! * nodeCount + node]!;
      stages.push({ workMs, waitMs: Math.max(0, meanOf(after) - meanOf(arrival) - workMs) });
      done.push(after);
    });
    const p95 = done.map(p95Of);
    const p95Ms = Math.max(...p95);
    const path: number[] = [];
    for (let at = p95.indexOf(p95Ms); at >= 0; at = before[at]!) path.push(at);
    return { p95Ms, stages, links, path };
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
    let { meanMs, variance } = way;
    for (const { resource, mbit } of this.#segments(from, to)) {
      const ms = sendMs(packet, mbit);
      const wait = this.#station(resource).wait(fps, ms);
      meanMs += ms + wait.meanMs;
      variance += (SIZE_SPREAD * ms) ** 2 + wait.variance;
    }
    return { sureMs: way.sureMs + this.#delayMs(from, to), meanMs, variance };
  }

  /** Without the time that bytes take; Infinity where nothing joins the two. */
  #delayMs(from: number, to: number): number {
    const { accessMs, wanMs, site } = this.#fleet;
    const path = this.#pathOf(from, to)?.path;
    if (path !== undefined) return path.mbit > 0 ? HOP_MS + path.latency_ms : Number.POSITIVE_INFINITY;
    const out = site[from]!;
    const into = site[to]!;
    return HOP_MS + accessMs[from]! + accessMs[to]! + (out === into ? 0 : wanMs[out]! + wanMs[into]!);
  }

  #pathOf(from: number, to: number) {
    const { pathOf, paths, nodeCount } = this.#fleet;
    const index = pathOf.get(from * nodeCount + to);
    return index === undefined ? undefined : { index, path: paths[index]! };
  }

  /** With their rates; the core itself has none. A path is one by itself. */
  #segments(from: number, to: number): { resource: number; mbit: number }[] {
    if (from === to) return [];
    const { site, siteCount, upAt, downAt, wanUpAt, wanDownAt, capacity, pathAt } = this.#fleet;
    const found = this.#pathOf(from, to);
    if (found !== undefined)
      return found.path.mbit > 0 ? [{ resource: pathAt + found.index, mbit: found.path.mbit }] : [];
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
