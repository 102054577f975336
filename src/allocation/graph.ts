/**
 * One variant's graph made ready for the search: handlers in topological order and called by their place in it, and for
 * every handler its options, one per alternative, with need, time and rejection on every node.
 * The surprising thing: queueing is taken at the utilisation that a node would have with the whole session on it. The
 * times then do not depend on the rest of the placement, which keeps the search exact, and they err on the safe side.
 */
import type { PlanRequest, SnapshotNode } from '../contracts/plan.js';
import { modelKey, profileKey } from '../contracts/plan.js';
import type { Alternative, GraphHandler, Variant } from '../contracts/service.js';
import { LOAD_MS, MOVE_MS } from './bounds.js';
import { type Cluster, cpuPromised, gpuPromised, profileOf } from './cluster.js';
import { waitFactor } from './queueing.js';
import { type Need, rejection } from './rejection.js';

/** One alternative of one handler; every array is by node index. */
export interface Option {
  readonly alternative: Alternative;
  readonly computeMs: Float64Array;
  readonly queueMs: Float64Array;
  /** Compute and queueing. */
  readonly stageMs: Float64Array;
  readonly cpu: Float64Array;
  readonly gpu: Float64Array;
  /** A shared model included where none has loaded it yet. */
  readonly memMb: Float64Array;
  readonly bytes: Float64Array;
  /** Cost beside latency: leaving `previous`, and load. */
  readonly extraMs: Float64Array;
  readonly measured: Uint8Array;
  /** Why not; null where it is possible. */
  readonly rejected: readonly (string | null)[];
  /** Node indices where it is possible, ascending. */
  readonly possible: Int32Array;
}

export interface Graph {
  readonly variant: Variant;
  readonly handlers: readonly GraphHandler[];
  /** Per handler, the handlers that feed it: one entry per link. */
  readonly feeds: readonly (readonly number[])[];
  /** Per handler, the handlers that it feeds, each once. */
  readonly targets: readonly (readonly number[])[];
  /** Per handler, those up to it (itself included) that still feed a later one. */
  readonly open: readonly (readonly number[])[];
  readonly options: readonly (readonly Option[])[];
  readonly fps: number;
  /** False for static templates: they are placed as they stand, over-commitment is only said. */
  readonly enforced: boolean;
}

export interface GraphOptions {
  readonly variant: Variant;
  readonly request: PlanRequest;
  readonly cluster: Cluster;
}

export function graphOf({ variant, request, cluster }: GraphOptions): Graph {
  const at = new Map(variant.order.map((id, index) => [id, index]));
  const handlers = variant.order.map((id) => variant.handlers.find((one) => one.handler_id === id)!);
  const feeds: number[][] = handlers.map(() => []);
  const targets: number[][] = handlers.map(() => []);
  for (const link of variant.links) {
    const source = at.get(link.source_handler)!;
    const target = at.get(link.target_handler)!;
    feeds[target]!.push(source);
    if (!targets[source]!.includes(target)) targets[source]!.push(target);
  }
  const open = handlers.map((_, last) =>
    handlers.map((__, index) => index).filter((index) => index <= last && targets[index]!.some((one) => one > last)),
  );
  const enforced = request.service.template === null;
  const options = optionsOf({ handlers, request, cluster, enforced });
  return { variant, handlers, feeds, targets, open, options, fps: request.objective.fps, enforced };
}

interface OptionsInput {
  readonly handlers: readonly GraphHandler[];
  readonly request: PlanRequest;
  readonly cluster: Cluster;
  readonly enforced: boolean;
}

type Draft = Omit<Option, 'queueMs' | 'stageMs'>;

function optionsOf(input: OptionsInput): Option[][] {
  const drafts = input.handlers.map((handler) =>
    handler.alternatives.map((alternative) => draftOption(handler, alternative, input)),
  );
  const loads = input.cluster.nodes.map((node, index) => loadFactors(node, index, drafts));
  return drafts.map((alternatives) =>
    alternatives.map((draft) => withQueueing(draft, loads, input.request.objective.fps)),
  );
}

