/**
 * Whether nodes are as quick as usual, from the heartbeats. A node is slow when the cores of its machine are busy and its
 * handlers take longer for a packet than they did at their quickest there, both for a while. Then everything on it is
 * planned to take so much longer, handlers and alternatives that do not run there as well: they would share the same
 * cores. Busy cores alone slow nobody down, and longer packets on idle cores are the content's doing, which profiles tell.
 *
 *     usual --busy and slower for `confirmS`--> slow --neither for `calmS`, or lost--> usual
 *
 * Surprising: profiles leave waits for a core out, so slowness is told from the handlers' own figures, which have them in.
 * Profiles are also means over minutes: of a node that is slow, or was within their window, the quickest figures count
 * where they are lower, times the slowness of now; else a short overload would keep its sessions down long after.
 */
import type { LoopEvent, LoopRules } from '../allocation/fleet/loop-rules.js';
import { type Profile, profileKey } from '../contracts/plan.js';
import type { Clock } from '../std/clock.js';
import type { EventLog } from './event-log.js';
import type { RegisteredNode } from './node-registry.js';
import type { SessionRecord } from './session-record.js';

/** Percent of a machine's cores: above, whoever comes waits for a core; below, there is a free one most of the time. */
const BUSY_CPU = 85;
const CALM_CPU = 70;

/** Times the quickest: half as much again as profiles waver, and back within that. */
const SLOW = 1.3;
const USUAL = 1.15;

/** Slowness is rounded off at so much: what is slower yet gets nothing placed on it anyway. */
const SLOW_MAX = 20;

/** Share of the way that the slowness of a slow node goes to what is measured, at each look: it wavers a lot. */
const FOLLOWING_SHARE = 0.2;

/** A mean is taken over at least so much of `confirmS` and so many packets: single ones waver, and two must agree. */
const WINDOW_SHARE = 0.6;
const WINDOW_PACKETS = 5;

/** Handlers that are quicker than this are not looked at: their time is the scheduler's, ms. */
const SERVICE_MS_MIN = 1;

/** Figures remembered: more than a large cluster has kinds of handlers times nodes. */
const QUICKEST_MAX = 100_000;

export interface NodePaceOptions {
  readonly events: Pick<EventLog, 'emit'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly rules: Pick<LoopRules, 'confirmS' | 'calmS'>;
  /** Samples older than this are in no profile, ms. */
  readonly profileWindowMs: number;
}

interface Window {
  readonly key: string;
  readonly atMs: number;
  readonly processed: number;
  readonly totalMs: number;
  /** Of the window before: its mean and its packets. */
  readonly mean: number | null;
  readonly packets: number;
}

interface Pace {
  factor: number;
  /** Since when it looks slow, or usual, against what it is; monotonic ms. */
  turnsSinceMs: number | null;
  slowUntilMs: number;
}

export class NodePace {
  readonly #options: NodePaceOptions;
  readonly #paces = new Map<number, Pace>();
  /** By node, session and handler. */
  #windows = new Map<string, Window>();
  /** Shortest mean service time, ms, by handler type, profile key and node. */
  readonly #quickest = new Map<string, number>();

  constructor(options: NodePaceOptions) {
    this.#options = options;
  }

  /** Times that packets take longer on the node now; 1 = as usual. */
  factorOf(nodeId: number): number {
    return this.#paces.get(nodeId)?.factor ?? 1;
  }

