/** Where the parts of the system are: the only place that makes an address out of a host and a port. */
import { isIP } from 'node:net';
import type { NodeFile } from '../contracts/node.js';

/** `http://host:port` */
export function httpUrl(host: string, port: number): string {
  return `http://${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}

/** Where the agent of a node listens; links from this node are dialled there. */
export function nodeUrl(node: Pick<NodeFile, 'node_addr' | 'node_port'>): string {
  return httpUrl(node.node_addr, node.node_port);
}
