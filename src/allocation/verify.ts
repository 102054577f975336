/**
 * An independent check of a plan: every promise and every capacity is computed again from the request and the snapshot,
 * with no code of the planner (only the constants of bounds.ts, which are data). A plan with no violations keeps all
 * constraints of the model; that it is the best one is not checked here.
 */

import type { SnapshotNode } from '../contracts/plan.js';
import {
  modelKey,
  type PlannedHandler,
  type PlanRequest,
  profileKey,
  type SessionPlan,
  type Snapshot,
} from '../contracts/plan.js';
import type { Alternative, GraphHandler, Variant } from '../contracts/service.js';
import { HOP_MS, PROFILE_SAMPLES_MIN, UTILISATION_CAP, VARIABILITY } from './bounds.js';

/** Slack for rounding of sums; relative for large values. */
const TOLERANCE = 1e-5;

/** Violations in words; empty when the plan holds. */
export function verifyPlan(plan: SessionPlan, request: PlanRequest, snapshot: Snapshot): string[] {
  const checks = request.service.variants
    .filter((variant) => isNamed(plan, request, variant))
    .map((variant) => new Check(plan, request, snapshot, variant).run());
  if (checks.length === 0) return [`variant ${plan.variant} is not one of the service that was asked for`];
  return checks.reduce((fewest, one) => (one.length < fewest.length ? one : fewest));
}

/** The plan's variant can be this one, and is one that the request allows. */
function isNamed(plan: SessionPlan, request: PlanRequest, variant: Variant): boolean {
  const chosen = variant.handlers
    .filter((handler) => handler.alternatives.length > 1 || handler.alternatives[0]?.name !== 'default')
    .map((handler) => plan.handlers.find((one) => one.handler_id === handler.handler_id)?.alternative ?? '?')
    .join('+');
  const names = [variant.variant_name, chosen, `${variant.variant_name}/${chosen}`];
  return names.includes(plan.variant) && (request.variant === undefined || names.includes(request.variant));
}

interface Need {
  readonly computeMs: number;
  readonly cpu: number;
  readonly gpu: number;
  readonly memMb: number;
  /** Of a shared model that nobody has loaded on the node yet. */
  readonly modelMb: number;
  readonly bytes: number;
}

class Check {
  readonly #violations: string[] = [];
  readonly #enforced: boolean;

  constructor(
    private readonly plan: SessionPlan,
    private readonly request: PlanRequest,
    private readonly snapshot: Snapshot,
    private readonly variant: Variant,
  ) {
    this.#enforced = request.service.template === null;
  }

  run(): string[] {
    this.#same('service_name', this.plan.service_name, this.request.service.service_name);
    this.#same('source_node', this.plan.source_node, this.request.source_node);
    this.#near('fps', this.plan.fps, this.request.objective.fps);
    this.#same('handlers', idsOf(this.plan.handlers), idsOf(this.variant.handlers));
    if (this.#violations.length > 0) return this.#violations;
    for (const handler of this.variant.handlers) this.#handler(handler);
    if (this.#violations.length > 0) return this.#violations;
    for (const node of this.snapshot.nodes) this.#node(node);
    this.#links();
    this.#promises();
    return this.#violations;
  }

  #same(what: string, planned: unknown, wanted: unknown): void {
    if (planned !== wanted) this.#violations.push(`${what} ${String(planned)} is not ${String(wanted)}`);
  }

  #near(what: string, planned: number, wanted: number): void {
    const slack = TOLERANCE * Math.max(1, Math.abs(wanted));
    if (!(Math.abs(planned - wanted) <= slack)) this.#violations.push(`${what} ${planned} is not ${wanted}`);
  }