  /** What handlers need on the nodes as they are now. */
  profiles(measured: readonly Profile[]): readonly Profile[] {
    if (this.#paces.size === 0) return measured;
    return measured.map((profile) => {
      const pace = this.#paces.get(profile.node_id);
      const quickest = this.#quickest.get(keyOf(profile.handler_type, profile.key, profile.node_id));
      // What was measured on the slow node only has its slowness in it.
      if (pace === undefined || quickest === undefined) return profile;
      const service_ms = Math.min(quickest, profile.service_ms) * pace.factor;
      return { ...profile, service_ms, cpu_ms: profile.cpu_ms * pace.factor };
    });
  }

  /** Looks at the newest heartbeats; answers what has changed. */
  observe(nodes: readonly RegisteredNode[], records: readonly SessionRecord[]): LoopEvent[] {
    const nowMs = this.#options.clock.monotonicMs();
    this.#measure(nodes, records, nowMs);
    const slowness = this.#slowness(nodes);
    return nodes.flatMap((node) => this.#judge(node, slowness.get(node.file.node_id) ?? null, nowMs));
  }

  /** What was never seen there at the usual pace is not learnt from a slow node: it would look quick by its own measure. */
  #remember(key: string, serviceMs: number, nodeId: number): void {
    const known = this.#quickest.get(key);
    if (known === undefined && this.factorOf(nodeId) > 1) return;
    this.#quickest.set(key, Math.min(known ?? serviceMs, serviceMs));
    if (this.#quickest.size > QUICKEST_MAX) this.#quickest.delete(this.#quickest.keys().next().value!);
  }

  #measure(nodes: readonly RegisteredNode[], records: readonly SessionRecord[], nowMs: number): void {
    const byId = new Map(nodes.map((node) => [node.file.node_id, node]));
    const windows = new Map<string, Window>();
    for (const { stored } of records) {
      for (const { handler_id, handler_type, node_id, params } of stored.plan.handlers) {
        const status = byId.get(node_id)?.status;
        const observed = status?.state === 'up' ? status.sessions.get(stored.session_id) : undefined;
        const stats = observed?.handlers.find((one) => one.handler_id === handler_id)?.stats;
        if (stats === undefined) continue;
        const id = `${node_id} ${stored.session_id} ${handler_id}`;
        const key = keyOf(handler_type, profileKey(params), node_id);
        const now = { key, atMs: nowMs, processed: stats.processed, totalMs: stats.service_ms_total };
        windows.set(id, this.#advanced(this.#windows.get(id), now, node_id));
      }
    }
    this.#windows = windows;
  }

  #advanced(before: Window | undefined, now: Omit<Window, 'mean' | 'packets'>, nodeId: number): Window {
    // Another process, or another model, counts from its own beginning.
    if (before === undefined || before.key !== now.key || now.processed < before.processed)
      return { ...now, mean: null, packets: 0 };
    const packets = now.processed - before.processed;
    if (packets < WINDOW_PACKETS || now.atMs - before.atMs < WINDOW_SHARE * 1000 * this.#options.rules.confirmS)
      return before;
    const mean = (now.totalMs - before.totalMs) / packets;
    this.#remember(now.key, mean, nodeId);
    return { ...now, mean, packets };
  }

  /** By node: time taken by its handlers over the time that they took at their quickest; nodes of one machine as one. */
  #slowness(nodes: readonly RegisteredNode[]): Map<number, number> {
    const machineOf = new Map(nodes.map((node) => [node.file.node_id, machine(node)]));
    const sums = new Map<string, { taken: number; quickest: number }>();
    for (const [id, { key, mean, packets }] of this.#windows) {
      const quickest = this.#quickest.get(key);
      if (mean === null || quickest === undefined || quickest < SERVICE_MS_MIN) continue;
      const name = machineOf.get(Number(id.split(' ', 1)[0]))!;
      const sum = sums.get(name) ?? { taken: 0, quickest: 0 };
      sum.taken += mean * packets;
      sum.quickest += quickest * packets;
      sums.set(name, sum);
    }
    return new Map(
      [...machineOf].flatMap(([nodeId, name]): [number, number][] => {
        const sum = sums.get(name);
        return sum === undefined ? [] : [[nodeId, Math.min(SLOW_MAX, sum.taken / sum.quickest)]];
      }),
    );
  }

  #judge(node: RegisteredNode, slowness: number | null, nowMs: number): LoopEvent[] {
    const { node_id } = node.file;
    if (node.status.state !== 'up') {
      // Whatever comes back is looked at anew.
      this.#paces.delete(node_id);
      return [];
    }
    const cpu = node.status.cpuUtil;
    const pace = this.#paces.get(node_id) ?? { factor: 1, turnsSinceMs: null, slowUntilMs: Number.NEGATIVE_INFINITY };
    const wasSlow = pace.factor > 1;
    const isBusy = cpu !== null && cpu >= BUSY_CPU && slowness !== null && slowness >= SLOW;
    const isCalm = cpu === null || cpu < CALM_CPU || (slowness !== null && slowness < USUAL);
    const turns = wasSlow ? isCalm : isBusy;
    pace.turnsSinceMs = turns ? (pace.turnsSinceMs ?? nowMs) : null;
    if (wasSlow) pace.slowUntilMs = nowMs;
    const { confirmS, calmS } = this.#options.rules;
    const lastsS = pace.turnsSinceMs === null ? -1 : (nowMs - pace.turnsSinceMs) / 1000;
    const isTime = lastsS >= (wasSlow ? calmS : confirmS);
    if (isTime) pace.turnsSinceMs = null;
    const before = pace.factor;
    if (isTime) pace.factor = wasSlow ? 1 : slowness!;
    else if (wasSlow && isBusy) pace.factor += FOLLOWING_SHARE * (slowness! - pace.factor);
    // Its samples of the slow time are in profiles until then.
    const isForgotten = pace.factor === 1 && nowMs - pace.slowUntilMs > this.#options.profileWindowMs;
    if (isForgotten && pace.turnsSinceMs === null) this.#paces.delete(node_id);
    else this.#paces.set(node_id, pace);
    return pace.factor > 1 === before > 1 ? [] : [this.#told(node, pace.factor, cpu)];
  }

  #told({ file }: RegisteredNode, factor: number, cpu: number | null): LoopEvent {
    const { node_id, node_name } = file;
    const kind = factor > 1 ? ('node_slowed' as const) : ('node_recovered' as const);
    const message =
      factor > 1
        ? `${node_name} is overloaded: cpu ${cpu!.toFixed(0)} %, packets take ${factor.toFixed(1)} times as long`
        : `${node_name} is as quick as usual again`;
    this.#options.events.emit({ kind: factor > 1 ? 'node.slow' : 'node.usual', node_id, message });
    return { kind, node_id };
  }
}

/** Agents of one machine share its cores. */
function machine({ file, status }: RegisteredNode): string {
  return status.facts === null ? `node ${file.node_id}` : `host ${status.facts.hostname}`;
}

const keyOf = (handlerType: number, key: string, nodeId: number): string => `${handlerType}|${key}|${nodeId}`;
