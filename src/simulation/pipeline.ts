/** One session's handlers on their nodes: what a plan becomes when it runs. A changed plan is another pipeline. */
import { inOrder } from '../allocation/fleet/graphs.js';
import type { FleetHandler, FleetPlanned, FleetService } from '../contracts/fleet.js';
import { LATEST_QUEUE_PACKETS } from '../contracts/limits.js';
import { profileKey } from '../contracts/plan.js';
import { BoundedQueue } from '../std/bounded-queue.js';
import type { Segment, World, WorldNode } from './world.js';

/** How a frame ends. Each ends once. */
export type FrameEnd =
  /** At every sink within the bound of the session. */
  | 'in_time'
  /** At every sink, too late. */
  | 'late'
  /** Its session waits for a place, or its handlers are being started. */
  | 'no_place'
  /** It was on a node that died, or on its way there. */
  | 'node_lost'
  | 'link_cut'
  /** A newer one took its place in a full queue. */
  | 'queue'
  /** Past its deadline before it was through. */
  | 'deadline';

export const FRAME_ENDS: readonly FrameEnd[] = [
  ...(['in_time', 'late', 'no_place', 'node_lost', 'link_cut', 'queue', 'deadline'] as const),
];

export interface Frame {
  readonly sessionId: number;
  readonly pipeline: Pipeline;
  readonly emittedMs: number;
  readonly deadlineMs: number;
  /** Inputs that have come, by handler; only where one has several. */
  readonly came: Uint8Array | null;
  /** Sinks that it has yet to reach. */
  sinksLeft: number;
  ended: boolean;
}

/** A handler on its node: one packet at a time, LATEST_QUEUE_PACKETS wait, a newer one takes the place of the oldest. */
export interface Stage {
  readonly at: number;
  readonly handlerType: number;
  readonly profileKey: string;
  /** Of what is measured of it: handler type, profile key, node. */
  readonly needId: string;
  readonly node: WorldNode;
  /** On a node of speed 1, as declared. */
  readonly cpuMs: number;
  readonly gpuMs: number;
  readonly bytes: number;
  readonly inputs: number;
  readonly targets: LinkRun[];
  readonly waiting: BoundedQueue<Frame>;
  busy: boolean;
  /** Its node died under it. */
  gone: boolean;
}

/** Between two handlers; on one node it costs nothing. */
export interface LinkRun {
  readonly from: Stage;
  readonly to: Stage;
  readonly route: readonly Segment[] | null;
  readonly waiting: BoundedQueue<Frame>;
  onTheWay: number;
}

export interface Pipeline {
  readonly planned: FleetPlanned;
  readonly stages: readonly Stage[];
  readonly sources: readonly Stage[];
  readonly sinks: number;
  readonly joins: boolean;
}

/** The variant and every place of `planned` are the service's: the plan was verified. */
export function pipelineOf(service: FleetService, planned: FleetPlanned, world: World): Pipeline {
  const variant = service.variants.find((one) => one.variant_name === planned.variant)!;
  const handlers = inOrder(variant);
  const place = new Map(planned.placement.map((one) => [one.handler_id, one]));
  const stages = handlers.map((handler, at): Stage => {
    const { node_id, alternative } = place.get(handler.handler_id)!;
    const inputs = variant.links.filter((one) => one.target_handler === handler.handler_id).length;
    return stageOf(handler, at, alternative, world.node(node_id), inputs);
  });
  const byId = new Map(handlers.map(({ handler_id }, at) => [handler_id, stages[at]!]));
  for (const { source_handler, target_handler } of variant.links) {
    const from = byId.get(source_handler)!;
    const to = byId.get(target_handler)!;
    const route = from.node === to.node ? null : world.route(from.node, to.node);
    from.targets.push({ from, to, route, waiting: new BoundedQueue(LATEST_QUEUE_PACKETS), onTheWay: 0 });
  }
  return {
    ...{ planned, stages },
    sources: stages.filter(({ inputs }) => inputs === 0),
    sinks: stages.filter(({ targets }) => targets.length === 0).length,
    joins: stages.some(({ inputs }) => inputs > 1),
  };
}

function stageOf(handler: FleetHandler, at: number, name: string, node: WorldNode, inputs: number): Stage {
  const { cost, params } = handler.alternatives.find((one) => one.name === name)!;
  const { handler_type: handlerType } = handler;
  const key = profileKey(params);
  return {
    ...{ at, handlerType, profileKey: key, needId: `${handlerType}|${key}|${node.facts.node_id}`, node, inputs },
    ...{ cpuMs: cost.cpu_ms, gpuMs: cost.gpu_ms, bytes: cost.out_bytes },
    ...{ targets: [], waiting: new BoundedQueue(LATEST_QUEUE_PACKETS), busy: false, gone: false },
  };
}