function draftOption(handler: GraphHandler, alternative: Alternative, input: OptionsInput): Draft {
  const { nodes, profiles } = input.cluster;
  const { fps } = input.request.objective;
  const cost = alternative.cost;
  const byNode = profiles.get(profileOf(handler.handler_type, profileKey(alternative.params)));
  const draft = {
    alternative,
    computeMs: new Float64Array(nodes.length),
    cpu: new Float64Array(nodes.length),
    gpu: new Float64Array(nodes.length),
    memMb: new Float64Array(nodes.length),
    bytes: new Float64Array(nodes.length),
    extraMs: new Float64Array(nodes.length),
    measured: new Uint8Array(nodes.length),
    rejected: new Array<string | null>(nodes.length),
  };
  const { params, name } = alternative;
  const model = modelKey({ handler_type: handler.handler_type, params, alternative: name });
  const possible: number[] = [];
  nodes.forEach((node, index) => {
    const profile = byNode?.get(node.node_id);
    const need: Need = {
      computeMs: profile?.service_ms ?? (cost.cpu_ms + cost.gpu_ms) / node.speed,
      cpu: fps * (profile?.cpu_ms ?? cost.cpu_ms / node.speed),
      gpu: (fps * cost.gpu_ms) / node.speed,
      memMb: ownMb(handler, alternative) + (node.models?.includes(model) ? 0 : (cost.model_mb ?? 0)),
    };
    draft.computeMs[index] = need.computeMs;
    draft.cpu[index] = need.cpu;
    draft.gpu[index] = need.gpu;
    draft.memMb[index] = need.memMb;
    draft.bytes[index] = profile?.out_bytes ?? cost.out_bytes;
    draft.measured[index] = profile === undefined ? 0 : 1;
    draft.extraMs[index] = loadMs(node, need.cpu) + moveMs(handler, alternative, node, input.request);
    draft.rejected[index] = rejection({
      handler,
      node,
      need,
      request: input.request,
      cluster: input.cluster,
      enforced: input.enforced,
    });
    if (draft.rejected[index] === null) possible.push(index);
  });
  return { ...draft, possible: Int32Array.from(possible) };
}

/** Memory that a session needs for a handler by itself, MiB. */
export function ownMb(handler: GraphHandler, alternative: Alternative): number {
  return Math.max(alternative.cost.mem_mb, handler.require.mem_mb ?? 0);
}

function loadMs(node: SnapshotNode, cpu: number): number {
  return LOAD_MS * Math.min(1, (cpuPromised(node) + cpu) / (node.cpu_cores * 1000));
}

function moveMs(handler: GraphHandler, alternative: Alternative, node: SnapshotNode, request: PlanRequest): number {
  if (request.previous === undefined) return 0;
  const before = request.previous.find((one) => one.handler_id === handler.handler_id);
  return before?.node_id === node.node_id && before.alternative === alternative.name ? 0 : MOVE_MS;
}

/** Waiting factors of a node's cores and GPUs when it carries, beside the others, all of this session that it can. */
function loadFactors(node: SnapshotNode, index: number, drafts: readonly (readonly Draft[])[]) {
  let cpu = cpuPromised(node);
  let gpu = gpuPromised(node);
  for (const alternatives of drafts) {
    let cpuMost = 0;
    let gpuMost = 0;
    for (const draft of alternatives) {
      if (draft.rejected[index] !== null) continue;
      cpuMost = Math.max(cpuMost, draft.cpu[index]!);
      gpuMost = Math.max(gpuMost, draft.gpu[index]!);
    }
    cpu += cpuMost;
    gpu += gpuMost;
  }
  return {
    cpu: waitFactor(node.cpu_cores, cpu / (node.cpu_cores * 1000)),
    gpu: node.gpus > 0 ? waitFactor(node.gpus, gpu / (node.gpus * 1000)) : 0,
  };
}

/** The longest of the waits that a packet may meet: for its own sequential handler, for a core, for a GPU. */
function withQueueing(draft: Draft, loads: readonly { cpu: number; gpu: number }[], fps: number): Option {
  const queueMs = draft.computeMs.map((computeMs, index) => {
    const load = loads[index]!;
    const own = waitFactor(1, (fps * computeMs) / 1000);
    return computeMs * Math.max(own, load.cpu, draft.gpu[index]! > 0 ? load.gpu : 0);
  });
  return { ...draft, queueMs, stageMs: draft.computeMs.map((computeMs, index) => computeMs + queueMs[index]!) };
}
