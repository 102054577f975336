/**
 * The live cluster in the form that plans for many sessions read and `orchestrator snapshot` prints. Nodes hang on the
 * core by their access links, whose round trips are those of heartbeats and whose rates are those of node files; where a
 * link or a probe has measured the way between two nodes, or there is none, a path says so. Pure.
 * Parameters that do not decide a cost are left out: a camera's address is nobody's business who plans.
 */
import { wantedVariants } from '../allocation/variants.js';
import type { FleetNode, FleetPath, FleetService, FleetSession, FleetSnapshot } from '../contracts/fleet.js';
import type { PlanRequest, Profile, SessionPlan } from '../contracts/plan.js';
import { costParams, modelKey } from '../contracts/plan.js';
import type { GraphHandler, Service, Variant } from '../contracts/service.js';
import { isDialable, linkFigures, type MeasuredLinks } from './link-figures.js';
import type { RegisteredNode } from './node-registry.js';
import { variantOf } from './plan-variant.js';
import { placementOf, type SessionRecord, sinkIds, sourceIds } from './session-record.js';

/** Of a node that has told nothing yet: enough to be valid, and it is not up. */
const UNKNOWN_FACTS = { cpu_cores: 1, speed: 1, mem_mb: 0, mem_free_mb: 0, gpus: [], labels: [], handler_types: null };

/** Speeds and accuracies are above 0. */
const SPEED_MIN = 1e-3;
const ACCURACY_MIN = 1e-9;

/** Plans of sessions that have their place. */
type Holding = readonly { readonly session_id: number; readonly plan: SessionPlan }[];

export interface FleetInput {
  readonly nodes: readonly RegisteredNode[];
  readonly services: readonly Service[];
  /** Sessions that have not ended. */
  readonly records: readonly SessionRecord[];
  readonly profiles: readonly Profile[];
  readonly links: MeasuredLinks;
  /** Times that packets take longer on a node now; profiles have it in them. */
  slownessOf(nodeId: number): number;
  requestOf(record: SessionRecord): PlanRequest | null;
  /** A session that is to be placed, as it is asked for; where it runs is in the request (`previous`). */
  readonly extra?: { readonly session_id: number; readonly request: PlanRequest } | undefined;
}

export function fleetSnapshot({
  nodes,
  services,
  records,
  profiles,
  links,
  slownessOf,
  requestOf,
  extra,
}: FleetInput): FleetSnapshot {
  const holding: Holding = records
    .filter(({ suspension }) => suspension?.kind !== 'placement')
    .map(({ stored }) => ({ session_id: stored.session_id, plan: stored.plan }));
  const known = new Set(nodes.map(({ file }) => file.node_id));
  const named = new ServiceNames(services);
  const fleetNodes = nodes.map((node) => fleetNode(node, holding, slownessOf(node.file.node_id)));
  const speeds = new Map(fleetNodes.map(({ node_id, speed }) => [node_id, speed]));
  const sessions = records.flatMap((record): FleetSession[] =>
    record.stored.session_id !== extra?.session_id && known.has(record.stored.plan.source_node)
      ? sessionOf(record, requestOf(record), named, (nodeId) => speeds.get(nodeId) ?? 1)
      : [],
  );
  if (extra !== undefined) {
    const { previous } = extra.request;
    const session = newSession(extra.session_id, extra.request, named);
    sessions.push(previous === undefined ? session : { ...session, previous: [...previous] });
  }
  const paths = pathsOf(nodes, links);
  return {
    nodes: fleetNodes,
    sites: [],
    ...(paths.length === 0 ? {} : { paths }),
    services: named.all(),
    profiles: profiles.filter(({ node_id }) => known.has(node_id)).map((one) => ({ ...one })),
    sessions,
  };
}

/**
 * A node with all that it has, whatever sessions take of it. Surprising: a node tells how much memory is available now,
 * with running handlers already in it; what loaded handlers hold is added back.
 */
