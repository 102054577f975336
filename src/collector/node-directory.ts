/**
 * Which node a report comes from. Ours say so (`node_id`); the reference's are known by their peer address, which must
 * then be the node_addr of exactly one node file.
 */
import { isIP } from 'node:net';
import { OrchestratorError } from '../contracts/errors.js';
import type { NodeFile } from '../contracts/node.js';

export interface NodeDirectory {
  /** The reporting node's id. Throws REPORT_UNKNOWN_NODE. */
  resolve(nodeId: number | undefined, peerAddress: string): number;
}

export function nodeDirectory(nodes: readonly NodeFile[]): NodeDirectory {
  const ids = new Set(nodes.map(({ node_id }) => node_id));
  const byAddress = new Map<string, NodeFile[]>();
  for (const node of nodes) {
    const address = normalAddress(node.node_addr);
    byAddress.set(address, [...(byAddress.get(address) ?? []), node]);
  }
  return {
    resolve: (nodeId, peerAddress) => {
      if (nodeId === undefined) return fromAddress(byAddress, normalAddress(peerAddress));
      if (ids.has(nodeId)) return nodeId;
      throw new OrchestratorError('REPORT_UNKNOWN_NODE', `no node file has node_id ${nodeId}`, { node_id: nodeId });
    },
  };
}

function fromAddress(byAddress: ReadonlyMap<string, readonly NodeFile[]>, address: string): number {
  const found = byAddress.get(address) ?? [];
  if (found.length === 1) return found[0]!.node_id;
  const message =
    found.length === 0
      ? `no node file has node_addr ${address}: add one, or send node_id with the report`
      : `node_addr ${address} is that of nodes ${found.map(({ node_id }) => node_id).join(', ')}: send node_id with the report`;
  throw new OrchestratorError('REPORT_UNKNOWN_NODE', message, { address });
}

/** One spelling per address: `::ffff:10.0.0.1` (IPv4 on a dual-stack socket) is 10.0.0.1, IPv6 is lower case and short. */
export function normalAddress(address: string): string {
  const plain = address.replace(/%.*$/, '');
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1];
  if (mapped !== undefined) return mapped;
  if (isIP(plain) === 6) return new URL(`http://[${plain}]/`).hostname.slice(1, -1);
  return plain === 'localhost' ? '127.0.0.1' : plain.toLowerCase();
}
