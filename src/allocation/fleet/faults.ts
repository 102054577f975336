/**
 * What speaks against a placement, in words with value and bound: that a handler may not run on a node at all, that a
 * promise of the session is broken, or that something has no room for it beside the others.
 */
import { FIT_EPSILON, UTILISATION_CAP } from '../bounds.js';
import { accuracyText, freeTenth, freeWhole, ms, needTenth, needWhole } from '../words.js';
import type { Graph } from './graphs.js';
import type { Fleet, Task } from './model.js';
import type { Placed, State } from './state.js';

/** Why the alternative cannot run on the node, whatever is there beside it; null when it can. */
export function placeFault(fleet: Fleet, task: Task, graph: Graph, at: number, option: number, node: number) {
  return (
    pinFault(fleet, task, graph, at, node) ??
    stateFault(fleet, task, graph, at, node) ??
    requirementFault(fleet, task, graph, at, option, node)
  );
}

function pinFault(fleet: Fleet, task: Task, graph: Graph, at: number, node: number): string | null {
  const pin = graph.handlers[at]!.at;
  if (pin === null) return null;
  if (pin.kind === 'label')
    return fleet.nodes[node]!.labels.includes(pin.label) ? null : `pinned to label ${pin.label}`;
  const wanted = pin.kind === 'source' ? task.session.source_node : pin.node_id;
  if (wanted === fleet.nodes[node]!.node_id) return null;
  const index = fleet.nodeIndex.get(wanted);
  return `pinned to ${index === undefined ? `node ${wanted}` : fleet.nodes[index]!.node_name}`;
}

function stateFault(fleet: Fleet, { session }: Task, graph: Graph, at: number, node: number): string | null {
  const { up, drained, node_id, handler_types } = fleet.nodes[node]!;
  const { handler_id, handler_type } = graph.handlers[at]!;
  if (!up) return 'lost';
  // What runs there may stay; that it should go is decided elsewhere.
  const isThere = session.previous?.some((one) => one.handler_id === handler_id && one.node_id === node_id) === true;
  if (drained && !isThere) return 'drained';
  const isInstalled = handler_types === null || handler_types.includes(handler_type);
  return isInstalled ? null : `no handler type ${handler_type}`;
}

function requirementFault(fleet: Fleet, { session }: Task, graph: Graph, at: number, option: number, node: number) {
  const { labels, gpus } = fleet.nodes[node]!;
  const { label, gpu } = graph.handlers[at]!.require;
  const { stay } = session;
  if (stay !== undefined && !labels.includes(stay)) return `lacks label ${stay}, which the session stays with`;
  if (label !== undefined && !labels.includes(label)) return `lacks label ${label}`;
  const needsGpu = gpu === true || fleet.gpuMs[option * fleet.nodeCount + node]! > 0;
  return needsGpu && gpus === 0 ? 'needs a gpu' : null;
}

/** A promise of the session that the placement breaks. */
export function promiseFault(fleet: Fleet, task: Task, placed: Placed): string | null {
  const { latencyMsMax, lnAccuracyMin, session } = task;
  if (placed.latencyMs === Number.POSITIVE_INFINITY)
    return wayFault(fleet, placed) ?? busyFault(fleet, task, placed) ?? 'it would take for ever';
  if (placed.latencyMs > latencyMsMax + FIT_EPSILON) return `latency ${ms(placed.latencyMs)} > ${ms(latencyMsMax)}`;
  if (Math.log(placed.accuracy) < lnAccuracyMin)
    return `accuracy ${accuracyText(placed.accuracy)} < ${accuracyText(session.objective.accuracy_min ?? 0)}`;
  return null;
}

/** Two nodes that it would have to cross between and that nothing joins. */
export function wayFault({ paths, pathOf, nodeCount, nodes: all }: Fleet, { graph, nodes }: Placed): string | null {
  for (const [at, feeds] of graph.feeds.entries()) {
    for (const source of feeds) {
      const [from, to] = [nodes[source]!, nodes[at]!];
      if (paths[pathOf.get(from * nodeCount + to) ?? -1]?.mbit === 0)
        return `no path from ${all[from]!.node_name} to ${all[to]!.node_name}`;
    }
  }
  return null;
}

