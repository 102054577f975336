/**
 * What becomes of a session when nodes go and come. Level-triggered: `check` compares the plan with the nodes that are
 * there, whenever the session is reconciled, so a loss during a restart of the coordinator is found as well. Whoever is
 * looked at first after a loss brings all its victims along: where each goes is one decision.
 *
 *     placed --a node of the plan is missing--> re-placed (generation + 1)
 *        |        \--no placement without it--> suspended: placement --nodes or load change--> re-placed
 *        |--a node that it is pinned to is missing (its camera's)--> suspended: pinned --node returns--> placed
 *        \--a handler does not go on on a living node--> re-placed without that node, each node once
 */
import { plural } from '../allocation/words.js';
import { toOrchestratorError } from '../contracts/errors.js';
import type { FleetPlanned } from '../contracts/fleet.js';
import type { PlanRequest, PlanResult, SessionPlan } from '../contracts/plan.js';
import type { Clock } from '../std/clock.js';
import type { EventLog } from './event-log.js';
import type { NodeRegistry } from './node-registry.js';
import type { CoordinatorBounds } from './options.js';
import { pinWords } from './pins.js';
import { variantOf } from './plan-variant.js';
import type { Planner } from './planner.js';
import {
  type Failure,
  handlerStats,
  isInner,
  observedState,
  type Recovery,
  type SessionRecord,
  type Suspension,
  sinkIds,
} from './session-record.js';
import type { SessionTable } from './session-table.js';
import { lostWords, sinkTally } from './sink-tally.js';

/** Nodes that are asked to take a handler that failed elsewhere; each costs one plan of a session that is otherwise fixed. */
const EVADE_NODES_MAX = 64;

export interface FailoverOptions {
  readonly table: SessionTable;
  readonly planner: Pick<Planner, 'replan' | 'replanTogether' | 'placed' | 'quickest'>;
  readonly registry: NodeRegistry;
  readonly events: EventLog;
  readonly bounds: CoordinatorBounds;
  readonly clock: Clock;
}

export class Failover {
  readonly #options: FailoverOptions;
  #replans = 0;

  constructor(options: FailoverOptions) {
    this.#options = options;
  }

  /** Re-placements since the start. */
  get replans(): number {
    return this.#replans;
  }

