/**
 * Nodes that are looked at for one session: its own, those of its site, those that its pins name, where it runs, and a
 * sample of the rest that prefers hubs with a low price. A fixed number, so that a decision costs the same in a cluster
 * of a thousand nodes as in one of thirty.
 */

import type { Fleet, Task } from './model.js';
import type { Before } from './routing.js';
import type { State } from './state.js';

/** Of its own site: cameras' machines there can be many. */
const SITE_NODES_MAX = 10;

/** Nodes drawn from everywhere, twice: by capacity, and any. */
const STRONG_NODES = 10;
const ANY_NODES = 4;

/** Labels and pins that name more nodes than this are treated as no pin at all for the choice of candidates. */
const NAMED_NODES_MAX = 12;

export class Candidates {
  readonly #fleet: Fleet;
  readonly #state: State;
  readonly #bySite: number[][];
  /** Node indices by capacity, strongest first. */
  readonly #strong: readonly number[];
  readonly #named = new Map<unknown, readonly number[]>();
  readonly #mark: Uint32Array;
  #stamp = 0;

  constructor(state: State) {
    this.#state = state;
    this.#fleet = state.fleet;
    const { nodeCount, site, siteCount, capacity, gpuAt } = this.#fleet;
    this.#bySite = Array.from({ length: siteCount + 1 }, () => []);
    for (let node = 0; node < nodeCount; node++) this.#bySite[site[node]!]!.push(node);
    const strength = (node: number) => capacity[node]! * this.#fleet.nodes[node]!.speed + 8 * capacity[gpuAt + node]!;
    for (const nodes of this.#bySite) nodes.sort((a, b) => strength(b) - strength(a) || a - b);
    const all = Array.from({ length: nodeCount }, (_, node) => node).sort((a, b) => strength(b) - strength(a) || a - b);
    this.#strong = all.slice(0, Math.max(STRONG_NODES, Math.ceil(nodeCount / 2)));
    this.#mark = new Uint32Array(nodeCount);
  }

  of(task: Task, before: Before | null, random: () => number): number[] {
    if (this.#fleet.nodeCount <= SITE_NODES_MAX + STRONG_NODES + ANY_NODES) return this.all();
    this.#stamp++;
    const found: number[] = [];
    this.#push(found, task.source);
    const home = this.#bySite[this.#fleet.site[task.source]!]!;
    for (let index = 0; index < Math.min(home.length, SITE_NODES_MAX); index++) this.#push(found, home[index]!);
    for (const node of this.#namedOf(task)) this.#push(found, node);
    if (before !== null)
      for (const { nodes } of before.values()) for (const node of nodes) if (node >= 0) this.#push(found, node);
    for (let index = 0; index < STRONG_NODES; index++) this.#push(found, this.#cheaper(random));
    for (let index = 0; index < ANY_NODES; index++) this.#push(found, Math.floor(random() * this.#fleet.nodeCount));
    return found;
  }

  all(): number[] {
    return Array.from({ length: this.#fleet.nodeCount }, (_, node) => node);
  }

  #push(found: number[], node: number): void {
    if (this.#mark[node] === this.#stamp) return;
    this.#mark[node] = this.#stamp;
    found.push(node);
  }

  /** Of two strong nodes the less loaded; the strongest are drawn more often. */
  #cheaper(random: () => number): number {
    const draw = () => this.#strong[Math.floor(random() ** 2 * this.#strong.length)]!;
    const [a, b] = [draw(), draw()];
    return this.#load(a) <= this.#load(b) ? a : b;
  }

  #load(node: number): number {
    const { capacity, gpuAt } = this.#fleet;
    const { used } = this.#state;
    const cpu = used[node]! / capacity[node]!;
    return capacity[gpuAt + node]! > 0 ? Math.max(cpu, used[gpuAt + node]! / capacity[gpuAt + node]!) : cpu;
  }

  #namedOf(task: Task): readonly number[] {
    const key = task.graphs;
    const known = this.#named.get(key);
    if (known !== undefined) return known;
    const { nodeCount, possible } = this.#fleet;
    const named: number[] = [];
    for (const graph of task.graphs) {
      for (let at = 0; at < graph.handlers.length; at++) {
        const first = graph.firstOption[at]!;
        const nodes: number[] = [];
        for (let node = 0; node < nodeCount && nodes.length <= NAMED_NODES_MAX; node++) {
          for (let option = first; option < first + graph.optionCount[at]!; option++) {
            if (possible[option * nodeCount + node] === 1) {
              nodes.push(node);
              break;
            }
          }
        }
        if (nodes.length <= NAMED_NODES_MAX) named.push(...nodes);
      }
    }
    this.#named.set(key, named);
    return named;
  }
}
