/**
 * The planning loop around the live cluster: gathers what has happened, asks `decide`, and stores the plans that come of
 * it; the reconciler makes the nodes follow. What is decided and when is the decision's business (allocation/fleet/loop);
 * here is only the way in and out. Invariant: a plan is stored one session at a time, each checked against what the
 * others hold at that moment, so that a move which no longer fits is left out rather than forced.
 *
 * Failover stands before it: a lost node's victims are placed again at once and with full reasons. What finds no place
 * there waits, and for those that wait the loop makes room.
 */
import type { Allocator } from '../allocation/fleet/allocator.js';
import { ORCHESTRATOR } from '../allocation/fleet/allocator.js';
import { Drift } from '../allocation/fleet/drift.js';
import { decide, isDueToLook, type LoopAction, type LoopReason } from '../allocation/fleet/loop.js';
import {
  DEFAULT_LOOP_RULES,
  type LoopEvent,
  type LoopRules,
  type LoopState,
  NO_LOOP_STATE,
  withEvents,
} from '../allocation/fleet/loop-rules.js';
import { plural } from '../allocation/words.js';
import { toOrchestratorError } from '../contracts/errors.js';
import type { Objective, PlanRequest, PlanResult, SessionPlan } from '../contracts/plan.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import type { Drains } from './drains.js';
import type { EventLog } from './event-log.js';
import { movesWords } from './failover.js';
import { Lateness } from './lateness.js';
import type { Mover } from './mover.js';
import type { NodePace } from './node-pace.js';
import type { NodeChange, NodeRegistry } from './node-registry.js';
import type { CoordinatorBounds } from './options.js';
import { NEW_SESSION, type Planner } from './planner.js';
import type { Reconciler } from './reconciler.js';
import { observedState, type SessionRecord } from './session-record.js';
import type { SessionTable } from './session-table.js';

export interface PlanningLoopOptions {
  readonly table: SessionTable;
  readonly planner: Pick<Planner, 'placed'>;
  readonly registry: NodeRegistry;
  readonly reconciler: Pick<Reconciler, 'kick'>;
  readonly mover: Pick<Mover, 'begin'>;
  readonly drains: Pick<Drains, 'news' | 'stay'>;
  readonly pace: Pick<NodePace, 'observe' | 'factorOf'>;
  readonly events: EventLog;
  readonly allocator: Allocator;
  /** Where they differ from the defaults. */
  readonly rules?: Partial<LoopRules> | undefined;
  readonly bounds: CoordinatorBounds;
  readonly clock: Clock;
  readonly logger: Logger;
}

type Placement = Extract<LoopAction, { kind: 'place' }>;

const WHY: Readonly<Record<LoopReason, string>> = {
  placed: 'placed',
  repaired: 'placed again',
  left: 'leaves a drained node',
  made_room: 'makes room for others',
  relieved: 'too slow where it was',
  improved: 'improved in calm',
};

