/**
 * The cluster as the allocator sees it: facts of nodes that answered, the values of their files for the rest, the links
 * between every pair, and measured profiles.
 * Surprising: a node tells how much memory is available now, with running handlers already in it, while plans are
 * subtracted from what there is without them; so what loaded handlers hold is added back first.
 */
import { residualSnapshot } from '../allocation/residual.js';
import {
  modelKey,
  type Profile,
  type SessionPlan,
  type Snapshot,
  type SnapshotLink,
  type SnapshotNode,
} from '../contracts/plan.js';
import { isDialable, linkFigures } from './link-figures.js';
import type { LinkTable } from './link-table.js';
import type { RegisteredNode } from './node-registry.js';

/** Of a node that has never told its facts: only static templates and pins can mean it, and it is not up. */
const UNKNOWN_FACTS = { cpu_cores: 1, speed: 1, mem_mb: 0, mem_free_mb: 0, gpus: [], labels: [], handler_types: null };

export interface SnapshotInput {
  readonly nodes: readonly RegisteredNode[];
  /** Plans of every session that holds resources; `others` of them count against what is free. */
  readonly holding: readonly { readonly session_id: number; readonly plan: SessionPlan }[];
  /** The session that is being placed: what it holds is free for it. */
  readonly except?: number;
  readonly profiles: readonly Profile[];
  readonly links: LinkTable;
  /** Times that packets take longer on a node now; profiles have it in them. */
  slownessOf(nodeId: number): number;
}

export function allocatorSnapshot({ nodes, holding, except, profiles, links, slownessOf }: SnapshotInput): Snapshot {
  const base: Snapshot = {
    nodes: nodes.map((node) => snapshotNode(node, holding, slownessOf(node.file.node_id))),
    links: linksOf(nodes, links),
    profiles,
  };
  const others = holding.filter(({ session_id }) => session_id !== except).map(({ plan }) => plan);
  return residualSnapshot(base, others);
}

/** A node with all that it has, whatever sessions take of it. */
export function snapshotNode(
  { file, status, drainedSince }: RegisteredNode,
  holding: SnapshotInput['holding'],
  slowness: number,
): SnapshotNode {
  const facts = status.facts ?? UNKNOWN_FACTS;
  const gpus = facts.gpus.length;
  let loadedMb = 0;
  const models = new Map<string, number>();
  for (const { session_id, plan } of holding) {
    const observed = status.sessions.get(session_id);
    if (observed === undefined) continue;
    const loaded = new Set(observed.handlers.filter((one) => one.state !== 'preparing').map((one) => one.handler_id));
    for (const handler of plan.handlers) {
      if (handler.node_id !== file.node_id || !loaded.has(handler.handler_id)) continue;
      loadedMb += handler.mem_mb;
      if (handler.model_mb !== undefined) models.set(modelKey(handler), handler.model_mb);
    }
  }
  for (const modelMb of models.values()) loadedMb += modelMb;
  return {
    node_id: file.node_id,
    node_name: file.node_name,
    up: status.state === 'up',
    drained: drainedSince !== null,
    labels: [...new Set([...file.labels, ...facts.labels])],
    speed: facts.speed / slowness,
    cpu_cores: facts.cpu_cores,
    cpu_ms_per_s_free: facts.cpu_cores * 1000,
    mem_mb_free: Math.min(facts.mem_mb, facts.mem_free_mb + loadedMb),
    gpus,
    gpu_ms_per_s_free: gpus * 1000,
    handler_types: facts.handler_types,
  };
}

/** One way is half of a round trip. Two nodes that both cannot be dialled have no link. */
function linksOf(nodes: readonly RegisteredNode[], measured: LinkTable): SnapshotLink[] {
  return nodes.flatMap((source) =>
    nodes
      .filter((target) => target !== source && (isDialable(source) || isDialable(target)))
      .map((target) => {
        const { rtt, mbit } = linkFigures(source, target, measured);
        return {
          source_node: source.file.node_id,
          target_node: target.file.node_id,
          latency_ms: rtt.value / 2,
          mbit_per_s_free: mbit.value,
          ...{ latency_from: rtt.from, mbit_from: mbit.from },
        };
      }),
  );
}
