/** One variant of one session at given prices of resources: what a handler on a node costs, and a packet between two. */
import type { Graph } from '../graphs.js';
import type { Fleet, Task } from '../model.js';

export class PricedGraph {
  constructor(
    readonly fleet: Fleet,
    readonly task: Task,
    readonly graph: Graph,
    readonly price: Float64Array,
  ) {}

  allowed(option: number, node: number): boolean {
    const { possible, nodeCount, atSource } = this.fleet;
    const { stay, source } = this.task;
    if (possible[option * nodeCount + node] === 0 || (atSource[option] === 1 && node !== source)) return false;
    return stay === null || stay[node] === 1;
  }

  /** Shared models' memory apart. */
  stage(option: number, node: number): number {
    const { nodeCount, cpuMs, gpuMs, memMb, gpuAt, memAt } = this.fleet;
    const { price } = this;
    const cell = option * nodeCount + node;
    return (
      this.task.fps * (cpuMs[cell]! * price[node]! + gpuMs[cell]! * price[gpuAt + node]!) +
      memMb[option]! * price[memAt + node]!
    );
  }

  /** Between two nodes, for `mbit` Mbit/s. */
  link(from: number, to: number, mbit: number): number {
    const { site, upAt, downAt, wanUpAt, wanDownAt, pathAt, pathOf, nodeCount } = this.fleet;
    const { price } = this;
    let sum = price[upAt + from]! + price[downAt + to]!;
    const path = pathOf.size === 0 ? undefined : pathOf.get(from * nodeCount + to);
    if (path !== undefined) sum += price[pathAt + path]!;
    else if (site[from] !== site[to]) sum += price[wanUpAt + site[from]!]! + price[wanDownAt + site[to]!]!;
    return mbit * sum;
  }

  mbit(bytes: number): number {
    return (this.task.fps * bytes * 8) / 1e6;
  }

  /** Whether handler `at` is fed by the one before it; other links are left out of a bound. */
  linked(at: number): boolean {
    return this.graph.feeds[at]!.includes(at - 1);
  }
}