export function fleetNode(
  { file, status, drainedSince }: RegisteredNode,
  holding: Holding,
  slowness: number,
): FleetNode {
  const facts = status.facts ?? UNKNOWN_FACTS;
  const { handler_types, cpu_cores, gpus, mem_mb, mem_free_mb } = facts;
  return {
    ...{ node_id: file.node_id, node_name: file.node_name, site: null },
    ...{ up: status.state === 'up', drained: drainedSince !== null },
    labels: [...new Set([...file.labels, ...facts.labels])],
    speed: Math.max(SPEED_MIN, facts.speed / slowness),
    ...{ cpu_cores, gpus: gpus.length, handler_types: handler_types === null ? null : [...handler_types] },
    mem_mb: Math.min(mem_mb, mem_free_mb + loadedMb(file.node_id, status, holding)),
    access: {
      latency_ms: (status.clock.rttMs ?? file.rtt_ms) / 2,
      up_mbit: file.bandwidth_mbit,
      down_mbit: file.bandwidth_mbit,
    },
  };
}

/** Of handlers that have loaded; a model that sessions share counts once. */
function loadedMb(nodeId: number, { sessions }: RegisteredNode['status'], holding: Holding): number {
  let sum = 0;
  const models = new Map<string, number>();
  for (const { session_id, plan } of holding) {
    const observed = sessions.get(session_id);
    if (observed === undefined) continue;
    const loaded = new Set(observed.handlers.filter((one) => one.state !== 'preparing').map((one) => one.handler_id));
    for (const handler of plan.handlers) {
      if (handler.node_id !== nodeId || !loaded.has(handler.handler_id)) continue;
      sum += handler.mem_mb;
      if (handler.model_mb !== undefined) models.set(modelKey(handler), handler.model_mb);
    }
  }
  for (const modelMb of models.values()) sum += modelMb;
  return sum;
}

const isMeasured = (from: string) => from === 'link' || from === 'probe';

/** Ways between nodes that were measured, or that do not exist; everywhere else the tree tells enough. */
export function pathsOf(nodes: readonly RegisteredNode[], measured: MeasuredLinks): FleetPath[] {
  return nodes.flatMap((source) =>
    nodes.flatMap((target): FleetPath[] => {
      if (target === source) return [];
      const ends = { source_node: source.file.node_id, target_node: target.file.node_id };
      if (!isDialable(source) && !isDialable(target)) return [{ ...ends, latency_ms: 0, mbit: 0 }];
      const { rtt, mbit } = linkFigures(source, target, measured);
      if (!isMeasured(rtt.from) && !isMeasured(mbit.from)) return [];
      return [{ ...ends, latency_ms: rtt.value / 2, mbit: mbit.value }];
    }),
  );
}

function sessionOf(
  record: SessionRecord,
  request: PlanRequest | null,
  named: ServiceNames,
  speedOf: (nodeId: number) => number,
): FleetSession[] {
  const { plan, session_id } = record.stored;
  const waits = record.suspension?.kind === 'placement';
  if (waits) return request === null ? [] : [newSession(session_id, request, named)];
  const running = request === null ? undefined : variantOf(request.service, plan);
  if (request === null || running === undefined) return [asItStands(record, named, speedOf)];
  const session = newSession(session_id, { ...request, service: withEndsHeld(request.service, plan) }, named);
  return [{ ...session, previous: placementOf(plan), previous_variant: running.variant_name }];
}

