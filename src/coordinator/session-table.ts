/**
 * The sessions of this coordinator in memory, in step with the store. Invariants: a change is in the store before
 * anything acts on it; changes of one session are applied one after the other, each to the result of the one before;
 * plans are made one at a time, so that two of them cannot both take the same free core.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { FleetPath, FleetSnapshot } from '../contracts/fleet.js';
import type { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { PlanRequest, Profile } from '../contracts/plan.js';
import { normalizeService, type Service } from '../contracts/service.js';
import type { StoredSession } from '../contracts/session.js';
import type { Logger } from '../std/logger.js';
import type { StateStore } from '../store/store.js';
import { type FleetInput, fleetSnapshot, pathsOf } from './fleet-snapshot.js';
import { linkFigures } from './link-figures.js';
import type { LinkTable } from './link-table.js';
import type { LinkBetween } from './named-links.js';
import type { NodePace } from './node-pace.js';
import type { NodeRegistry } from './node-registry.js';
import type { ProfileCache } from './profiles.js';
import { placementOf, planNodes, recordOf, type SessionRecord } from './session-record.js';
import { findService, sessionService, wishes } from './session-request.js';

/**
 * Nodes, links and costs as they are measured now; or as they were promised: nodes as quick as usual, links at the rates of
 * node files, costs as declared. An order of an operator, or what runs already, is judged by the latter: on a machine that
 * is busy with other things as well, a session that loses a node rather runs late than not at all.
 */
export type Pace = 'now' | 'promised';

/** Ended sessions that stay in memory and in listings; older ones are read from the store when they are asked for. */
export const ENDED_IN_MEMORY_MAX = 200;

export interface SessionTableOptions {
  readonly state: StateStore;
  readonly registry: NodeRegistry;
  readonly profiles: Pick<ProfileCache, 'current'>;
  readonly pace: Pick<NodePace, 'factorOf' | 'profiles'>;
  readonly links: LinkTable;
  readonly services: readonly Service[];
  readonly types: HandlerTypeRegistry;
  readonly logger: Logger;
}

export class SessionTable {
  readonly #options: SessionTableOptions;
  readonly #records = new Map<number, SessionRecord>();
  #planning: Promise<unknown> = Promise.resolve();
  readonly #updates = new WeakMap<SessionRecord, Promise<unknown>>();
  #version = 0;

  constructor(options: SessionTableOptions) {
    this.#options = options;
  }

  async load(): Promise<void> {
    for (const stored of await this.#options.state.sessions()) {
      this.#records.set(stored.session_id, recordOf(stored, this.#serviceOf(stored)));
    }
    this.#evict();
  }

  get(sessionId: number): SessionRecord | undefined {
    return this.#records.get(sessionId);
  }

  /** Also an ended session that is in the store only. Throws SESSION_NOT_FOUND. */
  async find(sessionId: number): Promise<SessionRecord> {
    const known = this.#records.get(sessionId);
    if (known !== undefined) return known;
    const stored = await this.#options.state.session(sessionId);
    if (stored !== null && stored.ended !== null) return recordOf(stored, null);
    throw new OrchestratorError('SESSION_NOT_FOUND', `no session ${sessionId}`, { session_id: sessionId });
  }

  /** In no order, without a copy: asked for with every heartbeat. */
  records(): Iterable<SessionRecord> {
    return this.#records.values();
  }

  all(): SessionRecord[] {
    return [...this.#records.values()].sort((a, b) => a.stored.session_id - b.stored.session_id);
  }

  active(): SessionRecord[] {
    return this.all().filter((record) => record.stored.ended === null);
  }

  /** Grows when a session lets go of resources: what could not be placed may be tried again. */
  get version(): number {
    return this.#version;
  }

  #pace(when: Pace): Pick<FleetInput, 'profiles' | 'slownessOf' | 'links'> {
    const { pace, profiles, links } = this.#options;
    if (when === 'promised') {
      const granted = { rtt: links.rtt.bind(links), mbit: () => null };
      return { profiles: [], slownessOf: () => 1, links: granted };
    }
    const slownessOf = (nodeId: number) => pace.factorOf(nodeId);
    return { profiles: pace.profiles(profiles.current), slownessOf, links };
  }

  /** What handlers were measured to need. */
  get profiles(): readonly Profile[] {
    return this.#options.profiles.current;
  }

