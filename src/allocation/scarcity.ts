/**
 * What a session itself takes of nodes and links, as far as it matters. A use is remembered only while the handlers still
 * to be placed could, in the worst case, ask for more than is left; most nodes are roomy and are never remembered, which
 * is what keeps labels comparable. Forgetting is safe: what was forgotten can no longer overflow.
 */
import type { SnapshotNode } from '../contracts/plan.js';
import { fits, mbitOf } from './cluster.js';
import type { Problem } from './tails.js';

export interface Use {
  /** Node index, or nodes + source * nodes + target for a link. */
  readonly slot: number;
  readonly cpu: number;
  readonly gpu: number;
  readonly memMb: number;
  readonly mbit: number;
}

export type Uses = readonly Use[];

export const NO_USE: Uses = [];

export class Scarcity {
  readonly #problem: Problem;
  readonly #size: number;
  /** Most that handlers from a depth on could still take of each node; [depth * nodes + node]. */
  readonly #cpuLeft: Float64Array;
  readonly #gpuLeft: Float64Array;
  readonly #memLeft: Float64Array;
  /** Most that links into handlers from a depth on could still take of one link, Mbit/s. */
  readonly #mbitLeft: Float64Array;
  /** What handlers from a depth on that have no other node will take for certain. */
  readonly #cpuSure: Float64Array;
  readonly #gpuSure: Float64Array;
  readonly #memSure: Float64Array;

  constructor(problem: Problem) {
    const depth = problem.options.length;
    this.#problem = problem;
    this.#size = problem.cluster.nodes.length;
    const cells = (depth + 1) * this.#size;
    this.#cpuLeft = new Float64Array(cells);
    this.#gpuLeft = new Float64Array(cells);
    this.#memLeft = new Float64Array(cells);
    this.#mbitLeft = new Float64Array(depth + 1);
    this.#cpuSure = new Float64Array(cells);
    this.#gpuSure = new Float64Array(cells);
    this.#memSure = new Float64Array(cells);
    for (let at = depth - 1; at >= 0; at--) this.#addFrom(at);
  }

  #addFrom(at: number): void {
    const option = this.#problem.options[at]!;
    const row = at * this.#size;
    this.#addNeeds(this.#cpuLeft, this.#cpuSure, row, option.possible, (node) => option.cpu[node]!);
    this.#addNeeds(this.#gpuLeft, this.#gpuSure, row, option.possible, (node) => option.gpu[node]!);
    this.#addNeeds(this.#memLeft, this.#memSure, row, option.possible, (node) => option.memMb[node]!);
    const links = this.#problem.graph.feeds[at]!.map((source) => this.#mbitMost(source));
    this.#mbitLeft[at] = this.#mbitLeft[at + 1]! + links.reduce((sum, one) => sum + one, 0);
  }

  #addNeeds(
    left: Float64Array,
    sure: Float64Array,
    row: number,
    nodes: Int32Array,
    need: (node: number) => number,
  ): void {
    left.copyWithin(row, row + this.#size, row + 2 * this.#size);
    sure.copyWithin(row, row + this.#size, row + 2 * this.#size);
    for (const node of nodes) left[row + node]! += need(node);
    const only = nodes.length === 1 ? nodes[0] : undefined;
    if (only !== undefined) sure[row + only]! += need(only);
  }

  /** Some node cannot even hold the handlers that have no other. */
  get hopeless(): boolean {
    return this.#problem.cluster.nodes.some((node, index) => !this.#holds(node, 0, 0, 0, index));
  }

  #holds(node: SnapshotNode, cpu: number, gpu: number, memMb: number, cell: number): boolean {
    return (
      fits(cpu + this.#cpuSure[cell]!, node.cpu_ms_per_s_free) &&
      fits(gpu + this.#gpuSure[cell]!, node.gpu_ms_per_s_free) &&
      fits(memMb + this.#memSure[cell]!, node.mem_mb_free)
    );
  }

  #mbitMost(source: number): number {
    const { bytes, possible } = this.#problem.options[source]!;
    return mbitOf(
      this.#problem.graph.fps,
      possible.reduce((most, node) => Math.max(most, bytes[node]!), 0),
    );
  }

  /** `uses` with handler `at` on `node` (earlier handlers on `placed`), or null when that asks for more than there is. */
  place(uses: Uses, at: number, node: number, placed: (handler: number) => number): Uses | null {
    const withNode = this.#placeOnNode(uses, at, node);
    const feeds = this.#problem.graph.feeds[at]!;
    return withNode === null || feeds.length === 0 ? withNode : this.#placeLinks(withNode, at, node, placed);
  }

  #placeOnNode(uses: Uses, at: number, node: number): Uses | null {
    const option = this.#problem.options[at]!;
    const free = this.#problem.cluster.nodes[node]!;
    const before = uses.find((use) => use.slot === node);
    const cpu = (before?.cpu ?? 0) + option.cpu[node]!;
    const gpu = (before?.gpu ?? 0) + option.gpu[node]!;
    const memMb = (before?.memMb ?? 0) + option.memMb[node]!;
    const later = (at + 1) * this.#size + node;
    if (!this.#holds(free, cpu, gpu, memMb, later)) return null;
    const roomy =
      fits(cpu + this.#cpuLeft[later]!, free.cpu_ms_per_s_free) &&
      fits(gpu + this.#gpuLeft[later]!, free.gpu_ms_per_s_free) &&
      fits(memMb + this.#memLeft[later]!, free.mem_mb_free);
    return replaced(uses, before, roomy ? null : { slot: node, cpu, gpu, memMb, mbit: 0 });
  }

  #placeLinks(uses: Uses, at: number, node: number, placed: (handler: number) => number): Uses | null {
    const { cluster, graph, options } = this.#problem;
    let now = uses;
    const touched: number[] = [];
    for (const source of graph.feeds[at]!) {
      const from = placed(source);
      if (from === node) continue;
      const link = from * this.#size + node;
      const slot = this.#size + link;
      const before = now.find((use) => use.slot === slot);
      const mbit = (before?.mbit ?? 0) + mbitOf(graph.fps, options[source]!.bytes[from]!);
      if (!fits(mbit, cluster.mbitFree[link]!)) return null;
      // A link with room for all that may follow, here and later, is not remembered.
      if (before === undefined && fits(mbit + this.#mbitLeft[at]!, cluster.mbitFree[link]!)) continue;
      now = replaced(now, before, { slot, cpu: 0, gpu: 0, memMb: 0, mbit });
      touched.push(slot);
    }
    return touched.length === 0 ? now : this.#forgetRoomyLinks(now, at, touched);
  }

  #forgetRoomyLinks(uses: Uses, at: number, touched: readonly number[]): Uses {
    const { mbitFree } = this.#problem.cluster;
    return uses.filter(
      (use) =>
        !touched.includes(use.slot) || !fits(use.mbit + this.#mbitLeft[at + 1]!, mbitFree[use.slot - this.#size]!),
    );
  }
}

function replaced(uses: Uses, before: Use | undefined, after: Use | null): Uses {
  if (before === undefined) return after === null ? uses : [...uses, after];
  const rest = uses.filter((use) => use !== before);
  return after === null ? rest : [...rest, after];
}

/** True when `a` takes no more than `b` of anything that is still scarce. */
export function leavesAsMuch(a: Uses, b: Uses): boolean {
  return a.every((use) =>
    b.some(
      (other) =>
        other.slot === use.slot &&
        use.cpu <= other.cpu &&
        use.gpu <= other.gpu &&
        use.memMb <= other.memMb &&
        use.mbit <= other.mbit,
    ),
  );
}
