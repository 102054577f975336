/**
 * Has nodes measure their paths to one another where no link runs between them: one probe at a time in the whole
 * cluster, as many in a period as there are nodes, round and round over every ordered pair. So each node sends and takes
 * about one probe in a period, however many nodes there are.
 * Invariant: what nobody asked for never disturbs: a pair with a running link is measured in passing, and a node whose
 * sessions may use more than LOAD_MAX of its cores is left alone.
 */
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import { PROBE_BYTES_MAX } from '../contracts/limits.js';
import type { ProbeResult } from '../contracts/probe.js';
import type { Logger } from '../std/logger.js';
import { isDialable } from './link-figures.js';
import type { LinkTable } from './link-table.js';
import { type NodeRegistry, type RegisteredNode, urlFor } from './node-registry.js';
import type { SessionRecord } from './session-record.js';

/** Part of a node's cores that sessions are planned to use; above it a probe's bursts would be felt. */
const LOAD_MAX = 0.6;

/** Pairs that are looked at for the next probe before the turn is left out. */
const LOOKED_AT_MAX = 10_000;

/** Shortest time between two probes, ms: with a thousand nodes they would follow one another without a pause. */
const PAUSE_MS_MIN = 20;

/** Measurements count for at least this long, s, and for two rounds over all pairs. */
const FRESH_S_MIN = 600;

export interface LinkProbesOptions {
  readonly registry: NodeRegistry;
  readonly links: LinkTable;
  /** In it every node sends one probe, ms; 0 = none but those that are asked for. */
  readonly periodMs: number;
  readonly logger: Logger;
  active(): Iterable<SessionRecord>;
}

/** How long a probe counts in a cluster of so many nodes, s. */
export function probeFreshS(nodes: number, periodMs: number): number {
  return Math.max(FRESH_S_MIN, (2 * (nodes - 1) * periodMs) / 1000);
}

export class LinkProbes {
  readonly #options: LinkProbesOptions;
  #turn: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | null = null;
  #cursor = -1;
  #closed = false;
  /** Pairs whose last probe failed, so that each failure is logged once. */
  readonly #failing = new Set<string>();

  constructor(options: LinkProbesOptions) {
    this.#options = options;
  }

  start(): void {
    const { periodMs, registry } = this.#options;
    if (periodMs === 0 || this.#closed) return;
    const pauseMs = Math.max(PAUSE_MS_MIN, periodMs / Math.max(1, registry.all().length));
    this.#timer = setTimeout(() => void this.#next().finally(() => this.start()), pauseMs);
  }

  /** Measures this pair, whatever runs there; throws what the source node throws, or that one of them is not up. */
  measure(source: RegisteredNode, target: RegisteredNode): Promise<ProbeResult> {
    const turn = this.#turn.then(() => this.#probe(source, target));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** A probe that runs ends with the clients of the nodes. */
  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #next(): Promise<void> {
    const pair = this.#nextPair();
    if (pair === null) return;
    const [source, target] = pair;
    const key = `${source.file.node_name} -> ${target.file.node_name}`;
    try {
      await this.measure(source, target);
      this.#failing.delete(key);
    } catch (thrown) {
      const { code, message } = toOrchestratorError(thrown);
      if (!this.#failing.has(key) && !this.#closed) {
        this.#options.logger.warn({ code }, `the path ${key} cannot be measured: ${message}`);
      }
      this.#failing.add(key);
    }
  }

  async #probe(source: RegisteredNode, target: RegisteredNode): Promise<ProbeResult> {
    for (const { file, status } of [source, target]) {
      if (status.state === 'up') continue;
      throw new OrchestratorError('NODE_UNREACHABLE', `node ${file.node_id} ${file.node_name} is ${status.state}`);
    }
    const target_node = target.file.node_id;
    const result = await source.client.probe({ url: urlFor(target, source), target_node, bytes_max: PROBE_BYTES_MAX });
    const reading = { rttMs: result.rtt_ms, mbitPerS: result.mbit_per_s };
    this.#options.links.add('probe', source.file.node_id, target_node, reading);
    return result;
  }

  /** First every node to the one after it, then to the one after that, and so on: no node twice in a row. */
  #nextPair(): readonly [RegisteredNode, RegisteredNode] | null {
    const { registry, links } = this.#options;
    const nodes = registry.all();
    const pairs = nodes.length * (nodes.length - 1);
    const loads = this.#plannedCpu();
    const isFree = ({ file, status }: RegisteredNode) =>
      file.control === undefined &&
      status.state === 'up' &&
      (loads.get(file.node_id) ?? 0) <= LOAD_MAX * 1000 * (status.facts?.cpu_cores ?? 1);
    for (let looked = 0; looked < Math.min(pairs, LOOKED_AT_MAX); looked++) {
      this.#cursor = (this.#cursor + 1) % pairs;
      const at = this.#cursor % nodes.length;
      const distance = 1 + Math.floor(this.#cursor / nodes.length);
      const source = nodes[at]!;
      const target = nodes[(at + distance) % nodes.length]!;
      if (!isFree(source) || !isFree(target) || !isDialable(target)) continue;
      if (links.rtt(source.file.node_id, target.file.node_id)?.by !== 'link') return [source, target];
    }
    return null;
  }

  /** Core-milliseconds per second that the plans of running sessions use, by node_id. */
  #plannedCpu(): Map<number, number> {
    const loads = new Map<number, number>();
    for (const { stored } of this.#options.active()) {
      for (const { node_id, cpu_ms_per_s } of stored.plan.handlers) {
        loads.set(node_id, (loads.get(node_id) ?? 0) + cpu_ms_per_s);
      }
    }
    return loads;
  }
}
