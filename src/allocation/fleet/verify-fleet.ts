/**
 * An independent check of a plan for many sessions: every promise and every capacity again, from the snapshot as it was
 * given, with no code of the planners (only the constants of bounds.ts, which are data). No violations = every session of the plan keeps its latency, accuracy, pins and privacy, and no resource
 * carries more than may be promised. That it is the best plan is not checked here: the bound is for that.
 */
import type {
  FleetAlternative,
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
import { profileKey } from '../../contracts/plan.js';
import { HOP_MS, PROFILE_SAMPLES_MIN, UTILISATION_CAP, VARIABILITY } from '../bounds.js';

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

/** One handler of one session on its node. */
interface Stage {
  readonly handler: FleetHandler;
  readonly alternative: FleetAlternative;
  readonly node: FleetNode;
  readonly serviceMs: number;
  readonly cpuMs: number;
  readonly gpuMs: number;
  readonly bytes: number;
}

class FleetCheck {
  readonly #violations: string[] = [];
  readonly #plan: FleetPlan;
  readonly #snapshot: FleetSnapshot;
  readonly #nodes: ReadonlyMap<number, FleetNode>;
  readonly #sites: ReadonlyMap<string, FleetSite>;
  readonly #profiles: ReadonlyMap<string, FleetSnapshot['profiles'][number]>;
  readonly #paths: ReadonlyMap<string, FleetPath>;
  readonly #load = new Map<string, number>();
  readonly #models = new Map<string, number>();
  readonly #held: ReadonlySet<number>;
  /** Resources that a session which is not held takes of. */
  readonly #judged = new Set<string>();
  /** The session at hand is held. */
  #holding = false;

  constructor(plan: FleetPlan, snapshot: FleetSnapshot, held: ReadonlySet<number>) {
    this.#held = held;
    this.#plan = plan;
    this.#snapshot = snapshot;
    this.#nodes = new Map(snapshot.nodes.map((one) => [one.node_id, one]));
    this.#paths = new Map((snapshot.paths ?? []).map((one) => [`${one.source_node} ${one.target_node}`, one]));
    this.#sites = new Map(snapshot.sites.map((one) => [one.site, one]));
    this.#profiles = new Map(snapshot.profiles.map((one) => [`${one.handler_type} ${one.key} ${one.node_id}`, one]));
  }

  run(): string[] {
    const sessions = new Map(this.#snapshot.sessions.map((one) => [one.session_id, one]));
    const told = new Set<number>();
    for (const planned of this.#plan.sessions) {
      const session = sessions.get(planned.session_id);
      if (session === undefined) this.#say(`session ${planned.session_id} was not asked for`);
      else if (told.has(planned.session_id)) this.#say(`session ${planned.session_id} is placed twice`);
      else this.#session(planned, session);
      told.add(planned.session_id);
    }
    for (const { session_id } of this.#plan.refused) {
      if (told.has(session_id)) this.#say(`session ${session_id} is placed and refused`);
      told.add(session_id);
    }
    for (const id of sessions.keys()) if (!told.has(id)) this.#say(`session ${id} is neither placed nor refused`);
    this.#capacities();
    return this.#violations;
  }

  #say(violation: string): void {
    if (this.#violations.length < VIOLATIONS_MAX) this.#violations.push(violation);
  }

  #session(planned: FleetPlanned, session: FleetSession): void {
    this.#holding = this.#held.has(session.session_id);
    const name = `session ${session.session_id}`;
    const service = this.#snapshot.services.find((one) => one.service_name === session.service);
    const variant = service?.variants.find((one) => one.variant_name === planned.variant);
    if (variant === undefined) {
      this.#say(`${name}: no variant ${planned.variant}`);
      return;
    }
    if (session.variant !== undefined && session.variant !== planned.variant)
      this.#say(`${name}: not variant ${session.variant}`);
    const stages = new Map<number, Stage>();
    for (const handler of variant.handlers) {
      const stage = this.#stage(handler, planned, session, name);
      if (stage === null) return;
      stages.set(handler.handler_id, stage);
    }
    if (planned.placement.length !== variant.handlers.length)
      this.#say(`${name}: ${planned.placement.length} places for ${variant.handlers.length} handlers`);
    this.#promises(planned, session, variant, stages);
  }

  #stage(handler: FleetHandler, planned: FleetPlanned, session: FleetSession, name: string): Stage | null {
    const place = planned.placement.find((one) => one.handler_id === handler.handler_id);
    const node = place === undefined ? undefined : this.#nodes.get(place.node_id);
    const alternative = handler.alternatives.find((one) => one.name === place?.alternative);
    if (node === undefined || alternative === undefined) {
      this.#say(`${name}: ${handler.handler_name} has no place, or one that does not exist`);
      return null;
    }
    const fault = this.#holding ? movedFault(place, session) : misplaced(handler, alternative, node, session);
    if (fault !== null) this.#say(`${name}: ${handler.handler_name} @${node.node_name}: ${fault}`);
    const known = this.#profiles.get(`${handler.handler_type} ${profileKey(alternative.params)} ${node.node_id}`);
    const profile = known !== undefined && known.samples >= PROFILE_SAMPLES_MIN ? known : undefined;
    const { cost } = alternative;
    return {
      ...{ handler, alternative, node },
      serviceMs: profile?.service_ms ?? cost.cpu_ms / node.speed + cost.gpu_ms / node.speed,
      cpuMs: profile?.cpu_ms ?? cost.cpu_ms / node.speed,
      gpuMs: cost.gpu_ms / node.speed,
      bytes: profile?.out_bytes ?? cost.out_bytes,
    };
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
    // Of one that is held nobody asks how long it takes.
    const latencyMs = this.#holding ? 0 : Math.max(...variant.handlers.map((one) => doneMs(one.handler_id)));
    const accuracy = variant.handlers.reduce(
      (product, one) => product * stages.get(one.handler_id)!.alternative.accuracy,
      variant.accuracy,
    );
    if (!this.#holding && !near(planned.latency_ms, latencyMs))
      this.#say(`${name}: latency_ms ${planned.latency_ms} is not ${latencyMs}`);
    if (!near(planned.accuracy, accuracy)) this.#say(`${name}: accuracy ${planned.accuracy} is not ${accuracy}`);
    if (!this.#holding && latency_ms_max !== undefined && !atMost(latencyMs, latency_ms_max))
      this.#say(`${name}: latency ${latencyMs} ms > ${latency_ms_max} ms`);
    if (!this.#holding && accuracy_min !== undefined && !atMost(accuracy_min, accuracy))
      this.#say(`${name}: accuracy ${accuracy} < ${accuracy_min}`);
    for (const stage of stages.values()) this.#count(stage, fps);
    for (const link of variant.links) {
      const from = stages.get(link.source_handler)!;
      this.#countLink(from.node, stages.get(link.target_handler)!.node, (fps * from.bytes * 8) / 1e6);
    }
  }

  #stageMs({ node, serviceMs, gpuMs, handler }: Stage, fps: number, name: string): number {
    const busy = (fps * serviceMs) / 1000;
    if (!this.#holding && !atMost(busy, UTILISATION_CAP))
      this.#say(`${name}: ${handler.handler_name} is busy ${busy} of the time > ${UTILISATION_CAP}`);
    const waits = [allenCunneen(1, busy), allenCunneen(node.cpu_cores, UTILISATION_CAP)];
    if (gpuMs > 0) waits.push(allenCunneen(node.gpus, UTILISATION_CAP));
    return serviceMs * (1 + Math.max(...waits));
  }

  #linkMs(from: FleetNode, to: FleetNode, bytes: number): number {
    if (from === to) return 0;
    const packetMs = (mbit: number) => ((bytes * 8) / (mbit * 1000)) * (1 + allenCunneen(1, UTILISATION_CAP));
    const path = this.#paths.get(`${from.node_id} ${to.node_id}`);
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

  #add(resource: string, amount: number): void {
    if (!this.#holding && amount > 0) this.#judged.add(resource);
    this.#load.set(resource, (this.#load.get(resource) ?? 0) + amount);
  }

  #count({ handler, alternative, node, cpuMs, gpuMs }: Stage, fps: number): void {
    const id = node.node_id;
    this.#add(`cpu ${id}`, fps * cpuMs);
    this.#add(`gpu ${id}`, fps * gpuMs);
    this.#add(`mem ${id}`, Math.max(alternative.cost.mem_mb, handler.require.mem_mb ?? 0));
    if (!this.#holding) this.#judged.add(`mem ${id}`);
    const model = `${id} ${handler.handler_type} ${profileKey(alternative.params)} ${alternative.name}`;
    this.#models.set(model, Math.max(this.#models.get(model) ?? 0, alternative.cost.model_mb ?? 0));
  }

  #countLink(from: FleetNode, to: FleetNode, mbit: number): void {
    if (from === to) return;
    this.#add(`up ${from.node_id}`, mbit);
    this.#add(`down ${to.node_id}`, mbit);
    const pair = `${from.node_id} ${to.node_id}`;
    if (this.#paths.has(pair)) {
      this.#add(`path ${pair}`, mbit);
      return;
    }
    if (from.site === to.site) return;
    if (from.site !== null) this.#add(`wan up ${from.site}`, mbit);
    if (to.site !== null) this.#add(`wan down ${to.site}`, mbit);
  }

  #capacities(): void {
    // A model counts once for all; whose it is was noted with the memory of each session.
    this.#holding = true;
    for (const [model, mb] of this.#models) this.#add(`mem ${model.slice(0, model.indexOf(' '))}`, mb);
    const within = (resource: string, capacity: number) => {
      const load = this.#load.get(resource) ?? 0;
      if (this.#judged.has(resource) && !atMost(load, capacity)) this.#say(`${resource}: ${load} > ${capacity}`);
    };
    for (const node of this.#snapshot.nodes) {
      within(`cpu ${node.node_id}`, node.cpu_cores * 1000 * UTILISATION_CAP);
      within(`gpu ${node.node_id}`, node.gpus * 1000 * UTILISATION_CAP);
      within(`mem ${node.node_id}`, node.mem_mb);
      within(`up ${node.node_id}`, node.access.up_mbit * UTILISATION_CAP);
      within(`down ${node.node_id}`, node.access.down_mbit * UTILISATION_CAP);
    }
    for (const [pair, { mbit }] of this.#paths) within(`path ${pair}`, mbit * UTILISATION_CAP);
    for (const { site, wan } of this.#snapshot.sites) {
      within(`wan up ${site}`, wan.up_mbit * UTILISATION_CAP);
      within(`wan down ${site}`, wan.down_mbit * UTILISATION_CAP);
    }
  }
}

function movedFault(place: FleetPlanned['placement'][number] | undefined, { previous }: FleetSession): string | null {
  const before = previous?.find((one) => one.handler_id === place?.handler_id);
  const stays = before?.node_id === place?.node_id && before?.alternative === place?.alternative;
  return stays ? null : 'is held and not where it was';
}

function misplaced(
  handler: FleetHandler,
  alternative: FleetAlternative,
  node: FleetNode,
  session: FleetSession,
): string | null {
  if (!node.up) return 'node is lost';
  const before = session.previous?.find((one) => one.handler_id === handler.handler_id);
  if (node.drained && before?.node_id !== node.node_id) return 'node is drained';
  if (node.handler_types !== null && !node.handler_types.includes(handler.handler_type))
    return 'handler type is not installed';
  const { at, require } = handler;
  if (at?.kind === 'source' && node.node_id !== session.source_node) return 'not on the source node';
  if (at?.kind === 'node' && node.node_id !== at.node_id) return `not on node ${at.node_id}`;
  for (const label of [at?.kind === 'label' ? at.label : undefined, require.label, session.stay]) {
    if (label !== undefined && !node.labels.includes(label)) return `node lacks label ${label}`;
  }
  return (alternative.cost.gpu_ms > 0 || require.gpu === true) && node.gpus === 0 ? 'node has no gpu' : null;
}

const atMost = (value: number, bound: number): boolean => value <= bound + TOLERANCE * Math.max(1, Math.abs(bound));

const near = (value: number, wanted: number): boolean =>
  Math.abs(value - wanted) <= TOLERANCE * Math.max(1, Math.abs(wanted));

/** Mean wait in service times of a queue with `servers` servers: Allen-Cunneen over Sakasegawa (1977). */
function allenCunneen(servers: number, load: number): number {
  const rho = Math.min(load, UTILISATION_CAP);
  return (VARIABILITY * rho ** (Math.sqrt(2 * servers + 2) - 1)) / (servers * (1 - rho));
}
