/**
 * A fleet snapshot as typed arrays: what every planner of many sessions reads. Built once, never changed.
 *
 * Resources are numbered: cpu, gpu, memory, access up and access down of every node, then WAN up and WAN down of every
 * site, then the paths that overrule the tree (beside the access links, which they use as well). Capacities are already cut
 * at UTILISATION_CAP (memory is not: it does not queue). Waiting is taken at that cap, so a stage's time depends on nothing but its node: what is admitted keeps its promise however full the rest gets.
 * The surprising thing: a link's time is the sum over its segments, not the time of the slowest, so that a step of the
 * dynamic programme needs one pass over the nodes and not one over all pairs.
 */
import type { FleetHandler, FleetNode, FleetPath, FleetSession, FleetSnapshot } from '../../contracts/fleet.js';
import { profileKey } from '../../contracts/plan.js';
import { ACCURACY_EPSILON, FIT_EPSILON, HOP_MS, PROFILE_SAMPLES_MIN, UTILISATION_CAP } from '../bounds.js';
import { waitFactor } from '../queueing.js';
import { type Graph, graphsOf, type OptionPlace, optionsOf } from './graphs.js';

const MS_PER_S = 1000;

/** Service time of a packet on a segment, queueing at the cap included, over its bare transfer time. */
const LINK_STRETCH = 1 + waitFactor(1, UTILISATION_CAP);

/** A session ready to be placed. */
export interface Task {
  readonly session: FleetSession;
  readonly source: number;
  readonly fps: number;
  readonly latencyMsMax: number;
  readonly lnAccuracyMin: number;
  readonly weight: number;
  readonly graphs: readonly Graph[];
  /** Where it may run: 1 per node with the label `stay`; null = everywhere. */
  readonly stay: Uint8Array | null;
}

export class Fleet {
  readonly nodes: readonly FleetNode[];
  readonly nodeCount: number;
  readonly siteCount: number;
  readonly nodeIndex: ReadonlyMap<number, number>;
  /** Per node, its site; the core itself is the site numbered siteCount. */
  readonly site: Int32Array;
  readonly accessMs: Float64Array;
  readonly wanMs: Float64Array;
  /** Time of one byte on a segment with its wait, ms. */
  readonly upMsPerByte: Float64Array;
  readonly downMsPerByte: Float64Array;
  readonly wanUpMsPerByte: Float64Array;
  readonly wanDownMsPerByte: Float64Array;
  readonly cpuWait: Float64Array;
  readonly gpuWait: Float64Array;
  readonly capacity: Float64Array;
  readonly resourceCount: number;
  /** Capacity of all nodes together. */
  readonly cpuTotal: number;
  readonly gpuTotal: number;

  /** Options, all alternatives of all handlers: [option * nodeCount + node]. */
  readonly computeMs: Float64Array;
  readonly cpuMs: Float64Array;
  readonly gpuMs: Float64Array;
  readonly bytes: Float64Array;
  /** 1 = by a profile of that node, 0 = as declared. */
  readonly measured: Uint8Array;
  /** Compatible whatever the load: installed, alive, labels, gpu, node pins; on a drained node what is pinned there. */
  readonly possible: Uint8Array;
  /** By option. */
  readonly memMb: Float64Array;
  readonly modelMb: Float64Array;
  readonly model: Int32Array;
  readonly lnAccuracy: Float64Array;
  readonly atSource: Uint8Array;
  readonly modelCount: number;
  readonly graphs: ReadonlyMap<string, readonly Graph[]>;
  readonly tasks: readonly Task[];

  readonly gpuAt: number;
  readonly memAt: number;
  readonly upAt: number;
  readonly downAt: number;
  readonly wanUpAt: number;
  readonly wanDownAt: number;
  readonly pathAt: number;
  /** By source * nodeCount + target: its number in `paths`. Empty when the tree tells all. */
  readonly pathOf: ReadonlyMap<number, number>;
  readonly paths: readonly FleetPath[];
  readonly #hasDrained: boolean;

