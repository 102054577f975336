/**
 * One run: a scenario under one algorithm, from its seed. Frames, nodes, links and the coordinator share one calendar;
 * the same scenario, size, seed and algorithm give the same report, number by number.
 */
import type { Allocator } from '../allocation/fleet/allocator.js';
import { DEFAULT_LOOP_RULES, type LoopEvent, type LoopRules } from '../allocation/fleet/loop-rules.js';
import type { FleetSnapshot } from '../contracts/fleet.js';
import { Accounts } from './accounts.js';
import { Calendar } from './calendar.js';
import { Chance } from './chance.js';
import { ControlPlane } from './control-plane.js';
import { DataPlane } from './data-plane.js';
import { SETTLED_S } from './fleets.js';
import type { Frame, FrameEnd } from './pipeline.js';
import { Recovery } from './recovery.js';
import { type Report, reportOf } from './report.js';
import type { Scenario, Script, Size, Visitor, WorldEvent } from './scenario.js';
import { SessionRun } from './session-run.js';
import { PROFILE_PERIOD_S, Telemetry } from './telemetry.js';

/** From the death of a node to the coordinator's knowing it, s; a node's return, and a changed link. As measured live. */
const LOST_SEEN_S = 0.5;
const RETURN_SEEN_S = 1;
const LINK_SEEN_S = 5;

/** The coordinator looks once a second, as in the product. */
const TICK_S = 1;

/** Least rate that a link can be believed to have, Mbit/s: a snapshot has no word for a link that is cut. */
const CUT_MBIT = 1e-6;

/** Latencies are compared with what was predicted over the last part of the frames, s. */
const COMPARED_S = 60;

export interface SimulateOptions {
  readonly scenario: Scenario;
  readonly size: Size;
  readonly seed: number;
  readonly allocator: Allocator;
  readonly rules?: Partial<LoopRules>;
  /** Called before the first event after the fleet has filled, and at the end. */
  readonly onCheckpoint?: (checkpoint: Checkpoint) => void;
}

/** A plan in force, and everything that another could have been made of. */
export interface Checkpoint {
  readonly atS: number;
  readonly demand: FleetSnapshot;
  /** Weight x (10 + accuracy) over the sessions that have a place. */
  readonly utility: number;
}

/** Before what happens in the same second, s. */
const CHECKPOINT_BEFORE_S = 0.5;

export function simulate(options: SimulateOptions): Report {
  return new Simulation(options).run();
}

class Simulation {
  readonly #options: SimulateOptions;
  readonly #script: Script;
  readonly #calendar = new Calendar();
  readonly #accounts = new Accounts();
  readonly #telemetry = new Telemetry();
  readonly #runs = new Map<number, SessionRun>();
  readonly #recovery = new Recovery();
  readonly #plane: DataPlane;
  readonly #control: ControlPlane;
  readonly #noise: Chance;
  #filmUntilMs = 0;
  #rateNoise = 0;
  #coordinatorUp = true;
  #stale = { delayS: 0, lostShare: 0 };

