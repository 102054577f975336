/**
 * Which nodes there are, which of them answer, and what they run. One prober per node, so that a slow node delays
 * nobody; the newest answer of each is kept, and everything else (placement, reconciler, pages) reads it from here.
 * Invariant: a session that a `PUT` has just answered is not replaced by an older heartbeat that was on its way.
 */

import { nodeUrl } from '../client/addresses.js';
import { createNodeClient, type NodeClient } from '../client/node-client.js';
import { createReferenceNodeClient } from '../client/reference-node-client.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { NodeFile, NodeView, ObservedSession } from '../contracts/node.js';
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import type { StateStore } from '../store/store.js';
import type { EventLog } from './event-log.js';
import { HintWatch } from './hint-watch.js';
import { NodeProber, type NodeStatus } from './node-prober.js';
import type { CoordinatorBounds } from './options.js';

/** Between two notes in the store that a node was seen, s: after a restart "last seen" is true to the minute. */
const SEEN_PERIOD_S = 60;

export type NodeChange = 'up' | 'lost' | 'missing' | 'heartbeat';

export interface NodeRegistryOptions {
  readonly nodes: readonly NodeFile[];
  readonly token: string | null;
  readonly tlsCa?: string | undefined;
  readonly state: Pick<StateStore, 'nodesSeen' | 'saveNodeSeen' | 'drained' | 'saveDrained'>;
  readonly events: EventLog;
  readonly bounds: CoordinatorBounds;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A node with its client; `status` changes in place with every heartbeat. */
export interface RegisteredNode {
  readonly file: NodeFile;
  readonly url: string;
  readonly client: NodeClient;
  readonly status: Readonly<NodeStatus>;
  /** s since the epoch: it takes no new handlers since then; null: it does. */
  readonly drainedSince: number | null;
}

interface Entry extends RegisteredNode {
  readonly prober: NodeProber;
  /** Null: it speaks a protocol without hints. */
  readonly hints: HintWatch | null;
  drainedSince: number | null;
  savedAt: number;
}

/** Where `from` reaches `target`. */
export function urlFor(target: RegisteredNode, from: RegisteredNode): string {
  return from.file.routes?.find(({ node_id }) => node_id === target.file.node_id)?.url ?? target.url;
}

export class NodeRegistry {
  readonly #entries = new Map<number, Entry>();
  readonly #options: NodeRegistryOptions;
  readonly #listeners = new Set<(nodeId: number, change: NodeChange) => void>();
  #epoch: number | null = null;
  #version = 0;
  #heartbeats = 0;

  constructor(options: NodeRegistryOptions) {
    this.#options = options;
    for (const file of options.nodes) this.#entries.set(file.node_id, this.#entryOf(file));
  }