  #atMost(what: string, value: number, bound: number): void {
    if (!(value <= bound + TOLERANCE)) this.#violations.push(`${what} ${value} > ${bound}`);
  }

  #planned(handlerId: number): PlannedHandler {
    return this.plan.handlers.find((one) => one.handler_id === handlerId)!;
  }

  #nodeOf(nodeId: number): SnapshotNode | undefined {
    return this.snapshot.nodes.find((one) => one.node_id === nodeId);
  }

  #handler(handler: GraphHandler): void {
    const planned = this.#planned(handler.handler_id);
    const name = `${handler.handler_name} @${planned.node_name}`;
    const alternative = handler.alternatives.find((one) => one.name === planned.alternative);
    const node = this.#nodeOf(planned.node_id);
    if (alternative === undefined || node === undefined) {
      this.#violations.push(`${name}: no such ${node === undefined ? 'node' : `alternative ${planned.alternative}`}`);
      return;
    }
    const fault = this.#misplaced(handler, node);
    if (fault !== null) this.#violations.push(`${name}: ${fault}`);
    this.#same(`${name}: node_name`, planned.node_name, node.node_name);
    this.#same(`${name}: handler_type`, planned.handler_type, handler.handler_type);
    this.#same(`${name}: params`, JSON.stringify(planned.params), JSON.stringify(alternative.params));
    const need = this.#need(handler, alternative, node);
    this.#near(`${name}: compute_ms`, planned.compute_ms, need.computeMs);
    this.#near(`${name}: cpu_ms_per_s`, planned.cpu_ms_per_s, need.cpu);
    this.#near(`${name}: gpu_ms_per_s`, planned.gpu_ms_per_s, need.gpu);
    this.#near(`${name}: mem_mb`, planned.mem_mb, need.memMb);
    this.#near(`${name}: model_mb`, planned.model_mb ?? 0, alternative.cost.model_mb ?? 0);
    this.#near(`${name}: queue_ms`, planned.queue_ms, this.#queueMs(need, node));
    if (!this.#enforced) return;
    this.#atMost(`${name}: busy ms/s`, this.plan.fps * need.computeMs, 1000 * UTILISATION_CAP);
    if (need.gpu > 0 && node.gpus === 0) this.#violations.push(`${name}: no gpu`);
  }

  /** Pins, state and requirements; not capacity. */
  #misplaced(handler: GraphHandler, node: SnapshotNode): string | null {
    if (!node.up) return 'node is lost';
    const { previous = [] } = this.request;
    const isThere = previous.some((one) => one.handler_id === handler.handler_id && one.node_id === node.node_id);
    if (node.drained && !isThere) return 'node is drained';
    if (node.handler_types?.includes(handler.handler_type) === false) return 'handler type is not installed';
    const pin = handler.at;
    if (pin?.kind === 'source' && node.node_id !== this.request.source_node) return 'not on the source node';
    if (pin?.kind === 'node' && node.node_id !== pin.node_id) return `not on node ${pin.node_id}`;
    if (pin?.kind === 'label' && !node.labels.includes(pin.label)) return `node lacks label ${pin.label}`;
    const { stay } = this.request;
    if (stay !== undefined && !node.labels.includes(stay)) return `node lacks label ${stay}`;
    const { label, gpu } = handler.require;
    if (label !== undefined && !node.labels.includes(label)) return `node lacks label ${label}`;
    return gpu === true && node.gpus === 0 ? 'node has no gpu' : null;
  }

  #need(handler: GraphHandler, alternative: Alternative, node: SnapshotNode): Need {
    const { cost } = alternative;
    const profile = this.snapshot.profiles.findLast(
      (one) =>
        one.node_id === node.node_id &&
        one.handler_type === handler.handler_type &&
        one.key === profileKey(alternative.params) &&
        one.samples >= PROFILE_SAMPLES_MIN,
    );
    const { handler_type } = handler;
    const key = modelKey({ handler_type, params: alternative.params, alternative: alternative.name });
    const isLoaded = node.models?.includes(key) === true;
    const fps = this.request.objective.fps;
    return {
      computeMs: profile === undefined ? cost.cpu_ms / node.speed + cost.gpu_ms / node.speed : profile.service_ms,
      cpu: profile === undefined ? (fps * cost.cpu_ms) / node.speed : fps * profile.cpu_ms,
      gpu: fps * (cost.gpu_ms / node.speed),
      memMb: Math.max(cost.mem_mb, handler.require.mem_mb ?? 0),
      modelMb: isLoaded ? 0 : (cost.model_mb ?? 0),
      bytes: profile === undefined ? cost.out_bytes : profile.out_bytes,
    };
  }

  /** The node with all of this session that it could carry on top of what others were promised. */
  #queueMs(need: Need, node: SnapshotNode): number {
    let cpu = Math.max(0, node.cpu_cores * 1000 * UTILISATION_CAP - node.cpu_ms_per_s_free);
    let gpu = Math.max(0, node.gpus * 1000 * UTILISATION_CAP - node.gpu_ms_per_s_free);
    for (const handler of this.variant.handlers) {
      if (this.#misplaced(handler, node) !== null) continue;
      const needs = handler.alternatives
        .map((alternative) => this.#need(handler, alternative, node))
        .filter((one) => !this.#enforced || this.#fitsAlone(one, node));
      cpu += Math.max(0, ...needs.map((one) => one.cpu));
      gpu += Math.max(0, ...needs.map((one) => one.gpu));
    }
    const waits = [
      allenCunneen(1, (this.request.objective.fps * need.computeMs) / 1000),
      allenCunneen(node.cpu_cores, cpu / node.cpu_cores / 1000),
    ];
    if (need.gpu > 0 && node.gpus > 0) waits.push(allenCunneen(node.gpus, gpu / node.gpus / 1000));
    return need.computeMs * Math.max(...waits);
  }

  #fitsAlone(need: Need, node: SnapshotNode): boolean {
    return (
      need.memMb + need.modelMb <= node.mem_mb_free + 1e-6 &&
      need.cpu <= node.cpu_ms_per_s_free + 1e-6 &&
      need.gpu <= node.gpu_ms_per_s_free + 1e-6 &&
      this.request.objective.fps * need.computeMs <= 1000 * UTILISATION_CAP + 1e-6 &&
      (need.gpu === 0 || node.gpus > 0)
    );
  }

  #node(node: SnapshotNode): void {
    if (!this.#enforced) return;
    const here = this.plan.handlers.filter((one) => one.node_id === node.node_id);
    if (here.length === 0) return;
    const total = (value: (one: PlannedHandler) => number) => here.reduce((sum, one) => sum + value(one), 0);
    const name = node.node_name;
    this.#atMost(
      `${name}: cpu ms/s`,
      total((one) => one.cpu_ms_per_s),
      node.cpu_ms_per_s_free,
    );
    this.#atMost(
      `${name}: gpu ms/s`,
      total((one) => one.gpu_ms_per_s),
      node.gpu_ms_per_s_free,
    );
    this.#atMost(
      `${name}: memory MiB`,
      total((one) => one.mem_mb + (node.models?.includes(modelKey(one)) ? 0 : (one.model_mb ?? 0))),
      node.mem_mb_free,
    );
  }

  #links(): void {
    this.#same(
      'links',
      this.plan.links.map(linkName).sort().join(' '),
      this.variant.links.map(linkName).sort().join(' '),
    );
    const mbit = new Map<string, number>();
    for (const link of this.plan.links) {
      const source = this.#planned(link.source_handler);
      const name = `link ${linkName(link)}`;
      const bytes = this.#bytesOf(source);
      this.#same(`${name}: source_node`, link.source_node, source.node_id);
      this.#same(`${name}: target_node`, link.target_node, this.#planned(link.target_handler).node_id);
      this.#near(`${name}: bytes`, link.bytes, bytes);
      this.#near(`${name}: mbit_per_s`, link.mbit_per_s, (bytes * 8 * this.plan.fps) / 1_000_000);
      this.#near(`${name}: latency_ms`, link.latency_ms, this.#linkMs(link.source_node, link.target_node, bytes));
      if (link.source_node === link.target_node) continue;
      const pair = `${link.source_node}>${link.target_node}`;
      mbit.set(pair, (mbit.get(pair) ?? 0) + link.mbit_per_s);
    }
    if (!this.#enforced) return;
    for (const [pair, used] of mbit) {
      const link = this.#pathOf(...(pair.split('>').map(Number) as [number, number]));
      this.#atMost(`link ${pair}: Mbit/s`, used, link?.mbit_per_s_free ?? 0);
    }
  }

  #bytesOf(planned: PlannedHandler): number {
    const handler = this.variant.handlers.find((one) => one.handler_id === planned.handler_id)!;
    const alternative = handler.alternatives.find((one) => one.name === planned.alternative)!;
    return this.#need(handler, alternative, this.#nodeOf(planned.node_id)!).bytes;
  }

  #pathOf(source: number, target: number) {
    return this.snapshot.links.findLast((one) => one.source_node === source && one.target_node === target);
  }

  #linkMs(source: number, target: number, bytes: number): number {
    if (source === target) return 0;
    const link = this.#pathOf(source, target);
    if (link === undefined) return Number.POSITIVE_INFINITY;
    const transferMs = link.mbit_per_s_free > 0 ? (bytes * 8) / link.mbit_per_s_free / 1000 : 0;
    return link.latency_ms + transferMs + HOP_MS;
  }

  #promises(): void {
    const { latency_ms_max, accuracy_min } = this.request.objective;
    const ends = this.plan.handlers.map((one) => this.#doneMs(one.handler_id));
    this.#near('latency_ms', this.plan.latency_ms, Math.max(...ends));
    if (latency_ms_max !== undefined) this.#atMost('latency_ms', this.plan.latency_ms, latency_ms_max);
    const factors = this.variant.handlers.map(
      (one) => one.alternatives.find((each) => each.name === this.#planned(one.handler_id).alternative)!.accuracy,
    );
    const accuracy = factors.reduce((product, factor) => product * factor, this.variant.accuracy);
    this.#near('accuracy', this.plan.accuracy, accuracy);
    if (accuracy_min !== undefined && this.plan.accuracy < accuracy_min - TOLERANCE) {
      this.#violations.push(`accuracy ${this.plan.accuracy} < ${accuracy_min}`);
    }
  }

  readonly #done = new Map<number, number>();

  /** Latest end of any path from a source through this handler, ms. */
  #doneMs(handlerId: number): number {
    const known = this.#done.get(handlerId);
    if (known !== undefined) return known;
    const planned = this.#planned(handlerId);
    const arrivals = this.plan.links
      .filter((one) => one.target_handler === handlerId)
      .map((one) => this.#doneMs(one.source_handler) + one.latency_ms);
    const done = Math.max(0, ...arrivals) + planned.compute_ms + planned.queue_ms;
    this.#done.set(handlerId, done);
    return done;
  }
}

const idsOf = (handlers: readonly { readonly handler_id: number }[]): string =>
  handlers
    .map((one) => one.handler_id)
    .sort((a, b) => a - b)
    .join(' ');

const linkName = (link: {
  readonly source_handler: number;
  readonly source_output: number;
  readonly target_handler: number;
  readonly target_input: number;
}): string => `${link.source_handler}.${link.source_output}->${link.target_handler}.${link.target_input}`;

/** Mean wait in service times of a queue with `servers` servers: Allen-Cunneen over Sakasegawa (1977). */
export function allenCunneen(servers: number, load: number): number {
  const rho = Math.min(load, UTILISATION_CAP);
  return (VARIABILITY * rho ** (Math.sqrt(2 * servers + 2) - 1)) / (servers * (1 - rho));
}
