/**
 * A session in virtual time: its camera, the pipeline that takes its frames, and the one that is being made.
 *
 *   asking -> (no pipeline) -> running: `pipeline` takes frames while `next`, if there is one, gets ready (make before break)
 *   a node of it dies, or it is refused: frames end at the camera until another pipeline is ready
 */
import type { FleetPlanned, FleetService, FleetSession } from '../contracts/fleet.js';
import type { Accounts } from './accounts.js';
import type { Calendar } from './calendar.js';
import type { Chance } from './chance.js';
import type { DataPlane } from './data-plane.js';
import { type Pipeline, pipelineOf } from './pipeline.js';

/** Until a handler on a new place takes packets, ms: a host that loads a model, and one that has none to load. */
export const MODEL_START_MS = 2_000;
export const PLAIN_START_MS = 300;

/** A camera's frame comes by so much of the interval too early or too late: uniform, both ways. */
const JITTER_SHARE = 0.05;

export interface SessionRunOptions {
  readonly facts: FleetSession;
  readonly service: FleetService;
  readonly calendar: Calendar;
  readonly chance: Chance;
  readonly plane: DataPlane;
  readonly accounts: Accounts;
}

export class SessionRun {
  facts: FleetSession;
  pipeline: Pipeline | null = null;
  /** Multiplies the camera's frame rate. */
  rate = 1;
  ended = false;
  /** Its camera hangs on another node than its pipeline begins at. */
  #detached = false;
  readonly #options: SessionRunOptions;
  #next: Pipeline | null = null;
  #camera = 0;

  constructor(options: SessionRunOptions) {
    this.#options = options;
    this.facts = options.facts;
  }

  /** Not to be moved now. */
  get starting(): boolean {
    return this.#next !== null;
  }

  /** Frames come until `untilMs`; a camera that is on already goes on. */
  film(untilMs: number): void {
    const { calendar, chance } = this.#options;
    const camera = ++this.#camera;
    const intervalMs = 1000 / this.facts.objective.fps;
    const tick = (dueMs: number) => {
      if (this.ended || camera !== this.#camera || dueMs > untilMs) return;
      this.#emit();
      const nextMs = dueMs + intervalMs / this.rate;
      const jitter = chance.uniform(-JITTER_SHARE, JITTER_SHARE) * intervalMs;
      calendar.at(nextMs + jitter, () => tick(nextMs));
    };
    const firstMs = calendar.nowMs + chance.uniform(0, intervalMs);
    calendar.at(firstMs, () => tick(firstMs));
  }

  /** The plan is made; it takes frames when what is new in it has started. */
  place(planned: FleetPlanned): void {
    const { service, plane, calendar } = this.#options;
    const next = pipelineOf(service, planned, plane.world);
    const old = this.pipeline?.planned;
    this.#next = next;
    plane.open(next);
    calendar.after(startMs(service, planned, old), () => {
      if (this.#next === next) this.#switch(next);
    });
  }

  /** Its camera is on another node from now on; the pipeline that begins at the old one gets no more frames. */
  moveCamera(source_node: number): void {
    this.facts = { ...this.facts, source_node };
    this.#detached = true;
  }

  /** It has no place any more. */
  suspend(): void {
    if (this.#next !== null) this.#options.plane.close(this.#next);
    if (this.pipeline !== null) this.#options.plane.close(this.pipeline);
    this.#next = null;
    this.pipeline = null;
  }

  end(): void {
    this.suspend();
    this.ended = true;
  }

  #switch(next: Pipeline): void {
    const { plane, accounts } = this.#options;
    if (this.pipeline !== null) plane.close(this.pipeline);
    this.pipeline = next;
    this.#next = null;
    this.#detached = next.sources.some(({ node }) => node.facts.node_id !== this.facts.source_node);
    const account = accounts.of(this.facts.session_id);
    account.admitted = true;
    account.mark();
    account.forgetRecent();
  }

  #emit(): void {
    const { accounts, plane } = this.#options;
    const { session_id, source_node, objective } = this.facts;
    if (!plane.world.node(source_node).up) return;
    const account = accounts.of(session_id);
    account.offered += 1;
    if (account.admitted) account.promised += 1;
    if (this.pipeline === null || this.#detached) account.missed('no_place');
    else plane.emit(session_id, this.pipeline, objective.latency_ms_max ?? Number.POSITIVE_INFINITY);
  }
}

function startMs({ variants }: FleetService, planned: FleetPlanned, old: FleetPlanned | undefined): number {
  const { handlers } = variants.find((one) => one.variant_name === planned.variant)!;
  const before = new Map(old?.variant === planned.variant ? old.placement.map((one) => [one.handler_id, one]) : []);
  return planned.placement.reduce((most, place) => {
    const was = before.get(place.handler_id);
    if (was?.node_id === place.node_id && was.alternative === place.alternative) return most;
    const handler = handlers.find((one) => one.handler_id === place.handler_id)!;
    const { cost } = handler.alternatives.find((one) => one.name === place.alternative)!;
    return Math.max(most, (cost.model_mb ?? 0) > 0 ? MODEL_START_MS : PLAIN_START_MS);
  }, 0);
}