  #entryOf(file: NodeFile): Entry {
    const { token, tlsCa, bounds, clock } = this.#options;
    const url = nodeUrl(file);
    // A node that takes longer than this to take an order is as good as lost, and an order may be repeated.
    const onDisconnect = () => this.#entries.get(file.node_id)?.prober.suspect();
    const peer = (nodeId: number) => this.#entries.get(nodeId)?.file;
    const client =
      file.control === 'reference'
        ? createReferenceNodeClient({ file, url, peer, clock })
        : createNodeClient({ url, token, tlsCa, timeoutMs: bounds.heartbeatTimeoutMs, onDisconnect });
    const change = (kind: NodeChange) => this.#changed(file.node_id, kind);
    const prober = new NodeProber({ file, client, bounds, clock, epoch: () => this.#epoch, change });
    const onHint = (suspects: readonly number[]) => {
      prober.ask();
      for (const nodeId of suspects) this.#entries.get(nodeId)?.prober.suspect();
    };
    const hints = file.control === 'reference' ? null : new HintWatch({ client, onHint });
    return { file, url, client, prober, hints, status: prober.status, drainedSince: null, savedAt: 0 };
  }

  /** Begins to ask; resolves when every node has answered or failed to answer once. */
  async start(): Promise<void> {
    for (const seen of await this.#options.state.nodesSeen()) {
      this.#entries.get(seen.node_id)?.prober.remember(seen.last_seen, seen.facts);
    }
    await Promise.all([...this.#entries.values()].map((entry) => entry.prober.start()));
  }

  /** Which nodes are drained; read once no older coordinator can change it. */
  async restoreDrained(): Promise<void> {
    for (const { node_id, since } of await this.#options.state.drained()) {
      const entry = this.#entries.get(node_id);
      if (entry !== undefined) entry.drainedSince = since;
    }
  }

  /** Stored before anyone hears of it. */
  async setDrained(nodeId: number, since: number | null): Promise<void> {
    await this.#options.state.saveDrained(nodeId, since);
    this.#entries.get(nodeId)!.drainedSince = since;
    this.#version += 1;
  }

  /** From now on nodes are told what their clocks are off by, in the name of this epoch. */
  lead(epoch: number): void {
    this.#epoch = epoch;
  }

  /** Grows when a node comes or goes: what could not be placed may be tried again. */
  get version(): number {
    return this.#version;
  }

  get heartbeats(): number {
    return this.#heartbeats;
  }

  get(nodeId: number): RegisteredNode | undefined {
    return this.#entries.get(nodeId);
  }

  all(): RegisteredNode[] {
    return [...this.#entries.values()];
  }

  isUp(nodeId: number): boolean {
    return this.#entries.get(nodeId)?.status.state === 'up';
  }

  /** Lost, silent since the coordinator started, or not in any node file any more. */
  isMissing(nodeId: number): boolean {
    const status = this.#entries.get(nodeId)?.status;
    return status === undefined || status.state === 'lost' || status.missing;
  }

  /** What a node that is up runs of a session. */
  observed(nodeId: number, sessionId: number): ObservedSession | undefined {
    const status = this.#entries.get(nodeId)?.status;
    return status?.state === 'up' ? status.sessions.get(sessionId) : undefined;
  }

  /** By id or name. Throws NODE_NOT_FOUND with the known names. */
  find(ref: number | string): RegisteredNode {
    const nodes = this.all();
    const found = nodes.find(({ file }) => file.node_id === ref || file.node_name === ref);
    if (found !== undefined) return found;
    const known = nodes.map(({ file }) => `${file.node_id} ${file.node_name}`).join(', ');
    throw new OrchestratorError('NODE_NOT_FOUND', `no node is ${JSON.stringify(ref)}; known: ${known || 'none'}`, {
      node: ref,
    });
  }

  /** A node answered this to a `PUT`: newer than any heartbeat that is on its way. */
  note(nodeId: number, observed: ObservedSession): void {
    this.#entries.get(nodeId)?.prober.note(observed);
  }

  /** Asks this node more often for a while. */
  hurry(nodeId: number, forMs: number): void {
    this.#entries.get(nodeId)?.prober.hurry(forMs);
  }

  onChange(listener: (nodeId: number, change: NodeChange) => void): void {
    this.#listeners.add(listener);
  }

  view({ file, status }: RegisteredNode, { drain, slowness }: Pick<NodeView, 'drain' | 'slowness'>): NodeView {
    return {
      ...file,
      state: status.state,
      last_seen: status.lastSeen,
      facts: status.facts,
      cpu_util: status.state === 'up' ? status.cpuUtil : null,
      slowness,
      rtt_measured_ms: status.clock.rttMs,
      clock_offset_ms: status.clock.offset?.offsetMs ?? null,
      clock_error_ms: status.clock.offset?.errorMs ?? null,
      clock_correction_ms: status.clockCorrectionMs,
      sessions: status.state === 'up' ? [...status.sessions.keys()].sort((a, b) => a - b) : [],
      drain,
      ...(status.problem === null ? {} : { problem: status.problem }),
    };
  }

  async close(): Promise<void> {
    await Promise.all(
      [...this.#entries.values()].map(async ({ prober, hints, client }) => {
        hints?.stop();
        prober.close();
        await client.close();
      }),
    );
  }

  #changed(nodeId: number, change: NodeChange): void {
    const entry = this.#entries.get(nodeId)!;
    if (change === 'heartbeat') this.#heartbeats += 1;
    else this.#version += 1;
    if (change === 'up') entry.hints?.start();
    if (change === 'lost') entry.hints?.stop();
    if (change === 'up' || change === 'lost') this.#tell(entry, change);
    this.#saveSeen(entry, change);
    for (const listener of this.#listeners) listener(nodeId, change);
  }

  #tell({ file, status }: Entry, change: 'up' | 'lost'): void {
    const { node_id, node_name } = file;
    const message = change === 'up' ? `${node_name} up | ${factsWords(status)}` : `${node_name} ${status.why} -> lost`;
    this.#options.events.emit({ kind: `node.${change}`, node_id, message });
  }

  #saveSeen(entry: Entry, change: NodeChange): void {
    const { lastSeen, facts } = entry.status;
    if (lastSeen === null || (change === 'heartbeat' && lastSeen - entry.savedAt < SEEN_PERIOD_S)) return;
    entry.savedAt = lastSeen;
    const { node_id, node_name } = entry.file;
    this.#options.state.saveNodeSeen({ node_id, node_name, last_seen: lastSeen, facts }).catch((error: unknown) => {
      this.#options.logger.warn({ err: error, node_id }, `${node_name}: that it was seen could not be stored`);
    });
  }
}

function factsWords({ facts }: NodeStatus): string {
  if (facts === null) return 'no facts';
  const gpus = facts.gpus.length === 0 ? 'no GPU' : facts.gpus.map((gpu) => gpu.name).join(', ');
  const cores = `${facts.cpu_cores} core${facts.cpu_cores === 1 ? '' : 's'}`;
  return `${cores} of speed ${facts.speed.toFixed(2)}, ${(facts.mem_free_mb / 1024).toFixed(1)} GiB free, ${gpus}`;
}
