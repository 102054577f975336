/**
 * An independent check of a plan for many sessions: every promise and every capacity again, from the snapshot as it was
 * given, with no code of the planners (only the constants of bounds.ts, which are data). No violations = every session of the plan
 * keeps its latency, accuracy, pins and privacy, and no resource carries more than may be promised. That it is the best plan
 * is not checked here: the bound is for that. Nothing is remembered from call to call: of sessions that are held only what
 * they take of the same resources is added up, so that one decision beside thousands is checked in the time that it takes to
 * go over them.
 */
import type {
  FleetHandler,
  FleetNode,
  FleetPath,
  FleetPlan,
  FleetPlanned,
  FleetSession,
  FleetSite,
  FleetSnapshot,
  FleetVariant,
} from '../../contracts/fleet.js';
import { HOP_MS, UTILISATION_CAP, VARIABILITY } from '../bounds.js';
import { Needs, type Placed, type Stage } from './verify-needs.js';
import { misplaced, placeOf } from './verify-place.js';

/** Slack for rounding of sums, relative. */
const TOLERANCE = 1e-6;

/** Violations that are told; a broken plan breaks everywhere. */
const VIOLATIONS_MAX = 50;

/**
 * Violations in words; empty when the plan holds. Sessions that are `held` must be where they were and are not judged:
 * a resource that they alone overload is no violation, one that anybody else was put on as well is.
 */
export function verifyFleet(
  plan: FleetPlan,
  snapshot: FleetSnapshot,
  held: ReadonlySet<number> = new Set<number>(),
): string[] {
  return new FleetCheck(plan, snapshot, held).run();
}

class FleetCheck {
  readonly #violations: string[] = [];
  readonly #plan: FleetPlan;
  readonly #snapshot: FleetSnapshot;
  readonly #nodes: ReadonlyMap<number, FleetNode>;
  readonly #sites: ReadonlyMap<string, FleetSite>;
  readonly #needs: Needs;
  /** By source_node and target_node. */
  readonly #paths = new Map<number, Map<number, FleetPath>>();
  readonly #services: ReadonlyMap<string, FleetSnapshot['services'][number]>;
  readonly #load = new Map<string, number>();
  readonly #models = new Map<string, number>();
  readonly #held: ReadonlySet<number>;
  /** Capacities of resources that a session which is not held takes of, and the nodes and sites that they are of. */
  readonly #judged = new Map<string, number>();
  readonly #judgedNodes = new Set<FleetNode>();
  readonly #judgedSites = new Set<string>();
  /** The session at hand is held. */
  #holding = false;

  constructor(plan: FleetPlan, snapshot: FleetSnapshot, held: ReadonlySet<number>) {
    this.#held = held;
    this.#plan = plan;
    this.#snapshot = snapshot;
    this.#nodes = new Map(snapshot.nodes.map((one) => [one.node_id, one]));
    this.#services = new Map(snapshot.services.map((one) => [one.service_name, one]));
    for (const path of snapshot.paths ?? []) {
      const from = this.#paths.get(path.source_node) ?? new Map<number, FleetPath>();
      this.#paths.set(path.source_node, from.set(path.target_node, path));
    }
    this.#sites = new Map(snapshot.sites.map((one) => [one.site, one]));
    this.#needs = new Needs(snapshot.profiles);
  }

