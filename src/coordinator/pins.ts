/** Whether a service file lets one of its handlers be on a node. */
import type { GraphHandler } from '../contracts/service.js';
import type { RegisteredNode } from './node-registry.js';

/** Why not; null when it may. */
export function pinWords(at: GraphHandler['at'], { file, status }: RegisteredNode): string | null {
  if (at === null) return null;
  if (at.kind === 'source') return 'its service file pins it to the source node';
  if (at.kind === 'node') return at.node_id === file.node_id ? null : `its service file pins it to node ${at.node_id}`;
  const labels = [...file.labels, ...(status.facts?.labels ?? [])];
  return labels.includes(at.label) ? null : `its service file pins it to nodes with the label ${at.label}`;
}