export class PlanningLoop {
  readonly #options: PlanningLoopOptions;
  readonly #rules: LoopRules;
  #state: LoopState = NO_LOOP_STATE;
  readonly #drift = new Drift();
  readonly #lateness: Lateness;
  #driftMs = Number.NEGATIVE_INFINITY;
  #nodeEvents: LoopEvent[] = [];
  #known: ReadonlySet<number> = new Set();
  /** Who could not be moved, and when that was, as waiting sessions were looked at last. */
  #lookedAt = { held: '', ms: Number.NEGATIVE_INFINITY };
  #timer: NodeJS.Timeout | null = null;
  #turn: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: PlanningLoopOptions) {
    this.#options = options;
    this.#rules = { ...DEFAULT_LOOP_RULES, ...options.rules };
    this.#lateness = new Lateness(options);
  }

  start(): void {
    this.#known = new Set(this.#ids());
    this.#next();
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#turn;
  }

  nodeChanged(node_id: number, change: NodeChange): void {
    if (change === 'up') this.#nodeEvents.push({ kind: 'node_joined', node_id });
    else if (change !== 'heartbeat') this.#nodeEvents.push({ kind: 'node_lost', node_id });
  }

  get #isOurs(): boolean {
    return this.#options.allocator === ORCHESTRATOR;
  }

  /**
   * A plan for a session that has no room beside the others as they are: they are moved for it, within the budget, when
   * `mayMove`. Runs while no other plan is being made.
   */
  async makeRoom(request: PlanRequest, mayMove: boolean): Promise<PlanResult> {
    const { planner } = this.#options;
    const refuse = (...reasons: string[]): PlanResult => {
      const { service_name } = request.service;
      return { admitted: false, refusal: { service_name, reasons, candidates: [] } };
    };
    if (!this.#isOurs) return refuse();
    const before = this.#state;
    const session_id = NEW_SESSION;
    const actions = this.#decide([{ kind: 'arrival', session_id }], { session_id, request });
    if (!mayMove) this.#state = before;
    const own = actions.find((one) => one.session_id === session_id);
    if (own?.kind !== 'place') return refuse();
    const others = actions.filter((one): one is Placement => one.kind === 'place' && one !== own);
    if (others.length > 0 && !mayMove)
      return refuse(`would be admitted if ${plural(others.length, 'other')} made room`);
    await this.#apply(others);
    return planner.placed(request, own.planned, `${plural(others.length, 'other')} made room for it`);
  }

  #ids(): number[] {
    return this.#options.table.active().map(({ stored }) => stored.session_id);
  }

  #next(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#turn = this.#round().finally(() => this.#next());
    }, this.#options.bounds.planPeriodMs);
  }

  async #round(): Promise<void> {
    const { table, logger } = this.#options;
    try {
      await table.planning(async () => {
        const actions = this.#decide(this.#news());
        for (const one of actions) if (one.kind === 'stay') this.#stay(one.session_id, one.reason);
        await this.#apply(actions.filter((one) => one.kind === 'place'));
      });
    } catch (error) {
      const { code, message } = toOrchestratorError(error);
      logger.error({ err: error, code }, `planning loop: ${message}`);
    }
  }

  #stay(sessionId: number, reason: string): void {
    const record = this.#options.table.get(sessionId);
    if (record !== undefined) this.#options.drains.stay(record, reason);
  }

  #decide(
    events: readonly LoopEvent[],
    extra?: { readonly session_id: number; readonly request: PlanRequest },
  ): readonly LoopAction[] {
    const { table, allocator, clock } = this.#options;
    const atS = clock.monotonicMs() / 1000;
    if (events.length === 0 && !isDueToLook(this.#state, { atS, allocator, rules: this.#rules })) {
      // Most of the time: then the snapshot, which grows with the fleet, need not be made.
      this.#state = withEvents(this.#state, events, atS, this.#rules);
      return [];
    }
    const { actions, state } = decide({
      ...{ snapshot: table.fleet(extra), events, atS, state: this.#state },
      ...{ allocator, rules: this.#rules, held: this.#held() },
    });
    this.#state = state;
    return actions;
  }

  #news(): LoopEvent[] {
    const { table, registry, pace } = this.#options;
    const now = new Set(this.#ids());
    const came = [...now].filter((id) => !this.#known.has(id));
    const went = [...this.#known].filter((id) => !now.has(id));
    const nodes = this.#nodeEvents;
    this.#known = now;
    this.#nodeEvents = [];
    return [
      ...nodes,
      ...came.map((session_id) => ({ kind: 'arrival' as const, session_id })),
      ...went.map((session_id) => ({ kind: 'departure' as const, session_id })),
      ...this.#options.drains.news(),
      ...pace.observe(registry.all(), table.active()),
      ...this.#waiting(),
      ...this.#drifted(),
      ...this.#lateness.missed(table.active()),
    ];
  }

  /** As often as profiles are read: all pairs of nodes are gone through. */
  #drifted(): LoopEvent[] {
    const { table, registry, pace, clock, bounds } = this.#options;
    const ms = clock.monotonicMs();
    if (ms - this.#driftMs < bounds.profilePeriodMs) return [];
    this.#driftMs = ms;
    // Those that had just been placed when a node became slow could not be moved then.
    const isSlow = registry.all().some(({ file }) => pace.factorOf(file.node_id) > 1);
    return [
      ...this.#drift.events(table.profiles, table.paths()),
      ...(isSlow ? [{ kind: 'profile_drift' as const }] : []),
    ];
  }

  /** Sessions without a place are looked at again when others may be moved that could not, and now and then. */
  #waiting(): LoopEvent[] {
    const { table, clock, bounds } = this.#options;
    const waiting = table.active().filter((record) => record.suspension?.kind === 'placement');
    const held = [...this.#held()].join(' ');
    const ms = clock.monotonicMs();
    if (held === this.#lookedAt.held && ms - this.#lookedAt.ms < bounds.suspendedRetryMs) return [];
    this.#lookedAt = { held, ms };
    return waiting.map(({ stored }) => ({ kind: 'arrival', session_id: stored.session_id }));
  }

  /** Those that run, are ready to, or wait for a place may be moved; what starts, stops or stands in a template may not. */
  #held(): Set<number> {
    const held = this.#options.table.active().filter((record) => !this.#mayMove(record));
    return new Set(held.map(({ stored }) => stored.session_id));
  }

  #mayMove(record: SessionRecord): boolean {
    const { registry, clock } = this.#options;
    const { suspension, service, failedMove, stored } = record;
    if (suspension?.kind === 'placement') return true;
    if (service === null || service.template !== null) return false;
    // What could not be made just now cannot be made now.
    const isFresh = failedMove !== null && clock.monotonicMs() - failedMove.atMs < this.#rules.dwellS * 1000;
    if (isFresh && failedMove.generation === stored.generation) return false;
    const state = observedState(record, registry);
    return state === 'running' || (state === 'ready' && stored.desired === 'ready');
  }

  /** In whatever order they fit: one may need the room that another leaves. */
  async #apply(placements: readonly Placement[]): Promise<void> {
    let left = [...placements];
    for (let before = -1; left.length > 0 && left.length !== before; ) {
      before = left.length;
      const rest: Placement[] = [];
      for (const one of left) if (!(await this.#applyOne(one))) rest.push(one);
      left = rest;
    }
    for (const { session_id, why } of left)
      this.#options.logger.warn(
        { session_id, why },
        `session ${session_id}: a planned move does not fit and is left out`,
      );
  }

  /** True when there is nothing left to do for it. */
  async #applyOne({ session_id, planned, why }: Placement): Promise<boolean> {
    const { table, planner, allocator, registry, reconciler, mover, events } = this.#options;
    const record = table.get(session_id);
    const request = record === undefined ? null : table.planRequest(record);
    if (record === undefined || request === null) return true;
    const before = record.stored.plan;
    const result = planner.placed(request, planned, `${allocator.name}: ${WHY[why]}`);
    if (!result.admitted) return false;
    const reason = why === 'relieved' ? `to hold ${goalWords(request.objective)}` : WHY[why];
    const words = `${reason} | ${movesWords(before, result.plan)}${accuracyWords(before, result.plan)}`;
    if (observedState(record, registry) === 'running') {
      if (await mover.begin(record, result.plan, words)) reconciler.kick(session_id);
      return true;
    }
    const waited = record.suspension;
    const done = await table.update(record, (now) =>
      now.ended !== null || now.desired === 'stopped'
        ? null
        : { ...now, generation: now.generation + 1, plan: result.plan },
    );
    if (!done) return true;
    record.suspension = null;
    record.problems.clear();
    const message = `session ${session_id}: ${words}${waited === null ? '' : ' | no longer suspended'}`;
    events.emit({ kind: 'session.replaced', session_id, message });
    reconciler.kick(session_id);
    return true;
  }
}

/** `30 fps within 80 ms` */
function goalWords({ fps, latency_ms_max }: Objective): string {
  return `${fps} fps${latency_ms_max === undefined ? '' : ` within ${latency_ms_max} ms`}`;
}

/** ` | accuracy 0.99 -> 0.96`; empty when it stays. */
function accuracyWords(before: SessionPlan, after: SessionPlan): string {
  const [was, is] = [before, after].map(({ accuracy }) => accuracy.toFixed(3));
  return was === is ? '' : ` | accuracy ${was} -> ${is}`;
}