  constructor(snapshot: FleetSnapshot) {
    const nodes = [...snapshot.nodes].sort((a, b) => a.node_id - b.node_id);
    const count = nodes.length;
    const sites = snapshot.sites.length;
    this.nodes = nodes;
    this.#hasDrained = nodes.some(({ drained }) => drained);
    this.nodeCount = count;
    this.siteCount = sites;
    this.nodeIndex = new Map(nodes.map((node, index) => [node.node_id, index]));
    this.gpuAt = count;
    this.memAt = 2 * count;
    this.upAt = 3 * count;
    this.downAt = 4 * count;
    this.wanUpAt = 5 * count;
    this.wanDownAt = 5 * count + sites + 1;
    this.pathAt = 5 * count + 2 * (sites + 1);
    this.paths = snapshot.paths ?? [];
    const at = (id: number) => this.nodeIndex.get(id)!;
    this.pathOf = new Map(
      this.paths.map(({ source_node, target_node }, path) => [at(source_node) * count + at(target_node), path]),
    );
    this.resourceCount = this.pathAt + this.paths.length;
    this.capacity = new Float64Array(this.resourceCount);
    this.site = new Int32Array(count);
    this.accessMs = new Float64Array(count);
    this.upMsPerByte = new Float64Array(count);
    this.downMsPerByte = new Float64Array(count);
    this.cpuWait = new Float64Array(count);
    this.gpuWait = new Float64Array(count);
    this.wanMs = new Float64Array(sites + 1);
    this.wanUpMsPerByte = new Float64Array(sites + 1);
    this.wanDownMsPerByte = new Float64Array(sites + 1);
    this.#fillNetwork(snapshot);
    const total = (first: number) => this.capacity.subarray(first, first + count).reduce((sum, one) => sum + one, 0);
    this.cpuTotal = total(0);
    this.gpuTotal = total(this.gpuAt);
    const options = optionsOf(snapshot.services);
    this.memMb = new Float64Array(options.length);
    this.modelMb = new Float64Array(options.length);
    this.model = new Int32Array(options.length);
    this.lnAccuracy = new Float64Array(options.length);
    this.atSource = new Uint8Array(options.length);
    const cells = options.length * count;
    this.computeMs = new Float64Array(cells);
    this.cpuMs = new Float64Array(cells);
    this.gpuMs = new Float64Array(cells);
    this.bytes = new Float64Array(cells);
    this.measured = new Uint8Array(cells);
    this.possible = new Uint8Array(cells);
    this.modelCount = this.#fillOptions(options, snapshot);
    this.graphs = graphsOf(snapshot.services, this.lnAccuracy, this.paths.length === 0);
    this.tasks = snapshot.sessions.map((session) => this.taskOf(session));
  }

  taskOf(session: FleetSession): Task {
    const { objective } = session;
    const known = this.graphs.get(session.service)!;
    const all = this.#hasDrained ? known.filter((graph) => !this.#entersDrained(graph, session)) : known;
    const { stay } = session;
    return {
      session,
      source: this.nodeIndex.get(session.source_node)!,
      fps: objective.fps,
      // Finite without a bound, too: what cannot keep up takes for ever, and that is never admissible.
      latencyMsMax: objective.latency_ms_max ?? Number.MAX_VALUE,
      lnAccuracyMin: Math.log(objective.accuracy_min ?? 0) - ACCURACY_EPSILON,
      weight: session.weight,
      graphs: session.variant === undefined ? all : all.filter((one) => one.variant.variant_name === session.variant),
      stay: stay === undefined ? null : Uint8Array.from(this.nodes, (node) => (node.labels.includes(stay) ? 1 : 0)),
    };
  }