  /** Brings the plan, or the suspension, in line with the nodes that are there. */
  async check(record: SessionRecord): Promise<void> {
    const missing = this.#missing(record);
    const { suspension } = record;
    if (missing.length === 0 && suspension?.kind !== 'placement') {
      if (suspension !== null) this.#resume(record);
      return;
    }
    const anchors = missing.filter((nodeId) => isAnchored(record, nodeId));
    if (anchors.length > 0) {
      const waits = `waits for ${anchors.map((nodeId) => this.#nameOf(nodeId)).join(', ')} to return`;
      const reason = record.service === null ? `${waits}: its service is not loaded` : waits;
      this.#suspend(record, suspension?.kind ?? 'pinned', [reason]);
      return;
    }
    if (suspension?.kind === 'placement' && !this.#isDue(suspension)) return;
    await this.#options.table.planning(() => this.#replanAll(record));
  }

  /** The session and everybody else who has lost a node by now, heaviest first. Runs alone among plans. */
  async #replanAll(first: SessionRecord): Promise<void> {
    const { table, registry, planner } = this.#options;
    const others = table.active().filter((one) => one !== first && this.#isVictim(one));
    const weight = ({ stored }: SessionRecord) => stored.request.weight ?? 1;
    const victims = [first, ...others].sort((a, b) => weight(b) - weight(a));
    const ids = new Set(victims.map(({ stored }) => stored.session_id));
    const missing = registry.all().filter(({ file }) => registry.isMissing(file.node_id));
    const together = planner.replanTogether(ids, new Set(missing.map(({ file }) => file.node_id)));
    let left = victims;
    // In whatever order they fit: one may need the room that another leaves.
    for (let before = -1; left.length > 0 && left.length !== before; ) {
      before = left.length;
      const rest: SessionRecord[] = [];
      for (const one of left) {
        const planned = together.get(one.stored.session_id);
        if (planned === undefined || !(await this.#replan(one, planned, victims.length - 1))) rest.push(one);
      }
      left = rest;
    }
    for (const one of left) await this.#replan(one);
  }

  /** It runs on what is missing, and could run without. */
  #isVictim(record: SessionRecord): boolean {
    const missing = this.#missing(record);
    if (missing.length === 0 || record.stored.desired === 'stopped') return false;
    return record.suspension?.kind !== 'placement' && !missing.some((nodeId) => isAnchored(record, nodeId));
  }

  /**
   * Handlers that do not go on on their node, although it lives, are placed on another one; the rest stays. False when
   * frames begin or end at them, or when no other node takes them: then nothing has changed.
   */
  evade(record: SessionRecord, failure: Failure): Promise<boolean> {
    return this.#options.table.planning(async () => {
      const { clock, events } = this.#options;
      const { stored } = record;
      if (!failure.handlerIds.every((id) => isInner(stored.plan, id))) return false;
      record.failedOn.add(failure.nodeId);
      const plan = this.#planWithout(record, failure);
      const watched = this.#watched(record);
      if (plan === null || !(await this.#store(record, stored.plan, plan))) return false;
      this.#replans += 1;
      record.problems.clear();
      const { session_id } = stored;
      const nodeName = this.#nameOf(failure.nodeId);
      record.recovery = { nodeName, lostAt: clock.now(), ...watched };
      const message = `session ${session_id}: ${failure.reason} | ${movesWords(stored.plan, plan)}`;
      events.emit({ kind: 'session.replaced', session_id, node_id: failure.nodeId, message });
      return true;
    });
  }

  /** The quickest plan with the failed handlers together on a node on which none of the session has failed. */
  #planWithout(record: SessionRecord, { nodeId, handlerIds }: Failure): SessionPlan | null {
    const { table, registry, planner } = this.#options;
    const { session_id, plan } = record.stored;
    const request = table.planRequest(record);
    const variant = request === null ? undefined : variantOf(request.service, plan);
    if (request === null || variant === undefined) return null;
    const why = `moved away from ${this.#nameOf(nodeId)}, where it did not go on`;
    const { accuracy, latency_ms } = plan;
    const failed = variant.handlers.filter((one) => handlerIds.includes(one.handler_id));
    const others = registry.all().filter((node) => {
      const { node_id } = node.file;
      const isOpen = registry.isUp(node_id) && node.drainedSince === null && !record.failedOn.has(node_id);
      return isOpen && failed.every(({ at }) => pinWords(at, node) === null);
    });
    const choices = others.slice(0, EVADE_NODES_MAX).map(({ file }) => ({
      ...{ session_id, variant: variant.variant_name, accuracy, latency_ms },
      placement: plan.handlers.map(({ handler_id, alternative, ...placed }) => ({
        ...{ handler_id, alternative },
        node_id: handlerIds.includes(handler_id) ? file.node_id : placed.node_id,
      })),
    }));
    const now = planner.quickest(request, choices, why);
    const result = now.admitted ? now : planner.quickest(request, choices, why, 'promised');
    return result.admitted ? result.plan : null;
  }

  #store(record: SessionRecord, former: SessionPlan, plan: SessionPlan): Promise<boolean> {
    return this.#options.table.update(record, (now) =>
      now.ended !== null || now.desired === 'stopped' || now.plan !== former
        ? null
        : { ...now, generation: now.generation + 1, plan },
    );
  }

  /** Tells when frames flow again after a re-placement. */
  watch(record: SessionRecord): void {
    const { recovery, stored } = record;
    if (recovery === null) return;
    const { registry, clock, bounds, events } = this.#options;
    const { session_id } = stored;
    if (clock.monotonicMs() - recovery.sinceMs > bounds.recoveryWatchMs) {
      record.recovery = null;
      const message = `session ${session_id}: no frames ${(bounds.recoveryWatchMs / 1000).toFixed(0)} s after ${recovery.nodeName} was lost`;
      events.emit({ kind: 'session.silent', session_id, message });
      return;
    }
    if (observedState(record, registry) !== 'running') return;
    const sinks = sinkIds(stored.plan).map((id) => [id, handlerStats(record, registry, id)] as const);
    const sequences = new Map(sinks.map(([id, stats]) => [id, stats?.last_sequence ?? -1]));
    const { baseline } = recovery;
    recovery.baseline ??= sequences;
    if (baseline === null) return;
    const flows = sinks.every(([id, stats]) => stats?.ended === true || sequences.get(id)! > (baseline.get(id) ?? -1));
    if (!flows) return;
    record.recovery = null;
    const seconds = (clock.now() - recovery.lostAt).toFixed(1);
    const lost = lostWords(recovery.tally, sinkTally(record, registry));
    const message = `session ${session_id}: frames flowing again ${seconds} s after loss of ${recovery.nodeName} | ${lost}`;
    events.emit({ kind: 'session.recovered', session_id, message });
  }

  /** Before another plan is stored: what sinks tell is of the plan that counts. */
  #watched(record: SessionRecord): Pick<Recovery, 'sinceMs' | 'tally' | 'baseline' | 'early'> {
    const { clock, registry } = this.#options;
    const tally = record.recovery?.tally ?? sinkTally(record, registry);
    return { sinceMs: clock.monotonicMs(), tally, baseline: null, early: new Set() };
  }

  #missing({ nodeIds }: SessionRecord): number[] {
    return [...nodeIds].filter((nodeId) => this.#options.registry.isMissing(nodeId));
  }

  #isDue({ triedVersion, triedMs }: Suspension): boolean {
    const { clock, bounds } = this.#options;
    return triedVersion !== this.#version() || clock.monotonicMs() - triedMs >= bounds.suspendedRetryMs;
  }

  #version(): number {
    return this.#options.registry.version + this.#options.table.version;
  }

  /**
   * Runs alone among plans; what was true before the wait is looked at again. `planned`: where it goes together with so many
   * others; false = that does not fit as things are, and nothing was done.
   */
  async #replan(record: SessionRecord, planned?: FleetPlanned, others = 0): Promise<boolean> {
    const { table, clock, events, registry } = this.#options;
    const { stored } = record;
    const { session_id } = stored;
    const missing = this.#missing(record);
    const request = table.planRequest(record);
    if (table.get(session_id) !== record || stored.ended !== null || stored.desired === 'stopped') return true;
    if (request === null || (missing.length === 0 && record.suspension === null)) return true;
    // One that waits runs nowhere, and so has left the nodes that are drained.
    const drained = registry.all().filter(({ drainedSince }) => drainedSince !== null && record.suspension !== null);
    const why = `placed together with ${plural(others, 'other')}`;
    const result =
      planned === undefined
        ? this.#plan(record, request, new Set([...missing, ...drained.map(({ file }) => file.node_id)]))
        : this.#options.planner.placed(request, planned, why);
    if (!result.admitted) {
      if (planned !== undefined) return false;
      this.#suspend(record, 'placement', result.refusal.reasons);
      return true;
    }
    const wasSuspended = record.suspension !== null;
    const watched = this.#watched(record);
    const done = await table.update(record, (now) =>
      now.ended !== null || now.desired === 'stopped'
        ? null
        : { ...now, generation: now.generation + 1, plan: result.plan },
    );
    if (!done) return true;
    this.#replans += 1;
    record.suspension = null;
    record.problems.clear();
    const names = missing.map((nodeId) => this.#nameOf(nodeId)).join(', ');
    if (missing.length > 0) {
      const lastSeen = Math.max(...missing.map((nodeId) => registry.get(nodeId)?.status.lastSeen ?? 0));
      const lostAt = lastSeen > 0 && stored.created_at < lastSeen ? lastSeen : clock.now();
      record.recovery = { nodeName: names, lostAt, ...watched };
    }
    const cause = missing.length > 0 ? `${names} lost` : 'placed again';
    const moves = movesWords(stored.plan, result.plan);
    const message = `session ${session_id}: ${cause} | ${moves}${wasSuspended ? ' | no longer suspended' : ''}`;
    events.emit({ kind: 'session.replaced', session_id, message });
    return true;
  }

  #plan({ stored }: SessionRecord, request: PlanRequest, missing: ReadonlySet<number>): PlanResult {
    const { planner } = this.#options;
    try {
      const now = planner.replan(stored.session_id, request, stored.plan, missing);
      // A session that was promised its place rather runs late on nodes that are slow for a while than not at all.
      return now.admitted ? now : planner.replan(stored.session_id, request, stored.plan, missing, 'promised');
    } catch (error) {
      const reasons = [toOrchestratorError(error).message];
      return { admitted: false, refusal: { service_name: stored.plan.service_name, reasons, candidates: [] } };
    }
  }

  /** `reasons`: what binds comes first. Told when that is another, not when figures in it are. */
  #suspend(record: SessionRecord, kind: Suspension['kind'], reasons: readonly string[]): void {
    const { clock, events, table } = this.#options;
    const before = record.suspension;
    const releases = kind === 'placement' && before?.kind !== 'placement';
    const { session_id } = record.stored;
    record.recovery = null;
    if (releases) table.released();
    const reason = reasons.join('; ');
    const cause = causeOf(reasons);
    record.suspension = { kind, reason, cause, triedVersion: this.#version(), triedMs: clock.monotonicMs() };
    if (before !== null && before.cause === cause) return;
    events.emit({ kind: 'session.suspended', session_id, message: `session ${session_id} suspended: ${reason}` });
  }

  #resume(record: SessionRecord): void {
    const { session_id } = record.stored;
    record.suspension = null;
    const message = `session ${session_id} resumed: every node that it needs is back`;
    this.#options.events.emit({ kind: 'session.resumed', session_id, message });
  }

  #nameOf(nodeId: number): string {
    return this.#options.registry.get(nodeId)?.file.node_name ?? `node ${nodeId}`;
  }
}