  constructor(options: SimulateOptions) {
    const { scenario, size, seed, allocator, rules } = options;
    this.#options = options;
    this.#script = scenario.script(size, seed);
    const { fleet } = this.#script;
    this.#noise = new Chance(seed * 31 + 7);
    this.#plane = new DataPlane({
      ...{ snapshot: fleet, calendar: this.#calendar, chance: new Chance(seed * 31 + 5) },
      onEnd: (frame, end) => this.#ended(frame, end),
      onSample: (sample) => this.#telemetry.sample(sample),
    });
    this.#control = new ControlPlane({ snapshot: fleet, allocator, rules: { ...DEFAULT_LOOP_RULES, seed, ...rules } });
  }

  run(): Report {
    const { visitors, events, windows, durationS, settledS = SETTLED_S } = this.#script;
    for (const one of visitors) this.#atS(one.fromS, () => this.#comes(one));
    for (const one of events) this.#atS(one.atS, () => this.#happens(one));
    for (const { fromS, untilS } of windows) this.#atS(fromS, () => this.#film(untilS));
    const lastS = windows.at(-1)?.untilS ?? 0;
    this.#atS(Math.max(windows.at(-1)?.fromS ?? 0, lastS - COMPARED_S), () => this.#mark());
    for (const atS of [settledS, durationS]) this.#atS(atS - CHECKPOINT_BEFORE_S, () => this.#checkpoint());
    for (let atS = TICK_S; atS <= durationS; atS += TICK_S) this.#atS(atS, () => this.#second(atS));
    this.#calendar.runUntil(durationS * 1000);
    const { scenario, size, seed, allocator } = this.#options;
    return reportOf({
      ...{ scenario: scenario.name, algorithm: allocator.name, seed, size, durationS, settledS },
      ...{ framesS: windows.reduce((sum, one) => sum + one.untilS - one.fromS, 0) },
      ...{ accounts: this.#accounts, control: this.#control, recovery: this.#recovery.summary() },
      visitors,
    });
  }

  #atS(atS: number, act: () => void): void {
    this.#calendar.at(atS * 1000, act);
  }

  #comes({ session, fromS, untilS }: Visitor): void {
    const { fleet } = this.#script;
    const { session_id } = session;
    const run = new SessionRun({
      ...{ facts: session, calendar: this.#calendar, plane: this.#plane, accounts: this.#accounts },
      service: fleet.services.find((one) => one.service_name === session.service)!,
      // Cameras are the same under every algorithm.
      chance: new Chance(this.#options.seed * 1_000_003 + session_id),
    });
    this.#runs.set(session_id, run);
    this.#control.asks(run, fromS);
    if (this.#filmUntilMs > this.#calendar.nowMs) run.film(this.#filmUntilMs);
    if (Number.isFinite(untilS)) this.#atS(untilS, () => this.#goes(run));
  }

  #goes(run: SessionRun): void {
    run.end();
    this.#runs.delete(run.facts.session_id);
    this.#control.leaves(run.facts.session_id);
  }

  #film(untilS: number): void {
    this.#filmUntilMs = untilS * 1000;
    for (const run of this.#runs.values()) run.film(this.#filmUntilMs);
  }

  #checkpoint(): void {
    const { utility } = this.#control;
    this.#options.onCheckpoint?.({ atS: this.#calendar.nowMs / 1000, demand: this.#control.demand(), utility });
  }

  #mark(): void {
    for (const one of this.#accounts.sessions.values()) one.mark();
  }

  #ended(frame: Frame, end: FrameEnd): void {
    const { nowMs } = this.#calendar;
    this.#accounts.of(frame.sessionId).add(frame, end, nowMs);
    if (end !== 'in_time') return;
    this.#accounts.accuracySum += frame.pipeline.planned.accuracy;
    this.#recovery.inTime(frame.sessionId, frame.emittedMs);
  }

  #second(atS: number): void {
    if (this.#rateNoise > 0) {
      for (const run of this.#runs.values()) run.rate = this.#noise.uniform(1 - this.#rateNoise, 1 + this.#rateNoise);
    }
    const isFilming = this.#calendar.nowMs <= this.#filmUntilMs;
    if (isFilming) {
      this.#hears(this.#telemetry.missed(this.#runs.values(), this.#accounts, this.#calendar.nowMs));
      if (atS % PROFILE_PERIOD_S === 0) {
        const profiles = this.#telemetry.profiles();
        this.#atS(atS + this.#stale.delayS, () => this.#control.profilesRead(profiles));
      }
    }
    if (this.#coordinatorUp) this.#control.tick(atS);
  }

  #hears(events: readonly LoopEvent[]): void {
    const { delayS, lostShare } = this.#stale;
    const heard = lostShare === 0 ? events : events.filter(() => !this.#noise.happens(lostShare));
    if (heard.length === 0) return;
    if (delayS === 0) this.#control.measured(heard);
    else this.#atS(this.#calendar.nowMs / 1000 + delayS, () => this.#control.measured(heard));
  }

  /** What the coordinator learns of at once when it is up, or when it comes up again. */
  #seen(afterS: number, act: () => void): void {
    this.#atS(this.#calendar.nowMs / 1000 + afterS, () => {
      act();
      if (this.#coordinatorUp) this.#control.tick(this.#calendar.nowMs / 1000);
    });
  }

  #happens(event: WorldEvent): void {
    const { world } = this.#plane;
    switch (event.kind) {
      case 'node_dies': {
        const node = world.node(event.node_id);
        this.#recovery.died(event.node_id, this.#runs.values(), this.#calendar.nowMs);
        this.#plane.kill(node);
        this.#seen(LOST_SEEN_S, () => this.#control.nodeChanged(event.node_id, { up: false }, 'node_lost'));
        return;
      }
      case 'node_returns':
        world.node(event.node_id).up = true;
        this.#seen(RETURN_SEEN_S, () => this.#control.nodeChanged(event.node_id, { up: true }, 'node_joined'));
        return;
      case 'drain':
        this.#seen(0, () => this.#control.nodeChanged(event.node_id, { drained: true }, 'node_drained'));
        return;
      case 'undrain':
        this.#seen(0, () => this.#control.nodeChanged(event.node_id, { drained: false }, 'node_joined'));
        return;
      case 'link':
        this.#linkChanges(event);
        return;
      case 'content':
        world.workFactor.set(event.handler_type, event.factor);
        return;
      case 'slow':
        world.node(event.node_id).slowdown = event.factor;
        return;
      case 'camera_moves':
        this.#cameraMoves(event.session_id, event.node_id);
        return;
      case 'rate_noise':
        this.#rateNoise = event.share;
        return;
      case 'coordinator_stops':
        this.#coordinatorUp = false;
        return;
      case 'coordinator_starts':
        this.#coordinatorUp = true;
        this.#control.restart();
        return;
      case 'stale_telemetry':
        this.#stale = event;
        return;
    }
  }

  #linkChanges({ where, share, extraMs }: Extract<WorldEvent, { kind: 'link' }>): void {
    const base = 'node' in where ? this.#fleetNode(where.node).access : this.#fleetSite(where.site).wan;
    this.#plane.world.changeLink(where, share, extraMs);
    this.#seen(LINK_SEEN_S, () =>
      this.#control.linkChanged(where, () => ({
        latency_ms: base.latency_ms + extraMs,
        up_mbit: Math.max(CUT_MBIT, base.up_mbit * share),
        down_mbit: Math.max(CUT_MBIT, base.down_mbit * share),
      })),
    );
  }

  #fleetNode(id: number): FleetSnapshot['nodes'][number] {
    return this.#plane.world.node(id).facts;
  }

  #fleetSite(name: string): FleetSnapshot['sites'][number] {
    return this.#script.fleet.sites.find((one) => one.site === name)!;
  }

  #cameraMoves(sessionId: number, nodeId: number): void {
    const run = this.#runs.get(sessionId);
    if (run === undefined) return;
    run.moveCamera(nodeId);
    this.#recovery.hit(run, this.#calendar.nowMs);
    this.#seen(0, () => this.#control.sourceMoved(sessionId, nodeId));
  }
}