  run(): string[] {
    const sessions = new Map(this.#snapshot.sessions.map((one) => [one.session_id, one]));
    const told = new Set<number>();
    const held: [FleetPlanned, FleetSession][] = [];
    for (const planned of this.#plan.sessions) {
      const session = sessions.get(planned.session_id);
      if (session === undefined) this.#say(`session ${planned.session_id} was not asked for`);
      else if (told.has(planned.session_id)) this.#say(`session ${planned.session_id} is placed twice`);
      else if (this.#held.has(session.session_id)) held.push([planned, session]);
      else this.#session(planned, session);
      told.add(planned.session_id);
    }
    for (const { session_id } of this.#plan.refused) {
      if (told.has(session_id)) this.#say(`session ${session_id} is placed and refused`);
      told.add(session_id);
    }
    for (const id of sessions.keys()) if (!told.has(id)) this.#say(`session ${id} is neither placed nor refused`);
    this.#holding = true;
    for (const [planned, session] of held) this.#heldSession(planned, session);
    this.#capacities();
    return this.#violations;
  }

  #say(violation: string): void {
    if (this.#violations.length < VIOLATIONS_MAX) this.#violations.push(violation);
  }

  #session(planned: FleetPlanned, session: FleetSession): void {
    const name = `session ${session.session_id}`;
    const variant = this.#variant(planned, session, name);
    if (variant === null) return;
    const stages = new Map<number, Stage>();
    for (const [at, handler] of variant.handlers.entries()) {
      const stage = this.#placed(handler, at, planned, name);
      if (stage === null) return;
      const fault = misplaced(handler, stage.alternative, stage.node, session);
      if (fault !== null) this.#say(`${name}: ${handler.handler_name} @${stage.node.node_name}: ${fault}`);
      stages.set(handler.handler_id, this.#needs.of(stage));
    }
    this.#promises(planned, session, variant, stages);
  }

  /** Where it was, and what it takes of the resources that are judged; of one that is held nobody asks how long it takes. */
  #heldSession(planned: FleetPlanned, session: FleetSession): void {
    const name = `session ${session.session_id}`;
    const variant = this.#variant(planned, session, name);
    if (variant === null) return;
    const all: Placed[] = [];
    const { previous = [] } = session;
    for (const [at, handler] of variant.handlers.entries()) {
      const placed = this.#placed(handler, at, planned, name);
      if (placed === null) return;
      const before = placeOf(previous, handler, at);
      if (before?.node_id !== placed.node.node_id || before.alternative !== placed.alternative.name)
        this.#say(`${name}: ${handler.handler_name} @${placed.node.node_name}: is held and not where it was`);
      all.push(placed);
    }
    this.#accuracy(planned, variant, all, name);
    const { fps } = session.objective;
    for (const one of all) if (this.#judgedNodes.has(one.node)) this.#count(this.#needs.of(one), fps);
    for (const { source_handler, target_handler } of variant.links) {
      const from = all.find(({ handler }) => handler.handler_id === source_handler)!;
      const to = all.find(({ handler }) => handler.handler_id === target_handler)!;
      if (this.#concerns(from.node, to.node)) this.#countLink(from.node, to.node, fps * this.#needs.of(from).bytes);
    }
  }

  /** Whether anything is judged that the way between the nodes takes of; paths are where their ends are. */
  #concerns(from: FleetNode, to: FleetNode): boolean {
    if (from === to) return false;
    if (this.#judgedNodes.has(from) || this.#judgedNodes.has(to)) return true;
    return from.site !== to.site && [from.site, to.site].some((site) => site !== null && this.#judgedSites.has(site));
  }

  #variant(planned: FleetPlanned, session: FleetSession, name: string): FleetVariant | null {
    const variant = this.#services.get(session.service)?.variants.find((one) => one.variant_name === planned.variant);
    if (variant === undefined) {
      this.#say(`${name}: no variant ${planned.variant}`);
      return null;
    }
    if (session.variant !== undefined && session.variant !== planned.variant)
      this.#say(`${name}: not variant ${session.variant}`);
    if (planned.placement.length !== variant.handlers.length)
      this.#say(`${name}: ${planned.placement.length} places for ${variant.handlers.length} handlers`);
    return variant;
  }

  #placed(handler: FleetHandler, at: number, planned: FleetPlanned, name: string): Placed | null {
    const place = placeOf(planned.placement, handler, at);
    const node = place === undefined ? undefined : this.#nodes.get(place.node_id);
    const alternative = handler.alternatives.find((one) => one.name === place?.alternative);
    if (node !== undefined && alternative !== undefined) return { handler, alternative, node };
    this.#say(`${name}: ${handler.handler_name} has no place, or one that does not exist`);
    return null;
  }

  #accuracy(planned: FleetPlanned, variant: FleetVariant, all: Iterable<Placed>, name: string): number {
    let { accuracy } = variant;
    for (const one of all) accuracy *= one.alternative.accuracy;
    if (!near(planned.accuracy, accuracy)) this.#say(`${name}: accuracy ${planned.accuracy} is not ${accuracy}`);
    return accuracy;
  }

  #promises(
    planned: FleetPlanned,
    session: FleetSession,
    variant: FleetVariant,
    stages: ReadonlyMap<number, Stage>,
  ): void {
    const name = `session ${session.session_id}`;
    const { fps, latency_ms_max, accuracy_min } = session.objective;
    const done = new Map<number, number>();
    const doneMs = (id: number): number => {
      const known = done.get(id);
      if (known !== undefined) return known;
      let arrival = 0;
      for (const link of variant.links) {
        if (link.target_handler !== id) continue;
        const from = stages.get(link.source_handler)!;
        arrival = Math.max(
          arrival,
          doneMs(link.source_handler) + this.#linkMs(from.node, stages.get(id)!.node, from.bytes),
        );
      }
      const ms = arrival + this.#stageMs(stages.get(id)!, fps, name);
      done.set(id, ms);
      return ms;
    };
    const latencyMs = Math.max(...variant.handlers.map((one) => doneMs(one.handler_id)));
    if (!near(planned.latency_ms, latencyMs))
      this.#say(`${name}: latency_ms ${planned.latency_ms} is not ${latencyMs}`);
    if (latency_ms_max !== undefined && !atMost(latencyMs, latency_ms_max))
      this.#say(`${name}: latency ${latencyMs} ms > ${latency_ms_max} ms`);
    const accuracy = this.#accuracy(planned, variant, stages.values(), name);
    if (accuracy_min !== undefined && !atMost(accuracy_min, accuracy))
      this.#say(`${name}: accuracy ${accuracy} < ${accuracy_min}`);
    for (const stage of stages.values()) this.#count(stage, fps);
    for (const link of variant.links) {
      const from = stages.get(link.source_handler)!;
      this.#countLink(from.node, stages.get(link.target_handler)!.node, fps * from.bytes);
    }
  }

