/**
 * Arc consistency for graphs that fork or join: a node is struck from a handler when some neighbour of the handler has no
 * node left that a link could reach from there. Tails look along one path at a time and cannot see this; a pinned fork
 * with a thin link otherwise lets the search place half the graph before it notices. Removes no placement that exists.
 */
import { type Cluster, fits, mbitOf } from './cluster.js';
import type { Graph, Option } from './graph.js';

/** The options with fewer possible nodes; a chain needs none of it and comes back as it is. */
export function narrowed(graph: Graph, cluster: Cluster, options: readonly Option[]): readonly Option[] {
  const forks = graph.targets.some((targets) => targets.length > 1) || graph.feeds.some((feeds) => feeds.length > 1);
  if (!forks) return options;
  const possible = options.map((option) => [...option.possible]);
  const arcs = graph.feeds.flatMap((feeds, target) => feeds.map((source) => ({ source, target })));
  const carries = (source: number, from: number, to: number): boolean => {
    const link = from * cluster.nodes.length + to;
    if (cluster.hopMs[link] === Number.POSITIVE_INFINITY) return false;
    return !graph.enforced || fits(mbitOf(graph.fps, options[source]!.bytes[from]!), cluster.mbitFree[link]!);
  };
  const revise = (at: number, keep: (node: number) => boolean): boolean => {
    const kept = possible[at]!.filter(keep);
    const changed = kept.length < possible[at]!.length;
    possible[at] = kept;
    return changed;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const { source, target } of arcs) {
      const reached = revise(target, (to) => possible[source]!.some((from) => carries(source, from, to)));
      const reaching = revise(source, (from) => possible[target]!.some((to) => carries(source, from, to)));
      changed ||= reached || reaching;
    }
  }
  return options.map((option, at) =>
    possible[at]!.length === option.possible.length ? option : { ...option, possible: Int32Array.from(possible[at]!) },
  );
}