/** Figures by themselves, not those in a name such as `edge-1`. */
const FIGURES = /(?<![\w.-])\d+(?:\.\d+)?(?![\w-])/g;

/** What binds, without its figures: they differ at every look. */
const causeOf = ([first = '']: readonly string[]): string => first.replace(FIGURES, '#');

/** Whether something of the session can run on this node only, in whatever variant: planning again cannot help. */
function isAnchored({ service, stored }: SessionRecord, nodeId: number): boolean {
  if (service === null) return true;
  const there = stored.plan.handlers.filter((handler) => handler.node_id === nodeId);
  return there.some(({ handler_id }) =>
    service.variants.every((variant) => {
      const at = variant.handlers.find((one) => one.handler_id === handler_id)?.at;
      return at?.kind === 'source' || (at?.kind === 'node' && at.node_id === nodeId);
    }),
  );
}

/** `detect, align -> edge-2; recognize -> cloud` */
export function movesWords(before: SessionPlan, after: SessionPlan): string {
  const moved = new Map<string, string[]>();
  for (const handler of after.handlers) {
    const old = before.handlers.find((one) => one.handler_id === handler.handler_id);
    if (old?.node_id === handler.node_id && old.alternative === handler.alternative) continue;
    const swapped = old !== undefined && old.alternative !== handler.alternative;
    const name = swapped
      ? `${handler.handler_name} (${old.alternative} -> ${handler.alternative})`
      : handler.handler_name;
    moved.set(handler.node_name, [...(moved.get(handler.node_name) ?? []), name]);
  }
  const parts = [...moved].map(([node, names]) => `${names.join(', ')} -> ${node}`);
  return parts.length === 0 ? 'every handler where it was' : parts.join('; ');
}