  #stageMs({ node, serviceMs, gpuMs, handler }: Stage, fps: number, name: string): number {
    const busy = (fps * serviceMs) / 1000;
    if (!atMost(busy, UTILISATION_CAP))
      this.#say(`${name}: ${handler.handler_name} is busy ${busy} of the time > ${UTILISATION_CAP}`);
    const waits = [allenCunneen(1, busy), allenCunneen(node.cpu_cores, UTILISATION_CAP)];
    if (gpuMs > 0) waits.push(allenCunneen(node.gpus, UTILISATION_CAP));
    return serviceMs * (1 + Math.max(...waits));
  }

  #linkMs(from: FleetNode, to: FleetNode, bytes: number): number {
    if (from === to) return 0;
    const packetMs = (mbit: number) => ((bytes * 8) / (mbit * 1000)) * (1 + allenCunneen(1, UTILISATION_CAP));
    const path = this.#paths.get(from.node_id)?.get(to.node_id);
    if (path !== undefined)
      return path.mbit > 0 ? HOP_MS + path.latency_ms + packetMs(path.mbit) : Number.POSITIVE_INFINITY;
    let ms =
      HOP_MS +
      from.access.latency_ms +
      packetMs(from.access.up_mbit) +
      to.access.latency_ms +
      packetMs(to.access.down_mbit);
    if (from.site === to.site) return ms;
    const out = from.site === null ? undefined : this.#sites.get(from.site);
    const into = to.site === null ? undefined : this.#sites.get(to.site);
    if (out !== undefined) ms += out.wan.latency_ms + packetMs(out.wan.up_mbit);
    if (into !== undefined) ms += into.wan.latency_ms + packetMs(into.wan.down_mbit);
    return ms;
  }

  #add(resource: string, amount: number, capacity: number): void {
    if (!this.#holding && amount > 0) this.#judged.set(resource, capacity);
    this.#load.set(resource, (this.#load.get(resource) ?? 0) + amount);
  }

  #count(stage: Stage, fps: number): void {
    const { handler, alternative, node, cpuMs, gpuMs } = stage;
    const id = node.node_id;
    this.#add(`cpu ${id}`, fps * cpuMs, node.cpu_cores * 1000 * UTILISATION_CAP);
    this.#add(`gpu ${id}`, fps * gpuMs, node.gpus * 1000 * UTILISATION_CAP);
    this.#add(`mem ${id}`, Math.max(alternative.cost.mem_mb, handler.require.mem_mb ?? 0), node.mem_mb);
    if (!this.#holding) {
      this.#judgedNodes.add(node);
      // A model counts once for all; whoever comes beside it takes of its memory.
      this.#judged.set(`mem ${id}`, node.mem_mb);
    }
    const model = `${id} ${this.#needs.modelOf(stage)}`;
    this.#models.set(model, Math.max(this.#models.get(model) ?? 0, alternative.cost.model_mb ?? 0));
  }

  #countLink(from: FleetNode, to: FleetNode, bytesPerS: number): void {
    if (from === to) return;
    const mbit = (bytesPerS * 8) / 1e6;
    this.#add(`up ${from.node_id}`, mbit, from.access.up_mbit * UTILISATION_CAP);
    this.#add(`down ${to.node_id}`, mbit, to.access.down_mbit * UTILISATION_CAP);
    const path = this.#paths.get(from.node_id)?.get(to.node_id);
    if (path !== undefined) {
      this.#add(`path ${from.node_id} ${to.node_id}`, mbit, path.mbit * UTILISATION_CAP);
      return;
    }
    if (from.site === to.site) return;
    for (const [site, way] of [
      [from.site, 'up'],
      [to.site, 'down'],
    ] as const) {
      const wan = site === null ? undefined : this.#sites.get(site)?.wan;
      if (site === null || wan === undefined) continue;
      if (!this.#holding) this.#judgedSites.add(site);
      this.#add(`wan ${way} ${site}`, mbit, wan[`${way}_mbit`] * UTILISATION_CAP);
    }
  }

  #capacities(): void {
    for (const [model, mb] of this.#models) {
      const id = model.slice(0, model.indexOf(' '));
      this.#load.set(`mem ${id}`, (this.#load.get(`mem ${id}`) ?? 0) + mb);
    }
    for (const [resource, capacity] of this.#judged) {
      const load = this.#load.get(resource) ?? 0;
      if (!atMost(load, capacity)) this.#say(`${resource}: ${load} > ${capacity}`);
    }
  }
}

const atMost = (value: number, bound: number): boolean => value <= bound + TOLERANCE * Math.max(1, Math.abs(bound));

const near = (value: number, wanted: number): boolean =>
  Math.abs(value - wanted) <= TOLERANCE * Math.max(1, Math.abs(wanted));

/** Mean wait in service times of a queue with `servers` servers: Allen-Cunneen over Sakasegawa (1977). */
function allenCunneen(servers: number, load: number): number {
  const rho = Math.min(load, UTILISATION_CAP);
  return (VARIABILITY * rho ** (Math.sqrt(2 * servers + 2) - 1)) / (servers * (1 - rho));
}
