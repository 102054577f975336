/**
 * Frames through handlers and over links, as delivery `latest` has it: queues are bounded and the oldest goes, what is
 * past its deadline goes anywhere, and every frame ends exactly once. Work and bytes are drawn around what services
 * declare; nothing here knows what the planner predicted.
 */
import type { FleetSnapshot } from '../contracts/fleet.js';
import { LATEST_WINDOW_PACKETS } from '../contracts/limits.js';
import type { Calendar } from './calendar.js';
import type { Chance } from './chance.js';
import type { Frame, FrameEnd, LinkRun, Pipeline, Stage } from './pipeline.js';
import { type Transit, type Visit, World, type WorldNode } from './world.js';

/** Spread of work and of packet sizes, standard deviation over mean; lognormal. */
export const CPU_CV = 0.2;
export const GPU_CV = 0.1;
export const BYTES_CV = 0.2;

/** A pipeline without new frames is empty after this, ms: every queue in it is a few packets long. */
const DRAIN_MS = 30_000;

/** What a handler needed for one packet, as its node reports it. */
export interface Sample {
  readonly stage: Stage;
  readonly serviceMs: number;
  readonly cpuMs: number;
  readonly bytes: number;
}

export interface DataPlaneOptions {
  readonly snapshot: FleetSnapshot;
  readonly calendar: Calendar;
  readonly chance: Chance;
  readonly onEnd: (frame: Frame, end: FrameEnd) => void;
  readonly onSample: (sample: Sample) => void;
}

export class DataPlane {
  readonly world: World;
  readonly #calendar: Calendar;
  readonly #chance: Chance;
  readonly #onEnd: DataPlaneOptions['onEnd'];
  readonly #onSample: DataPlaneOptions['onSample'];

  constructor({ snapshot, calendar, chance, onEnd, onSample }: DataPlaneOptions) {
    this.#calendar = calendar;
    this.#chance = chance;
    this.#onEnd = onEnd;
    this.#onSample = onSample;
    this.world = new World({
      ...{ snapshot, calendar, chance },
      onCpu: (visit) => this.#cpuDone(visit),
      onGpu: (visit) => this.#processed(visit),
      onArrival: (transit) => this.#arrived(transit),
      onCut: (transit) => {
        this.#left(transit.link);
        this.#end(transit.frame, 'link_cut');
      },
    });
  }

  /** A camera's frame enters at the pipeline's sources. */
  emit(sessionId: number, pipeline: Pipeline, latencyMsMax: number): Frame {
    const emittedMs = this.#calendar.nowMs;
    const frame: Frame = {
      sessionId,
      pipeline,
      emittedMs,
      deadlineMs: emittedMs + latencyMsMax,
      came: pipeline.joins ? new Uint8Array(pipeline.stages.length) : null,
      sinksLeft: pipeline.sinks,
      ended: false,
    };
    for (const stage of pipeline.sources) this.#enqueue(frame, stage);
    return frame;
  }

  open(pipeline: Pipeline): void {
    for (const stage of pipeline.stages) stage.node.stages.add(stage);
  }

  /** Nothing new will enter; what is in it goes on, and is over long before the nodes forget it. */
  close(pipeline: Pipeline): void {
    this.#calendar.after(DRAIN_MS, () => {
      for (const stage of pipeline.stages) stage.node.stages.delete(stage);
    });
  }

  /** Everything on the node is gone, also when it comes back. */
  kill(node: WorldNode): void {
    node.up = false;
    for (const visit of [...node.cpu.clear(), ...node.gpu.clear()]) this.#end(visit.frame, 'node_lost');
    for (const stage of node.stages) {
      stage.gone = true;
      for (const frame of stage.waiting.drain()) this.#end(frame, 'node_lost');
      for (const { waiting } of stage.targets) for (const frame of waiting.drain()) this.#end(frame, 'node_lost');
    }
    node.stages.clear();
  }

  #end(frame: Frame, end: FrameEnd): void {
    if (frame.ended) return;
    frame.ended = true;
    this.#onEnd(frame, end);
  }

  #isOver(frame: Frame): boolean {
    if (frame.ended) return true;
    if (this.#calendar.nowMs <= frame.deadlineMs) return false;
    this.#end(frame, 'deadline');
    return true;
  }

  #enqueue(frame: Frame, stage: Stage): void {
    if (stage.gone) {
      this.#end(frame, 'node_lost');
      return;
    }
    if (stage.inputs > 1 && frame.came !== null && ++frame.came[stage.at]! < stage.inputs) return;
    if (this.#isOver(frame)) return;
    if (!stage.busy) {
      this.#process(frame, stage);
      return;
    }
    const victim = stage.waiting.pushDroppingOldest(frame);
    if (victim !== undefined) this.#end(victim, 'queue');
  }

  #process(frame: Frame, stage: Stage): void {
    stage.busy = true;
    const slower = ((this.world.workFactor.get(stage.handlerType) ?? 1) * stage.node.slowdown) / stage.node.facts.speed;
    const visit: Visit = {
      frame,
      stage,
      startMs: this.#calendar.nowMs,
      cpuMs: this.#chance.lognormal(stage.cpuMs * slower, CPU_CV),
      gpuMs: this.#chance.lognormal(stage.gpuMs * slower, GPU_CV),
      coreWaitMs: 0,
    };
    stage.node.cpu.submit(visit, visit.cpuMs);
  }

  #cpuDone(visit: Visit): void {
    visit.coreWaitMs = this.#calendar.nowMs - visit.startMs - visit.cpuMs;
    if (visit.gpuMs > 0) visit.stage.node.gpu.submit(visit, visit.gpuMs);
    else this.#processed(visit);
  }

  #processed({ frame, stage, startMs, cpuMs, coreWaitMs }: Visit): void {
    const bytes = this.#chance.lognormal(stage.bytes, BYTES_CV);
    this.#onSample({ stage, serviceMs: this.#calendar.nowMs - startMs - coreWaitMs, cpuMs, bytes });
    stage.busy = false;
    if (!frame.ended) {
      if (stage.targets.length === 0) this.#atSink(frame);
      for (const link of stage.targets) this.#send(frame, link, bytes);
    }
    let next = stage.waiting.shift();
    while (next !== undefined && this.#isOver(next)) next = stage.waiting.shift();
    if (next !== undefined) this.#process(next, stage);
  }

  #atSink(frame: Frame): void {
    frame.sinksLeft -= 1;
    if (frame.sinksLeft === 0) this.#end(frame, this.#calendar.nowMs <= frame.deadlineMs ? 'in_time' : 'late');
  }

  #send(frame: Frame, link: LinkRun, bytes: number): void {
    if (link.route === null) {
      this.#enqueue(frame, link.to);
      return;
    }
    if (this.#isOver(frame)) return;
    if (link.onTheWay < LATEST_WINDOW_PACKETS) {
      link.onTheWay += 1;
      this.world.send({ link, frame, route: link.route, bytes, leg: 0 });
      return;
    }
    const victim = link.waiting.pushDroppingOldest(frame);
    if (victim !== undefined) this.#end(victim, 'queue');
  }

  #arrived({ link, frame }: Transit): void {
    this.#left(link);
    if (!frame.ended) this.#enqueue(frame, link.to);
  }

  /** A place in the link's window is free. */
  #left(link: LinkRun): void {
    link.onTheWay -= 1;
    const next = link.waiting.shift();
    if (next !== undefined) this.#send(next, link, this.#chance.lognormal(link.from.bytes, BYTES_CV));
  }
}
