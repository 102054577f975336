/**
 * The coordinator in virtual time: what it believes of the fleet, and the very decisions of the product about it
 * (allocation/fleet/loop). It hears of the world late, through telemetry and failure detection, and acts once a second.
 *
 * A session that asks and is refused asks again ASK_AGAIN_S later; one that had a place and lost it waits, and is looked
 * at again every SUSPENDED_RETRY_S.
 */
import type { Allocator } from '../allocation/fleet/allocator.js';
import { Drift } from '../allocation/fleet/drift.js';
import { decide, isDueToLook, type LoopAction, type LoopReason } from '../allocation/fleet/loop.js';
import { type LoopEvent, type LoopRules, type LoopState, NO_LOOP_STATE } from '../allocation/fleet/loop-rules.js';
import { ADMITTED_UTILITY } from '../allocation/fleet/state.js';
import type { FleetNode, FleetPlanned, FleetSession, FleetSite, FleetSnapshot } from '../contracts/fleet.js';
import type { Profile } from '../contracts/plan.js';
import type { SessionRun } from './session-run.js';

/** As the product's bounds have it. */
const SUSPENDED_RETRY_S = 5;

const ASK_AGAIN_S = 30;

export interface ControlPlaneOptions {
  /** Without sessions. */
  readonly snapshot: FleetSnapshot;
  readonly allocator: Allocator;
  readonly rules: LoopRules;
}

interface Asking {
  readonly session: FleetSession;
  /** When it asks next; it is in the snapshot from the tick that follows to the decision. */
  nextS: number;
}

/** Handlers moved, and the times at which sessions moved, by reason. */
export interface MoveRecord {
  readonly atS: number;
  readonly session_id: number;
  readonly why: LoopReason;
  readonly handlers: number;
}

export class ControlPlane {
  readonly moves: MoveRecord[] = [];
  refusals = 0;
  decisions = 0;
  readonly #options: ControlPlaneOptions;
  #state: LoopState = NO_LOOP_STATE;
  #nodes: Map<number, FleetNode>;
  #sites: Map<string, FleetSite>;
  #profiles: readonly Profile[] = [];
  #drift = new Drift();
  readonly #runs = new Map<number, SessionRun>();
  /** Those that have a place or had one. */
  readonly #known = new Map<number, FleetSession>();
  readonly #plans = new Map<number, FleetPlanned>();
  readonly #asking = new Map<number, Asking>();
  #events: LoopEvent[] = [];
  #retriedS = Number.NEGATIVE_INFINITY;

  constructor(options: ControlPlaneOptions) {
    this.#options = options;
    this.#nodes = new Map(options.snapshot.nodes.map((one) => [one.node_id, one]));
    this.#sites = new Map(options.snapshot.sites.map((one) => [one.site, one]));
  }

  asks(run: SessionRun, atS: number): void {
    const { session_id } = run.facts;
    this.#runs.set(session_id, run);
    this.#asking.set(session_id, { session: run.facts, nextS: atS });
  }