  /** A drained node takes nothing new, pinned to it or not. */
  #entersDrained({ handlers }: Graph, { source_node, previous }: FleetSession): boolean {
    return handlers.some(({ handler_id, at }) => {
      const pinned = at?.kind === 'source' ? source_node : at?.kind === 'node' ? at.node_id : -1;
      if (this.nodes[this.nodeIndex.get(pinned) ?? -1]?.drained !== true) return false;
      return previous?.find((one) => one.handler_id === handler_id)?.node_id !== pinned;
    });
  }

  /** Compute and wait of one packet of a stream of `fps`, ms; Infinity when one sequential handler cannot keep up. */
  stageMs(option: number, node: number, fps: number): number {
    const cell = option * this.nodeCount + node;
    const computeMs = this.computeMs[cell]!;
    const busy = (fps * computeMs) / MS_PER_S;
    if (busy > UTILISATION_CAP + FIT_EPSILON / MS_PER_S) return Number.POSITIVE_INFINITY;
    let wait = waitFactor(1, busy);
    if (this.cpuWait[node]! > wait) wait = this.cpuWait[node]!;
    if (this.gpuMs[cell]! > 0 && this.gpuWait[node]! > wait) wait = this.gpuWait[node]!;
    return computeMs * (1 + wait);
  }

  /** One packet from node to node, ms. */
  linkMs(from: number, to: number, bytes: number): number {
    if (from === to) return 0;
    const path = this.paths[this.pathOf.get(from * this.nodeCount + to) ?? -1];
    if (path !== undefined)
      return path.mbit > 0 ? HOP_MS + path.latency_ms + bytes * msPerByte(path.mbit) : Number.POSITIVE_INFINITY;
    const out = this.site[from]!;
    const into = this.site[to]!;
    let ms = HOP_MS + this.accessMs[from]! + this.accessMs[to]!;
    ms += bytes * (this.upMsPerByte[from]! + this.downMsPerByte[to]!);
    if (out !== into) {
      ms += this.wanMs[out]! + this.wanMs[into]!;
      ms += bytes * (this.wanUpMsPerByte[out]! + this.wanDownMsPerByte[into]!);
    }
    return ms;
  }

  #fillNetwork(snapshot: FleetSnapshot): void {
    const siteIndex = new Map(snapshot.sites.map((one, index) => [one.site, index]));
    this.nodes.forEach((node, index) => {
      this.site[index] = node.site === null ? this.siteCount : siteIndex.get(node.site)!;
      this.accessMs[index] = node.access.latency_ms;
      this.upMsPerByte[index] = msPerByte(node.access.up_mbit);
      this.downMsPerByte[index] = msPerByte(node.access.down_mbit);
      this.cpuWait[index] = waitFactor(node.cpu_cores, UTILISATION_CAP);
      this.gpuWait[index] = node.gpus > 0 ? waitFactor(node.gpus, UTILISATION_CAP) : 0;
      this.capacity[index] = node.cpu_cores * MS_PER_S * UTILISATION_CAP;
      this.capacity[this.gpuAt + index] = node.gpus * MS_PER_S * UTILISATION_CAP;
      this.capacity[this.memAt + index] = node.mem_mb;
      this.capacity[this.upAt + index] = node.access.up_mbit * UTILISATION_CAP;
      this.capacity[this.downAt + index] = node.access.down_mbit * UTILISATION_CAP;
    });
    snapshot.sites.forEach(({ wan }, index) => {
      this.wanMs[index] = wan.latency_ms;
      this.wanUpMsPerByte[index] = msPerByte(wan.up_mbit);
      this.wanDownMsPerByte[index] = msPerByte(wan.down_mbit);
      this.capacity[this.wanUpAt + index] = wan.up_mbit * UTILISATION_CAP;
      this.capacity[this.wanDownAt + index] = wan.down_mbit * UTILISATION_CAP;
    });
    this.paths.forEach(({ mbit }, path) => {
      this.capacity[this.pathAt + path] = mbit * UTILISATION_CAP;
    });
    this.capacity[this.wanUpAt + this.siteCount] = Number.POSITIVE_INFINITY;
    this.capacity[this.wanDownAt + this.siteCount] = Number.POSITIVE_INFINITY;
  }

  #fillOptions(options: readonly OptionPlace[], snapshot: FleetSnapshot): number {
    const models = new Map<string, number>();
    const profiles = new Map(
      snapshot.profiles
        .filter((one) => one.samples >= PROFILE_SAMPLES_MIN)
        .map((one) => [`${one.handler_type}|${one.key}|${one.node_id}`, one]),
    );
    options.forEach(({ handler, alternative }, option) => {
      const { cost } = alternative;
      const key = `${handler.handler_type}|${profileKey(alternative.params)}`;
      const model = `${key}|${alternative.name}`;
      if (!models.has(model)) models.set(model, models.size);
      this.model[option] = models.get(model)!;
      this.memMb[option] = Math.max(cost.mem_mb, handler.require.mem_mb ?? 0);
      this.modelMb[option] = cost.model_mb ?? 0;
      this.lnAccuracy[option] = Math.log(alternative.accuracy);
      this.atSource[option] = handler.at?.kind === 'source' ? 1 : 0;
      this.nodes.forEach((node, index) => {
        const cell = option * this.nodeCount + index;
        const profile = profiles.get(`${key}|${node.node_id}`);
        this.computeMs[cell] = profile?.service_ms ?? (cost.cpu_ms + cost.gpu_ms) / node.speed;
        this.cpuMs[cell] = profile?.cpu_ms ?? cost.cpu_ms / node.speed;
        this.gpuMs[cell] = cost.gpu_ms / node.speed;
        this.bytes[cell] = profile?.out_bytes ?? cost.out_bytes;
        this.measured[cell] = profile === undefined ? 0 : 1;
        this.possible[cell] = isPossible(handler, node, cost.gpu_ms) ? 1 : 0;
      });
    });
    return models.size;
  }
}

const msPerByte = (mbit: number): number => (8 / (mbit * 1000)) * LINK_STRETCH;

/** Whether the node may run the handler whatever its load and whatever the session; `gpuMs`: 0 = it needs none. */
export function isPossible(handler: FleetHandler, node: FleetNode, gpuMs: number): boolean {
  const { at, require } = handler;
  if (!node.up || (node.drained && at?.kind !== 'source' && at?.kind !== 'node')) return false;
  if (node.handler_types !== null && !node.handler_types.includes(handler.handler_type)) return false;
  if (at?.kind === 'node' && at.node_id !== node.node_id) return false;
  if (at?.kind === 'label' && !node.labels.includes(at.label)) return false;
  if (require.label !== undefined && !node.labels.includes(require.label)) return false;
  return node.gpus > 0 || (gpuMs === 0 && require.gpu !== true);
}
