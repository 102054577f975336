/**
 * Emulated access links for the nodes of a local cluster: what reaches a shaped node, and what it opens to others, passes
 * a Shaper. Two shaped nodes meet over both links, as machines behind two access links do. Nothing is measured specially:
 * heartbeats, links between nodes and probes simply take the longer way. Reports to the collector do not.
 */

import { OrchestratorError } from '../contracts/errors.js';
import type { NodeFile } from '../contracts/node.js';
import { SHAPER_DELAY_MS_MAX, SHAPER_MBIT_MAX, SHAPER_MBIT_MIN, Shaper } from '../links/shaper.js';

/** The access link of one node. */
export interface NodeShape {
  /** Round trip between the node and the rest, ms. */
  readonly rttMs: number;
  /** Each way, Mbit/s. */
  readonly mbit: number;
}

/** Throws USAGE, which names the node and the bounds. */
export function checkShape(name: string, { rttMs, mbit }: NodeShape): void {
  const rttMsMax = 2 * SHAPER_DELAY_MS_MAX;
  if (rttMs >= 0 && rttMs <= rttMsMax && mbit >= SHAPER_MBIT_MIN && mbit <= SHAPER_MBIT_MAX) return;
  const bounds = `a round trip of 0 to ${rttMsMax} ms and ${SHAPER_MBIT_MIN} to ${SHAPER_MBIT_MAX} Mbit/s`;
  throw new OrchestratorError('USAGE', `--shape ${name}=${rttMs},${mbit}: ${bounds} can be emulated`);
}

export interface ShapedNode {
  readonly node_id: number;
  /** Where its agent listens. */
  readonly url: string;
  readonly shape?: NodeShape | undefined;
}

export class ShapedNetwork {
  readonly #shapers = new Map<number, Shaper>();
  readonly #urls = new Map<number, string>();
  readonly #routes = new Map<number, NonNullable<NodeFile['routes']>>();

  private constructor() {}

  static async open(nodes: readonly ShapedNode[]): Promise<ShapedNetwork> {
    const network = new ShapedNetwork();
    try {
      for (const { node_id, url, shape } of nodes) await network.#addFront(node_id, url, shape);
      for (const { node_id } of nodes) await network.#addRoutes(node_id);
      return network;
    } catch (error) {
      await network.close();
      throw error;
    }
  }

  /** Where others reach a node. */
  urlOf(nodeId: number): string {
    return this.#urls.get(nodeId)!;
  }

  /** How a node reaches the others, when that is not where they are for everybody. */
  routesOf(nodeId: number): NodeFile['routes'] {
    return this.#routes.get(nodeId);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#shapers.values()].map((shaper) => shaper.close()));
  }

  async #addFront(nodeId: number, url: string, shape: NodeShape | undefined): Promise<void> {
    this.#urls.set(nodeId, url);
    if (shape === undefined) return;
    const shaper = new Shaper({ delayMs: shape.rttMs / 2, mbitPerS: shape.mbit });
    this.#shapers.set(nodeId, shaper);
    this.#urls.set(nodeId, await forward(shaper, url, 'outside'));
  }

  async #addRoutes(nodeId: number): Promise<void> {
    const shaper = this.#shapers.get(nodeId);
    if (shaper === undefined) return;
    const others = [...this.#urls].filter(([other]) => other !== nodeId);
    const routes = others.map(async ([node_id, url]) => ({ node_id, url: await forward(shaper, url, 'inside') }));
    this.#routes.set(nodeId, await Promise.all(routes));
  }
}

async function forward(shaper: Shaper, url: string, from: 'outside' | 'inside'): Promise<string> {
  const address = await shaper.forward({ kind: 'http', url }, { from });
  return address.kind === 'http' ? address.url : url;
}
