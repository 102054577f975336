/**
 * What a complete placement comes to, and the first thing wrong with it in words. Plain forward arithmetic over the
 * options: used to describe plans and to ask what one handler elsewhere would have meant.
 */
import type { Objective } from '../contracts/plan.js';
import { type Cluster, fits, mbitOf } from './cluster.js';
import type { Graph, Option } from './graph.js';
import { cpuWords, gpuWords, memoryWords } from './rejection.js';
import { freeTenth, ms, needTenth } from './words.js';

export interface Placed {
  readonly graph: Graph;
  readonly cluster: Cluster;
  /** Alternative index per handler. */
  readonly choice: readonly number[];
  /** Node index per handler. */
  readonly nodes: readonly number[];
}

export interface Evaluation {
  /** When each handler is done with a packet, ms after the source took it. */
  readonly finishMs: readonly number[];
  readonly latencyMs: number;
  /** Latency and extras: what plans of one accuracy compete in. */
  readonly costMs: number;
}

export const optionAt = ({ graph, choice }: Placed, at: number): Option => graph.options[at]![choice[at]!]!;

/** One packet from `source` to `target`, ms; 0 on one node, Infinity without a path. */
export function linkMs(placed: Placed, source: number, target: number): number {
  const { cluster, nodes } = placed;
  const link = nodes[source]! * cluster.nodes.length + nodes[target]!;
  return cluster.hopMs[link]! + optionAt(placed, source).bytes[nodes[source]!]! * cluster.msPerByte[link]!;
}

export function evaluate(placed: Placed): Evaluation {
  const finishMs: number[] = [];
  let extraMs = 0;
  placed.nodes.forEach((node, at) => {
    const option = optionAt(placed, at);
    const arrivals = placed.graph.feeds[at]!.map((source) => finishMs[source]! + linkMs(placed, source, at));
    finishMs.push(Math.max(0, ...arrivals) + option.stageMs[node]!);
    extraMs += option.extraMs[node]!;
  });
  const latencyMs = Math.max(...finishMs);
  return { finishMs, latencyMs, costMs: latencyMs + extraMs };
}

/** Why the placement is not possible as far as handler `at` is concerned, or null. */
export function faultAt(placed: Placed, at: number, objective: Objective): string | null {
  const { graph, nodes } = placed;
  const alone = optionAt(placed, at).rejected[nodes[at]!];
  if (alone !== null && alone !== undefined) return alone;
  const together = graph.enforced ? nodeFault(placed, at) : null;
  if (together !== null) return together;
  const link = linkFault(placed, at);
  if (link !== null) return link;
  const latencyMsMax = objective.latency_ms_max;
  if (latencyMsMax === undefined) return null;
  const { latencyMs } = evaluate(placed);
  return fits(latencyMs, latencyMsMax)
    ? null
    : `latency ${ms(latencyMs)} > ${ms(latencyMsMax)} with the rest as planned`;
}

function nodeFault(placed: Placed, at: number): string | null {
  const { cluster, graph, nodes } = placed;
  const index = nodes[at]!;
  const node = cluster.nodes[index]!;
  const there = nodes.flatMap((one, handler) => (one === index ? [handler] : []));
  const sum = (value: (option: Option) => number) =>
    there.reduce((total, one) => total + value(optionAt(placed, one)), 0);
  const cpu = sum((option) => option.cpu[index]!);
  const gpu = sum((option) => option.gpu[index]!);
  const memMb = sum((option) => option.memMb[index]!);
  const others = there.filter((one) => one !== at).map((one) => graph.handlers[one]!.handler_name);
  const beside = others.length === 0 ? '' : ` beside ${others.join(', ')}`;
  if (!fits(memMb, node.mem_mb_free)) return memoryWords(memMb, node.mem_mb_free) + beside;
  if (!fits(cpu, node.cpu_ms_per_s_free)) return cpuWords(cpu, node.cpu_ms_per_s_free) + beside;
  return fits(gpu, node.gpu_ms_per_s_free) ? null : gpuWords(gpu, node.gpu_ms_per_s_free) + beside;
}

function linkFault(placed: Placed, at: number): string | null {
  const { graph, cluster } = placed;
  const ends: [number, number][] = [
    ...graph.feeds[at]!.map((source): [number, number] => [source, at]),
    ...graph.targets[at]!.map((target): [number, number] => [at, target]),
  ];
  for (const [source, target] of ends) {
    const from = placed.nodes[source]!;
    const to = placed.nodes[target]!;
    const link = from * cluster.nodes.length + to;
    const names = `from ${cluster.nodes[from]!.node_name} to ${cluster.nodes[to]!.node_name}`;
    if (cluster.hopMs[link] === Number.POSITIVE_INFINITY) return `no path ${names}`;
    const mbit = mbitBetween(placed, from, to);
    if (graph.enforced && !fits(mbit, cluster.mbitFree[link]!))
      return bandwidthWords(mbit, cluster.mbitFree[link]!, names);
  }
  return null;
}

export const bandwidthWords = (need: number, free: number, names: string): string =>
  `bandwidth ${needTenth(need)} Mbit/s needed > ${freeTenth(free)} Mbit/s free ${names}`;

/** All links of the session over one pair of nodes, Mbit/s. */
export function mbitBetween(placed: Placed, from: number, to: number): number {
  if (from === to) return 0;
  const { graph, nodes } = placed;
  return graph.feeds.reduce(
    (total, feeds, target) =>
      nodes[target] !== to
        ? total
        : feeds.reduce(
            (sum, source) =>
              nodes[source] === from ? sum + mbitOf(graph.fps, optionAt(placed, source).bytes[from]!) : sum,
            total,
          ),
    0,
  );
}
