/** Where the parts of the system are: the only place that makes an address out of a host and a port. */
import { isIP } from 'node:net';
import type { NodeFile } from '../contracts/node.js';

/** `http://host:port`, or `https:` */
export function httpUrl(host: string, port: number, tls = false): string {
  return `${tls ? 'https' : 'http'}://${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}

/** Where the agent of a node listens; links from this node are dialled there. */
export function nodeUrl(node: Pick<NodeFile, 'node_addr' | 'node_port' | 'tls'>): string {
  return httpUrl(node.node_addr, node.node_port, node.tls);
}

/** Where one packet can be posted to an input of a handler; `url` is its node's. */
export function inputUrl(url: string, sessionId: number, handlerId: number, input: number): string {
  return `${url}/v1/sessions/${sessionId}/handlers/${handlerId}/inputs/${input}`;
}

/** A page of a handler; `url` is its node's. render has index.html, stream.mjpeg, frame.jpg, boxes.json, boxes.jsonl. */
export function pageUrl(url: string, sessionId: number, handlerId: number, page: string): string {
  return `${url}/v1/sessions/${sessionId}/handlers/${handlerId}/pages/${page}`;
}

/** Where programs join an external handler; `url` is its node's. */
export function workerUrl(url: string, sessionId: number, handlerId: number): string {
  return `${url}/v1/sessions/${sessionId}/handlers/${handlerId}/worker`;
}