/** A handler that cannot keep up. */
export function busyFault({ computeMs, nodeCount }: Fleet, { fps }: Task, { graph, nodes, options }: Placed) {
  for (const [at, option] of options.entries()) {
    const fault = sequentialFault(fps * computeMs[option * nodeCount + nodes[at]!]!, graph, at);
    if (fault !== null) return fault;
  }
  return null;
}

/** It works on one packet at a time. */
function sequentialFault(busy: number, { handlers }: Graph, at: number): string | null {
  const most = 1000 * UTILISATION_CAP;
  if (busy <= most + FIT_EPSILON) return null;
  const { handler_name } = handlers[at]!;
  return `one core: ${needWhole(busy)} ms/s needed by ${handler_name} > ${freeWhole(most)} ms/s: a handler is sequential`;
}

/** What has no room for it. */
export function roomFault(state: State, placed: Placed): string | null {
  const full = state.overloads(placed);
  return full < 0 ? null : overloadWords(state, placed, full);
}

/** A resource that the placement would overload. */
export function overloadWords(state: State, placed: Placed, resource: number): string {
  return roomWords(state, resource, state.needOf(placed, resource), byWhom(state.fleet, placed, resource));
}

/** Why a node has no room for one handler by itself, or is too slow for it; null when it could take it. */
export function aloneFault(state: State, { fps }: Task, graph: Graph, at: number, option: number, node: number) {
  const { fleet } = state;
  const { nodeCount, cpuMs, gpuMs, computeMs, memMb, modelMb, model, gpuAt, memAt } = fleet;
  const cell = option * nodeCount + node;
  const isLoaded = state.modelUsers[model[option]! * nodeCount + node]! > 0;
  const needs: [number, number][] = [
    [memAt + node, memMb[option]! + (isLoaded ? 0 : modelMb[option]!)],
    [node, fps * cpuMs[cell]!],
    [gpuAt + node, fps * gpuMs[cell]!],
  ];
  for (const [resource, need] of needs)
    if (need > 0 && state.free(resource) + FIT_EPSILON < need) return roomWords(state, resource, need);
  return sequentialFault(fps * computeMs[cell]!, graph, at);
}

const KINDS = ['cpu', 'gpu', 'memory', 'uplink', 'downlink'] as const;

/** `cpu of edge-1: 812 ms/s needed by detect, align > 640 ms/s free of 3200 ms/s` */
function roomWords(state: State, resource: number, need: number, whom = ''): string {
  const { fleet } = state;
  const isWhole = resource < fleet.upAt;
  const unit = !isWhole ? 'Mbit/s' : resource < fleet.memAt ? 'ms/s' : 'MiB';
  const capacity = fleet.capacity[resource]!;
  const used = state.used[resource]!;
  const free = (value: number) => `${isWhole ? freeWhole(value) : freeTenth(value)} ${unit}`;
  // Where nobody takes of it, nothing that others leave would help.
  const has =
    used <= FIT_EPSILON
      ? `${free(capacity)} in all`
      : `${free(Math.max(0, capacity - used))} free of ${free(capacity)}`;
  return `${nameOf(fleet, resource)}: ${isWhole ? needWhole(need) : needTenth(need)} ${unit} needed${whom} > ${has}`;
}

function nameOf(fleet: Fleet, resource: number): string {
  const { nodes, nodeCount, paths, pathAt, wanUpAt, wanDownAt, siteCount } = fleet;
  const path = paths[resource - pathAt];
  if (path !== undefined) {
    const name = (id: number) => nodes[fleet.nodeIndex.get(id)!]!.node_name;
    return `path from ${name(path.source_node)} to ${name(path.target_node)}`;
  }
  if (resource < wanUpAt)
    return `${KINDS[Math.floor(resource / nodeCount)]!} of ${nodes[resource % nodeCount]!.node_name}`;
  const site = (resource - wanUpAt) % (siteCount + 1);
  const where = nodes.find((_, index) => fleet.site[index] === site)?.site;
  return `${resource < wanDownAt ? 'WAN uplink' : 'WAN downlink'} of ${where}`;
}

/** Handlers of the session that share the node's cores or memory, where there are several. */
function byWhom({ nodeCount, upAt }: Fleet, { graph, nodes }: Placed, resource: number): string {
  if (resource >= upAt) return '';
  const there = graph.handlers.filter((_, at) => nodes[at] === resource % nodeCount);
  return there.length < 2 ? '' : ` by ${there.map((one) => one.handler_name).join(', ')}`;
}
