/**
 * The machines and the network as they are, which is not always what the coordinator believes: nodes that are gone or
 * slower than they say, segments that are cut or narrow. A way goes over the segments of the tree one after the other,
 * each a queue of its own in which a packet takes its time anew (store and forward), and then over their delays.
 */
import { HOP_MS } from '../allocation/bounds.js';
import type { FleetNode, FleetSnapshot, Segment as SegmentFacts } from '../contracts/fleet.js';
import type { Calendar } from './calendar.js';
import type { Chance } from './chance.js';
import type { Frame, LinkRun, Stage } from './pipeline.js';
import { FifoStation, SharedStation } from './stations.js';

/** One packet of a frame at work in a handler. */
export interface Visit {
  readonly stage: Stage;
  readonly frame: Frame;
  readonly startMs: number;
  readonly cpuMs: number;
  readonly gpuMs: number;
  /** What it took of its time that it shared the cores, ms; known when they have done their part. */
  coreWaitMs: number;
}

/** One packet of a frame on its way between two nodes. */
export interface Transit {
  readonly link: LinkRun;
  readonly frame: Frame;
  readonly route: readonly Segment[];
  readonly bytes: number;
  leg: number;
}

/** One direction of an access link or of a site's WAN link. */
export class Segment {
  mbit: number;
  delayMs: number;

  constructor(
    readonly queue: FifoStation<Transit>,
    readonly baseMbit: number,
    readonly baseDelayMs: number,
  ) {
    this.mbit = baseMbit;
    this.delayMs = baseDelayMs;
  }

  /** `share` of its rate is left (0: cut), and every packet takes `extraMs` longer. */
  change(share: number, extraMs: number): void {
    this.mbit = this.baseMbit * share;
    this.delayMs = this.baseDelayMs + extraMs;
  }
}

interface Duplex {
  readonly up: Segment;
  readonly down: Segment;
}

export interface WorldNode {
  readonly facts: FleetNode;
  readonly cpu: SharedStation<Visit>;
  readonly gpu: FifoStation<Visit>;
  readonly access: Duplex;
  readonly stages: Set<Stage>;
  up: boolean;
  /** Work takes so many times longer than the node's speed says, and nobody reports it. */
  slowdown: number;
}

export interface WorldOptions {
  readonly snapshot: FleetSnapshot;
  readonly calendar: Calendar;
  readonly chance: Chance;
  /** A core has done its part of a visit; then, if there is one, a GPU its. */
  readonly onCpu: (visit: Visit) => void;
  readonly onGpu: (visit: Visit) => void;
  readonly onArrival: (transit: Transit) => void;
  readonly onCut: (transit: Transit) => void;
}

/** Time of one packet on one segment, over its mean: headers, other traffic, resends. */
const SEND_CV = 0.1;

export class World {
  readonly nodes: ReadonlyMap<number, WorldNode>;
  /** By handler_type: work and bytes that differ from what services declare. */
  readonly workFactor = new Map<number, number>();
  readonly #options: WorldOptions;
  readonly #sites: ReadonlyMap<string, Duplex>;
  readonly #routes = new Map<string, readonly Segment[]>();

  constructor(options: WorldOptions) {
    this.#options = options;
    const { snapshot } = options;
    this.#sites = new Map(snapshot.sites.map(({ site, wan }) => [site, this.#duplex(wan)]));
    this.nodes = new Map(snapshot.nodes.map((facts) => [facts.node_id, this.#node(facts)]));
  }

  node(id: number): WorldNode {
    return this.nodes.get(id)!;
  }

  /** Of access links (`node`) and WAN links (`site`), both directions. */
  changeLink(where: { readonly node: number } | { readonly site: string }, share: number, extraMs: number): void {
    const link = 'node' in where ? this.node(where.node).access : this.#sites.get(where.site)!;
    for (const segment of [link.up, link.down]) segment.change(share, extraMs);
  }

  send(transit: Transit): void {
    const { calendar, chance, onArrival, onCut } = this.#options;
    const segment = transit.route[transit.leg];
    if (segment === undefined) {
      const delayMs = transit.route.reduce((sum, one) => sum + one.delayMs, HOP_MS);
      calendar.after(delayMs, () => onArrival(transit));
    } else if (segment.mbit > 0) {
      segment.queue.submit(transit, chance.lognormal((transit.bytes * 8) / (segment.mbit * 1000), SEND_CV));
    } else onCut(transit);
  }

  route(from: WorldNode, to: WorldNode): readonly Segment[] {
    const key = `${from.facts.node_id} ${to.facts.node_id}`;
    const known = this.#routes.get(key);
    if (known !== undefined) return known;
    const wan: Segment[] = [];
    if (from.facts.site !== to.facts.site) {
      if (from.facts.site !== null) wan.push(this.#sites.get(from.facts.site)!.up);
      if (to.facts.site !== null) wan.push(this.#sites.get(to.facts.site)!.down);
    }
    const route = [from.access.up, ...wan, to.access.down];
    this.#routes.set(key, route);
    return route;
  }

  #duplex({ latency_ms, up_mbit, down_mbit }: SegmentFacts): Duplex {
    return { up: this.#segment(up_mbit, latency_ms), down: this.#segment(down_mbit, latency_ms) };
  }

  #segment(mbit: number, delayMs: number): Segment {
    const done = (transit: Transit) => {
      transit.leg += 1;
      this.send(transit);
    };
    return new Segment(new FifoStation({ calendar: this.#options.calendar, servers: 1, done }), mbit, delayMs);
  }

  #node(facts: FleetNode): WorldNode {
    const { calendar, onCpu, onGpu } = this.#options;
    return {
      ...{ facts, up: facts.up, slowdown: 1, stages: new Set(), access: this.#duplex(facts.access) },
      cpu: new SharedStation({ calendar, servers: facts.cpu_cores, done: onCpu }),
      gpu: new FifoStation({ calendar, servers: facts.gpus, done: onGpu }),
    };
  }
}