  leaves(session_id: number): void {
    this.#runs.delete(session_id);
    this.#asking.delete(session_id);
    this.#plans.delete(session_id);
    if (this.#known.delete(session_id)) this.#events.push({ kind: 'departure', session_id });
  }

  /** Its camera is on another node now. */
  sourceMoved(session_id: number, source_node: number): void {
    const session = this.#known.get(session_id);
    if (session === undefined) return;
    this.#known.set(session_id, { ...session, source_node });
    this.#events.push({ kind: 'arrival', session_id });
  }

  nodeChanged(node_id: number, change: Partial<FleetNode>, kind: LoopEvent['kind'] & `node_${string}`): void {
    this.#nodes.set(node_id, { ...this.#nodes.get(node_id)!, ...change });
    this.#events.push({ kind, node_id });
  }

  linkChanged(
    where: { readonly node: number } | { readonly site: string },
    change: (segment: FleetSite['wan']) => FleetSite['wan'],
  ): void {
    if ('node' in where) {
      const node = this.#nodes.get(where.node)!;
      this.#nodes.set(where.node, { ...node, access: change(node.access) });
    } else {
      const site = this.#sites.get(where.site)!;
      this.#sites.set(where.site, { ...site, wan: change(site.wan) });
    }
    this.#events.push({ kind: 'link_changed' });
  }

  profilesRead(profiles: readonly Profile[]): void {
    this.#profiles = profiles;
    this.#events.push(...this.#drift.events(profiles, []));
  }

  measured(events: readonly LoopEvent[]): void {
    this.#events.push(...events);
  }

  /** Started anew from its store: what runs is known, what it was about to do is not. */
  restart(): void {
    this.#state = NO_LOOP_STATE;
    this.#drift = new Drift();
  }

  /** Latency that the plan of a session promises, ms; null: it has none. */
  promised(session_id: number): number | null {
    return this.#plans.get(session_id)?.latency_ms ?? null;
  }

  /** Of those that have a place: weight x (ADMITTED_UTILITY + accuracy), summed. */
  get utility(): number {
    let sum = 0;
    for (const [id, { accuracy }] of this.#plans) sum += this.#known.get(id)!.weight * (ADMITTED_UTILITY + accuracy);
    return sum;
  }

  /** Everybody who is there, whether admitted or not, as they asked: what any plan of this moment could be made of. */
  demand(): FleetSnapshot {
    return { ...this.snapshot(), profiles: [], sessions: [...this.#runs.values()].map(({ facts }) => facts) };
  }

  get running(): number {
    let count = 0;
    for (const one of this.#known.values()) if (one.previous !== undefined) count += 1;
    return count;
  }

  snapshot(asking: readonly FleetSession[] = []): FleetSnapshot {
    const { services } = this.#options.snapshot;
    return {
      ...{ nodes: [...this.#nodes.values()], sites: [...this.#sites.values()], services },
      ...{ profiles: [...this.#profiles], sessions: [...this.#known.values(), ...asking] },
    };
  }

  tick(atS: number): void {
    const { allocator, rules } = this.#options;
    const asking = [...this.#asking.values()].filter(({ nextS }) => nextS <= atS).map(({ session }) => session);
    const events = [
      ...this.#events,
      ...this.#waiting(atS),
      ...asking.map(({ session_id }): LoopEvent => ({ kind: 'arrival', session_id })),
    ];
    this.#events = [];
    if (events.length === 0 && !isDueToLook(this.#state, { atS, allocator, rules })) return;
    const held = new Set([...this.#runs].filter(([, run]) => run.starting).map(([id]) => id));
    const snapshot = this.snapshot(asking);
    const { actions, state } = decide({ snapshot, events, atS, state: this.#state, allocator, rules, held });
    this.#state = state;
    this.decisions += 1;
    for (const action of actions) this.#apply(action, atS);
    for (const { session_id } of asking) {
      const one = this.#asking.get(session_id);
      if (one !== undefined) one.nextS = atS + ASK_AGAIN_S;
    }
  }

  #waiting(atS: number): LoopEvent[] {
    if (atS - this.#retriedS < SUSPENDED_RETRY_S) return [];
    this.#retriedS = atS;
    return [...this.#known.values()]
      .filter(({ previous }) => previous === undefined)
      .map(({ session_id }) => ({ kind: 'arrival', session_id }));
  }

  #apply(action: LoopAction, atS: number): void {
    const { session_id } = action;
    const run = this.#runs.get(session_id);
    if (run === undefined) return;
    const session = this.#known.get(session_id) ?? run.facts;
    if (action.kind === 'refuse') {
      this.refusals += 1;
      const { previous, previous_variant: _, ...rest } = session;
      if (previous === undefined) return;
      this.#plans.delete(session_id);
      this.#known.set(session_id, rest);
      run.suspend();
      return;
    }
    if (action.kind === 'stay') return;
    const { planned, why, moved } = action;
    this.#asking.delete(session_id);
    this.#plans.set(session_id, planned);
    this.#known.set(session_id, { ...session, previous: planned.placement, previous_variant: planned.variant });
    if (why !== 'placed') this.moves.push({ atS, session_id, why, handlers: moved });
    run.place(planned);
  }
}