  /** Ways between nodes that were measured, or that do not exist. */
  paths(): FleetPath[] {
    return pathsOf(this.#options.registry.all(), this.#options.links);
  }

  /** How the network from one node to another is reckoned with; null where it is no network, or no node. */
  linkBetween(source: number, target: number): ReturnType<LinkBetween> {
    const { registry, links } = this.#options;
    const [from, to] = [registry.get(source), registry.get(target)];
    if (from === undefined || to === undefined || from === to) return null;
    return { ...linkFigures(from, to, links), source_name: from.file.node_name, target_name: to.file.node_name };
  }

  /** The whole cluster, and every session that has not ended with where it runs; `extra` in the place of its session. */
  fleet(extra?: FleetInput['extra'], pace: Pace = 'now'): FleetSnapshot {
    const { registry, services } = this.#options;
    return fleetSnapshot({
      ...{ nodes: registry.all(), services, records: this.active(), ...this.#pace(pace) },
      requestOf: (record) => this.planRequest(record),
      extra,
    });
  }

  /** Runs `work` when no other plan is being made. */
  planning<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#planning.then(work);
    this.#planning = turn.catch(() => {});
    return turn;
  }

  async add(stored: StoredSession, service: Service): Promise<void> {
    await this.#options.state.saveSession(stored);
    this.#records.set(stored.session_id, recordOf(stored, service));
  }

  /**
   * Stores what `change` makes of the session, and only then lets others see it. `change` returns null when there is
   * nothing to do (any more). False when nothing was stored.
   */
  update(record: SessionRecord, change: (stored: StoredSession) => StoredSession | null): Promise<boolean> {
    const before = this.#updates.get(record) ?? Promise.resolve();
    const turn = before.then(async () => {
      const { session_id } = record.stored;
      if (this.#records.get(session_id) !== record) return false;
      const changed = change(record.stored);
      if (changed === null) return false;
      await this.#options.state.saveSession(changed);
      if (this.#records.get(session_id) !== record) {
        // It was deleted meanwhile; the store's last word must be that.
        await this.#options.state.deleteSession(session_id);
        return false;
      }
      const ends = changed.ended !== null && record.stored.ended === null;
      record.stored = changed;
      record.nodeIds = planNodes(changed.plan);
      if (ends) this.released();
      return true;
    });
    this.#updates.set(
      record,
      turn.catch(() => {}),
    );
    return turn;
  }

  async remove(sessionId: number): Promise<void> {
    await this.#options.state.deleteSession(sessionId);
    this.#records.delete(sessionId);
    this.released();
  }

  /** A session has let go of resources. */
  released(): void {
    this.#version += 1;
    this.#evict();
  }

  /** Null when its service is not loaded any more. One that waits for a place runs nowhere. */
  planRequest({ stored, service, suspension }: SessionRecord): PlanRequest | null {
    if (service === null) return null;
    const { request, plan } = stored;
    return {
      service,
      objective: request.objective ?? { fps: plan.fps },
      source_node: plan.source_node,
      ...wishes(request),
      ...(suspension?.kind === 'placement' ? {} : { previous: placementOf(plan) }),
    };
  }

  #evict(): void {
    const ended = this.all().filter((record) => record.stored.ended !== null);
    const age = (record: SessionRecord) => record.stored.ended?.at ?? 0;
    const { registry } = this.#options;
    // One that a node still has must be known, or it would be removed there as nobody's.
    const free = ended.filter(({ stored }) =>
      registry.all().every(({ file }) => registry.observed(file.node_id, stored.session_id) === undefined),
    );
    free.sort((a, b) => age(a) - age(b));
    for (const { stored } of free.slice(0, Math.max(0, ended.length - ENDED_IN_MEMORY_MAX))) {
      this.#records.delete(stored.session_id);
    }
  }

  #serviceOf({ session_id, request, ended }: StoredSession): Service | null {
    if (ended !== null) return null;
    const { services, types, logger } = this.#options;
    try {
      const { definition } = request;
      const service =
        definition === undefined
          ? findService(services, request.service)
          : normalizeService(definition, types, `session ${session_id}`);
      return sessionService(service, request, types);
    } catch (error) {
      logger.warn({ err: error, session_id }, `session ${session_id} runs on but cannot be placed again`);
      return null;
    }
  }
}
