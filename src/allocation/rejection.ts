/**
 * Why one handler cannot run on one node, whatever the rest of the session does: the first reason in a fixed order, in
 * words with value and bound. What several handlers of a session need together is the search's business.
 */
import type { PlanRequest, SnapshotNode } from '../contracts/plan.js';
import type { GraphHandler } from '../contracts/service.js';
import { UTILISATION_CAP } from './bounds.js';
import { type Cluster, fits } from './cluster.js';
import { freeWhole, needWhole } from './words.js';

/** Need of one handler on one node. */
export interface Need {
  readonly computeMs: number;
  /** Core-milliseconds per second. */
  readonly cpu: number;
  /** GPU-milliseconds per second. */
  readonly gpu: number;
  readonly memMb: number;
}

export interface RejectionInput {
  readonly handler: GraphHandler;
  readonly node: SnapshotNode;
  readonly need: Need;
  readonly request: PlanRequest;
  readonly cluster: Cluster;
  /** False: capacity is not held against it (static templates). */
  readonly enforced: boolean;
}

export function rejection(input: RejectionInput): string | null {
  const { handler, node, need, request, enforced } = input;
  return (
    pinRejection(input) ??
    stateRejection(handler, node, request) ??
    requirementRejection(handler, node, request) ??
    (enforced ? capacityRejection(node, need, request.objective.fps) : null)
  );
}

function pinRejection({ handler, node, request, cluster }: RejectionInput): string | null {
  const { at } = handler;
  if (at === null) return null;
  if (at.kind === 'label') return node.labels.includes(at.label) ? null : `pinned to label ${at.label}`;
  const pinned = at.kind === 'source' ? request.source_node : at.node_id;
  if (pinned === node.node_id) return null;
  const index = cluster.indexOf.get(pinned);
  return `pinned to ${index === undefined ? `node ${pinned}` : cluster.nodes[index]!.node_name}`;
}

function stateRejection(handler: GraphHandler, node: SnapshotNode, { previous }: PlanRequest): string | null {
  if (!node.up) return 'lost';
  // What runs there may stay; that it should go is decided elsewhere.
  const isThere = previous?.some((one) => one.handler_id === handler.handler_id && one.node_id === node.node_id);
  if (node.drained && isThere !== true) return 'drained';
  const installed = node.handler_types === null || node.handler_types.includes(handler.handler_type);
  return installed ? null : `no handler type ${handler.handler_type}`;
}

function requirementRejection(handler: GraphHandler, node: SnapshotNode, { stay }: PlanRequest): string | null {
  const { label, gpu } = handler.require;
  if (stay !== undefined && !node.labels.includes(stay)) return `lacks label ${stay}, which the session stays with`;
  if (label !== undefined && !node.labels.includes(label)) return `lacks label ${label}`;
  return gpu === true && node.gpus === 0 ? 'needs a gpu' : null;
}

/** Also used, with enforcement off, to say where a static template asks for more than there is. */
export function capacityRejection(node: SnapshotNode, need: Need, fps: number): string | null {
  if (need.gpu > 0 && node.gpus === 0) return 'needs a gpu';
  if (!fits(need.memMb, node.mem_mb_free)) return memoryWords(need.memMb, node.mem_mb_free);
  if (!fits(need.cpu, node.cpu_ms_per_s_free)) return cpuWords(need.cpu, node.cpu_ms_per_s_free);
  if (!fits(need.gpu, node.gpu_ms_per_s_free)) return gpuWords(need.gpu, node.gpu_ms_per_s_free);
  const busy = fps * need.computeMs;
  const busyMax = 1000 * UTILISATION_CAP;
  return fits(busy, busyMax)
    ? null
    : `one core ${needWhole(busy)} ms/s needed > ${freeWhole(busyMax)} ms/s: a handler is sequential`;
}

export const memoryWords = (need: number, free: number): string =>
  `memory ${freeWhole(free)} MiB free < ${needWhole(need)} MiB`;

export const cpuWords = (need: number, free: number): string =>
  `cpu ${needWhole(need)} ms/s needed > ${freeWhole(free)} ms/s free`;

export const gpuWords = (need: number, free: number): string =>
  `gpu ${needWhole(need)} ms/s needed > ${freeWhole(free)} ms/s free`;