/** A session whose service is gone or has changed goes on as its plan has it, and takes what its plan says. */
function asItStands(
  { stored: { plan, session_id, request } }: SessionRecord,
  named: ServiceNames,
  speedOf: (nodeId: number) => number,
): FleetSession {
  const handlers = plan.handlers.map(({ handler_id, handler_name, handler_type, node_id, alternative, ...planned }) => {
    const perFrame = (msPerS: number) => (msPerS / plan.fps) * speedOf(node_id);
    const cost = {
      ...{ cpu_ms: perFrame(planned.cpu_ms_per_s), gpu_ms: perFrame(planned.gpu_ms_per_s) },
      ...{ mem_mb: planned.mem_mb, model_mb: planned.model_mb ?? 0 },
      out_bytes: plan.links.find(({ source_handler }) => source_handler === handler_id)?.bytes ?? 0,
    };
    return {
      ...{ handler_id, handler_name, handler_type, at: { kind: 'node' as const, node_id }, require: {} },
      alternatives: [{ name: alternative, params: costParams(planned.params), accuracy: 1, cost }],
    };
  });
  const links = plan.links.map(({ source_handler, target_handler }) => ({ source_handler, target_handler }));
  const variant = { variant_name: plan.variant, accuracy: Math.max(plan.accuracy, ACCURACY_MIN), handlers, links };
  return {
    ...{ session_id, service: named.add(`${plan.service_name} of session ${session_id}, as it stands`, [variant]) },
    ...{ objective: { fps: plan.fps }, source_node: plan.source_node, weight: request.weight ?? 1 },
    ...{ previous: placementOf(plan), previous_variant: plan.variant },
  };
}

/** Frames begin and end where they do while the session runs: what its sinks have written is there. */
function withEndsHeld(service: Service, plan: SessionPlan): Service {
  const ends = new Set([...sourceIds(plan), ...sinkIds(plan)]);
  const isFree = ({ handler_id, at }: GraphHandler) => ends.has(handler_id) && (at === null || at.kind === 'label');
  if (!service.variants.some(({ handlers }) => handlers.some(isFree))) return service;
  const nodeOf = new Map(plan.handlers.map(({ handler_id, node_id }) => [handler_id, node_id]));
  const held = (handler: GraphHandler): GraphHandler =>
    isFree(handler) ? { ...handler, at: { kind: 'node', node_id: nodeOf.get(handler.handler_id)! } } : handler;
  const variants = service.variants.map((variant) => ({ ...variant, handlers: variant.handlers.map(held) }));
  return { ...service, variants };
}

function newSession(session_id: number, request: PlanRequest, named: ServiceNames): FleetSession {
  const { objective, source_node, weight = 1, stay } = request;
  const session = { session_id, service: named.of(request, session_id), objective, source_node, weight };
  return stay === undefined ? session : { ...session, stay };
}

/** Services by what they cost: sessions that differ in nothing that matters share one. */
class ServiceNames {
  readonly #services: FleetService[] = [];
  readonly #names = new Map<string, string>();

  constructor(loaded: readonly Service[]) {
    for (const one of loaded)
      this.#name(
        one.service_name,
        one.variants.map((variant) => fleetVariant(variant, null)),
      );
  }

  of(request: PlanRequest, sessionId: number): string {
    const variants = wantedVariants(request).map(({ variant, only }) => fleetVariant(variant, only));
    return this.#name(request.service.service_name, variants, ` of session ${sessionId}`);
  }

  add(service_name: string, variants: FleetService['variants']): string {
    this.#services.push({ service_name, variants });
    return service_name;
  }

  all(): FleetService[] {
    return this.#services;
  }

  #name(service: string, variants: FleetService['variants'], suffix = ''): string {
    const key = JSON.stringify([service, variants]);
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    const service_name = `${service}${suffix}`;
    this.#names.set(key, service_name);
    this.#services.push({ service_name, variants });
    return service_name;
  }
}

function fleetVariant(
  { variant_name, accuracy, handlers, links }: Variant,
  only: ReadonlyMap<number, string> | null,
): FleetService['variants'][number] {
  return {
    ...{ variant_name, accuracy },
    handlers: handlers.map((handler) => fleetHandler(handler, only?.get(handler.handler_id))),
    links: links.map(({ source_handler, target_handler }) => ({ source_handler, target_handler })),
  };
}

function fleetHandler(
  { handler_id, handler_name, handler_type, at, require, alternatives }: GraphHandler,
  only?: string,
) {
  return {
    ...{ handler_id, handler_name, handler_type, at, require },
    alternatives: alternatives
      .filter(({ name }) => only === undefined || name === only)
      .map(({ name, params, accuracy, cost }) => ({ name, params: costParams(params), accuracy, cost })),
  };
}
