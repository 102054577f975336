/**
 * What running plans leave of a cluster. `base` holds capacities without any session (total cores, total memory that
 * sessions may use, whole links). CPU and GPU are cut at UTILISATION_CAP of the hardware, so a base that is already cut
 * stays as it is; links are cut at UTILISATION_CAP of what `base` says. Memory is not cut: it does not queue.
 * Nothing falls below zero: an over-committed static template leaves nothing, not less.
 */
import { modelKey, type SessionPlan, type Snapshot, type SnapshotLink, type SnapshotNode } from '../contracts/plan.js';
import { UTILISATION_CAP } from './bounds.js';

const MS_PER_S = 1000;

export function residualSnapshot(base: Snapshot, plans: readonly SessionPlan[]): Snapshot {
  const used = usesOf(plans);
  return {
    nodes: base.nodes.map((node) => residualNode(node, used.nodes.get(node.node_id))),
    links: base.links.map((link) => residualLink(link, used.links.get(`${link.source_node}>${link.target_node}`) ?? 0)),
    profiles: base.profiles,
  };
}

interface NodeUse {
  cpu: number;
  gpu: number;
  memMb: number;
  /** Shared models, each with what it takes. */
  readonly models: Map<string, number>;
}

function usesOf(plans: readonly SessionPlan[]) {
  const nodes = new Map<number, NodeUse>();
  const links = new Map<string, number>();
  for (const plan of plans) {
    for (const handler of plan.handlers) {
      const use = nodes.get(handler.node_id) ?? noUse();
      use.cpu += handler.cpu_ms_per_s;
      use.gpu += handler.gpu_ms_per_s;
      use.memMb += handler.mem_mb;
      if (handler.model_mb !== undefined) {
        const key = modelKey(handler);
        use.models.set(key, Math.max(use.models.get(key) ?? 0, handler.model_mb));
      }
      nodes.set(handler.node_id, use);
    }
    for (const link of plan.links) {
      if (link.source_node === link.target_node) continue;
      const key = `${link.source_node}>${link.target_node}`;
      links.set(key, (links.get(key) ?? 0) + link.mbit_per_s);
    }
  }
  return { nodes, links };
}

const noUse = (): NodeUse => ({ cpu: 0, gpu: 0, memMb: 0, models: new Map() });

function residualNode(node: SnapshotNode, use: NodeUse = noUse()): SnapshotNode {
  const modelsMb = [...use.models.values()].reduce((sum, mb) => sum + mb, 0);
  const cpu = Math.min(node.cpu_ms_per_s_free, node.cpu_cores * MS_PER_S * UTILISATION_CAP);
  const gpu = Math.min(node.gpu_ms_per_s_free, node.gpus * MS_PER_S * UTILISATION_CAP);
  return {
    ...node,
    cpu_ms_per_s_free: Math.max(0, cpu - use.cpu),
    gpu_ms_per_s_free: Math.max(0, gpu - use.gpu),
    mem_mb_free: Math.max(0, node.mem_mb_free - use.memMb - modelsMb),
    ...(use.models.size === 0 ? {} : { models: [...use.models.keys()] }),
  };
}

function residualLink(link: SnapshotLink, mbit: number): SnapshotLink {
  return { ...link, mbit_per_s_free: Math.max(0, link.mbit_per_s_free * UTILISATION_CAP - mbit) };
}
