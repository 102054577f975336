/**
 * The live cluster in the form that plans for many sessions read and `orchestrator snapshot` prints. Nodes hang on the
 * core by their access links, whose round trips are those of heartbeats and whose rates are those of node files; where a
 * link or a probe has measured the way between two nodes, or there is none, a path says so. Pure.
 * Parameters that do not decide a cost are left out: a camera's address is nobody's business who plans.
 */
import { wantedVariants } from '../allocation/variants.js';
import type { FleetNode, FleetPath, FleetService, FleetSession, FleetSnapshot } from '../contracts/fleet.js';
import type { PlanRequest, Profile, SessionPlan } from '../contracts/plan.js';
import { costParams } from '../contracts/plan.js';
import type { GraphHandler, Service, Variant } from '../contracts/service.js';
import { isDialable, linkFigures } from './link-figures.js';
import type { LinkTable } from './link-table.js';
import type { RegisteredNode } from './node-registry.js';
import { variantOf } from './planner.js';
import { placementOf, type SessionRecord, sinkIds, sourceIds } from './session-record.js';
import { snapshotNode } from './snapshot.js';

/** Of a node that has told nothing yet: enough to be valid, and it is not up. */
const SPEED_MIN = 1e-3;

export interface FleetInput {
  readonly nodes: readonly RegisteredNode[];
  readonly services: readonly Service[];
  /** Sessions that have not ended. */
  readonly records: readonly SessionRecord[];
  readonly profiles: readonly Profile[];
  readonly links: LinkTable;
  /** Times that packets take longer on a node now; profiles have it in them. */
  slownessOf(nodeId: number): number;
  requestOf(record: SessionRecord): PlanRequest | null;
  /** A session that is to be admitted. */
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
  const holding = records
    .filter(({ suspension }) => suspension?.kind !== 'placement')
    .map(({ stored }) => ({ session_id: stored.session_id, plan: stored.plan }));
  const known = new Set(nodes.map(({ file }) => file.node_id));
  const named = new ServiceNames(services);
  const sessions = records.flatMap((record): FleetSession[] => {
    const request = requestOf(record);
    return request === null || !known.has(request.source_node) ? [] : [sessionOf(record, request, named)];
  });
  if (extra !== undefined) sessions.push(newSession(extra.session_id, extra.request, named));
  const paths = pathsOf(nodes, links);
  return {
    nodes: nodes.map((node) => fleetNode(node, holding, slownessOf(node.file.node_id))),
    sites: [],
    ...(paths.length === 0 ? {} : { paths }),
    services: named.all(),
    profiles: profiles.filter(({ node_id }) => known.has(node_id)).map((one) => ({ ...one })),
    sessions,
  };
}

function fleetNode(node: RegisteredNode, holding: Parameters<typeof snapshotNode>[1], slowness: number): FleetNode {
  const { node_id, node_name, up, drained, labels, speed, cpu_cores, mem_mb_free, gpus, handler_types } = snapshotNode(
    node,
    holding,
    slowness,
  );
  const { file, status } = node;
  return {
    ...{ node_id, node_name, up, drained, labels: [...labels], site: null, speed: Math.max(SPEED_MIN, speed) },
    ...{ cpu_cores, mem_mb: mem_mb_free, gpus, handler_types: handler_types === null ? null : [...handler_types] },
    access: {
      latency_ms: (status.clock.rttMs ?? file.rtt_ms) / 2,
      up_mbit: file.bandwidth_mbit,
      down_mbit: file.bandwidth_mbit,
    },
  };
}

const isMeasured = (from: string) => from === 'link' || from === 'probe';

/** Ways between nodes that were measured, or that do not exist; everywhere else the tree tells enough. */
export function pathsOf(nodes: readonly RegisteredNode[], measured: LinkTable): FleetPath[] {
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

function sessionOf({ stored, suspension }: SessionRecord, request: PlanRequest, named: ServiceNames): FleetSession {
  const { plan, session_id } = stored;
  const running = suspension?.kind === 'placement' ? undefined : variantOf(request.service, plan);
  if (running === undefined) return newSession(session_id, request, named);
  return {
    ...newSession(session_id, { ...request, service: withEndsHeld(request.service, plan) }, named),
    ...{ previous: placementOf(plan), previous_variant: running.variant_name },
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
