/**
 * A snapshot as arrays. Nodes are in order of node_id whatever order the snapshot has, so that a plan does not depend on
 * it; matrices are row-major, source node first. Built once per call and never changed.
 */
import type { Profile, Snapshot, SnapshotNode } from '../contracts/plan.js';
import { FIT_EPSILON, HOP_MS, PROFILE_SAMPLES_MIN, UTILISATION_CAP } from './bounds.js';

const MS_PER_S = 1000;

export interface Cluster {
  readonly nodes: readonly SnapshotNode[];
  /** node_id -> index in `nodes`. */
  readonly indexOf: ReadonlyMap<number, number>;
  /** Fixed part of one hop, ms; 0 on the diagonal, Infinity without a path. */
  readonly hopMs: Float64Array;
  /** Transfer time of one byte at the free bandwidth, ms. */
  readonly msPerByte: Float64Array;
  /** Free bandwidth, Mbit/s; Infinity on the diagonal. */
  readonly mbitFree: Float64Array;
  /** Trusted profiles by `handler_type|profileKey`, then by node_id. */
  readonly profiles: ReadonlyMap<string, ReadonlyMap<number, Profile>>;
}

export function clusterOf(snapshot: Snapshot): Cluster {
  const nodes = [...snapshot.nodes].sort((a, b) => a.node_id - b.node_id);
  const indexOf = new Map(nodes.map((node, index) => [node.node_id, index]));
  return { nodes, indexOf, ...matrices(snapshot, indexOf), profiles: trusted(snapshot.profiles) };
}

function matrices(snapshot: Snapshot, indexOf: ReadonlyMap<number, number>) {
  const size = indexOf.size;
  const hopMs = new Float64Array(size * size).fill(Number.POSITIVE_INFINITY);
  const msPerByte = new Float64Array(size * size);
  const mbitFree = new Float64Array(size * size);
  for (const link of snapshot.links) {
    const source = indexOf.get(link.source_node);
    const target = indexOf.get(link.target_node);
    if (source === undefined || target === undefined) continue;
    const at = source * size + target;
    hopMs[at] = link.latency_ms + HOP_MS;
    mbitFree[at] = Math.max(0, link.mbit_per_s_free);
    msPerByte[at] = link.mbit_per_s_free > 0 ? 8 / (link.mbit_per_s_free * 1000) : 0;
  }
  for (let index = 0; index < size; index++) {
    hopMs[index * size + index] = 0;
    msPerByte[index * size + index] = 0;
    mbitFree[index * size + index] = Number.POSITIVE_INFINITY;
  }
  return { hopMs, msPerByte, mbitFree };
}

function trusted(profiles: readonly Profile[]): Map<string, Map<number, Profile>> {
  const found = new Map<string, Map<number, Profile>>();
  for (const profile of profiles) {
    if (profile.samples < PROFILE_SAMPLES_MIN) continue;
    const key = profileOf(profile.handler_type, profile.key);
    const byNode = found.get(key) ?? new Map<number, Profile>();
    byNode.set(profile.node_id, profile);
    found.set(key, byNode);
  }
  return found;
}

export function profileOf(handlerType: number, key: string): string {
  return `${handlerType}|${key}`;
}

/** Core-milliseconds per second that others have been promised. */
export function cpuPromised(node: SnapshotNode): number {
  return Math.max(0, node.cpu_cores * MS_PER_S * UTILISATION_CAP - node.cpu_ms_per_s_free);
}

export function gpuPromised(node: SnapshotNode): number {
  return Math.max(0, node.gpus * MS_PER_S * UTILISATION_CAP - node.gpu_ms_per_s_free);
}

export function fits(need: number, free: number): boolean {
  return need <= free + FIT_EPSILON;
}

/** Mbit/s of a packet stream. */
export function mbitOf(fps: number, bytes: number): number {
  return (fps * bytes * 8) / 1e6;
}
