/**
 * One session as the coordinator holds it: what is stored (desired), and what it makes of the nodes' answers (observed).
 *
 *     admitted --> preparing --> ready --> running --> stopping --> stopped
 *                     |            |         | ^
 *                     |            |         v |
 *                     |            |        moving        (a changed plan is being applied; the rest runs on)
 *                     +------------+---------+-----> suspended --> preparing / moving
 *                     +------------+---------+-----> failed
 *
 * The sentence of each state stands at SessionStateSchema. Invariant: the observed state is never stored and never set:
 * it is computed from the stored session, the suspension and the newest heartbeats, so it cannot disagree with them.
 */
import type { NodeLink, NodeSession } from '../contracts/blueprint.js';
import type { HandlerStats, ObservedHandler, ObservedSession } from '../contracts/node.js';
import type { Placement, SessionPlan } from '../contracts/plan.js';
import type { Service } from '../contracts/service.js';
import type { SessionState, SessionView, StoredSession } from '../contracts/session.js';
import type { NodeRegistry } from './node-registry.js';
import type { SinkTally } from './sink-tally.js';

/** Why a session waits. */
export interface Suspension {
  /**
   * pinned: a node is missing that it cannot do without; the shares on other nodes are kept.
   * placement: no placement is possible; its shares are removed, so that others can use what they held.
   */
  readonly kind: 'pinned' | 'placement';
  readonly reason: string;
  /** What binds, without figures: a change of it is told. */
  readonly cause: string;
  /** Of the registry and the sessions when it was last tried. */
  readonly triedVersion: number;
  readonly triedMs: number;
}

/** A re-placement whose first frames are waited for. */
export interface Recovery {
  readonly nodeName: string;
  /** The newest answer of the lost node, wall clock s: the loss happened after it. */
  readonly lostAt: number;
  readonly sinceMs: number;
  /** Of its sinks when it was placed again. */
  readonly tally: SinkTally;
  /** last_sequence of each sink, newest before the new plan ran everywhere; null until then. */
  baseline: ReadonlyMap<number, number> | null;
  /** Nodes that were told to run before the others are ready. */
  readonly early: Set<number>;
}

/** Handlers of a session that have failed on a node although they ran or were started again there. */
export interface Failure {
  readonly reason: string;
  readonly nodeId: number;
  readonly handlerIds: readonly number[];
  /** False: they could not be created where the session was placed first, and what is wrong is wrong everywhere. */
  readonly isLocal: boolean;
}

/** The definition that a session runs by: as it is planned with, and as it is stored (undefined: the loaded file's). */
export interface RunsBy {
  readonly service: Service | null;
  readonly definition: object | undefined;
}

/** A change of plan that is applied while frames flow; its end is one event. */
export interface Move {
  /** Of the plan that it is: a later one is not this move. */
  readonly generation: number;
  /** `detect edge-1 -> edge-2` */
  readonly words: string;
  /** The plan to go back to when something of it cannot be made where it should be. */
  readonly former: SessionPlan;
  /** The definition to go back to, where the move changes that as well. */
  readonly formerBy: RunsBy | null;
  readonly sinceMs: number;
  /** Of its sinks when it began. */
  readonly tally: SinkTally;
  /** When every new host was first seen ready. */
  madeMs: number | null;
}

export interface SessionRecord {
  /** Changed by `SessionTable.update` only, together with `nodeIds`. */
  stored: StoredSession;
  /** node_ids of the plan; asked for with every heartbeat. */
  nodeIds: ReadonlySet<number>;
  /**
   * With the session's own parameters; null when the service is not loaded any more: it runs on but cannot be re-placed.
   * Changed together with `stored.request.definition`.
   */
  service: Service | null;
  suspension: Suspension | null;
  recovery: Recovery | null;
  move: Move | null;
  /** The last move that could not be made, and the generation that counts again since. */
  failedMove: { readonly generation: number; readonly reason: string; readonly atMs: number } | null;
  /** Nodes on which handlers of it have failed; they are not tried there again. */
  readonly failedOn: Set<number>;
  /** By node_id, why the last PUT or DELETE failed. */
  readonly problems: Map<number, string>;
  /** When stopping began, monotonic ms. */
  stoppingSinceMs: number | null;
  /** What the nodes told last, kept when it has ended. */
  final: SessionView['nodes'] | null;
  /** The last state that was told as an event. */
  told: SessionState | null;
  /** By handler_id, restarts of its host that have been told. */
  readonly restarts: Map<number, number>;
}

export function recordOf(stored: StoredSession, service: Service | null): SessionRecord {
  return {
    stored,
    nodeIds: planNodes(stored.plan),
    service,
    suspension: null,
    recovery: null,
    move: null,
    failedMove: null,
    failedOn: new Set(),
    problems: new Map(),
    stoppingSinceMs: null,
    final: null,
    told: null,
    restarts: new Map(),
  };
}

export function planNodes(plan: SessionPlan): Set<number> {
  return new Set(plan.handlers.map((handler) => handler.node_id));
}

/** Where the plan has each handler. */
export function placementOf(plan: SessionPlan): Placement[] {
  return plan.handlers.map(({ handler_id, node_id, alternative }) => ({ handler_id, node_id, alternative }));
}

/** handler_ids without a link out of them: where frames end. */
export function sinkIds(plan: SessionPlan): number[] {
  const feeding = new Set(plan.links.map((link) => link.source_handler));
  return plan.handlers.map((handler) => handler.handler_id).filter((id) => !feeding.has(id));
}

/** handler_ids without a link into them: where frames begin. */
export function sourceIds(plan: SessionPlan): number[] {
  const fed = new Set(plan.links.map((link) => link.target_handler));
  return plan.handlers.map((handler) => handler.handler_id).filter((id) => !fed.has(id));
}

/** Frames neither begin nor end at this handler of the plan. */
export function isInner(plan: SessionPlan, handlerId: number): boolean {
  const feeds = plan.links.some((link) => link.source_handler === handlerId);
  return feeds && plan.links.some((link) => link.target_handler === handlerId);
}

/** Every handler is ready, or runs already, with the plan of this generation. */
export function isPrepared(observed: ObservedSession | undefined, generation: number): boolean {
  return observed?.generation === generation && (observed.state === 'ready' || observed.state === 'running');
}

/** A handler where the plan has it, as its node told last; undefined when it does not tell. */
export function observedHandler(
  record: SessionRecord,
  registry: Pick<NodeRegistry, 'observed'>,
  handlerId: number,
): ObservedHandler | undefined {
  const { plan, session_id, generation } = record.stored;
  const planned = plan.handlers.find((one) => one.handler_id === handlerId);
  if (planned === undefined) return undefined;
  const observed = registry.observed(planned.node_id, session_id);
  if (observed?.generation !== generation) return undefined;
  return observed.handlers.find((one) => one.handler_id === handlerId);
}

/** Its newest figures. */
export function handlerStats(
  record: SessionRecord,
  registry: Pick<NodeRegistry, 'observed'>,
  handlerId: number,
): HandlerStats | undefined {
  return observedHandler(record, registry, handlerId)?.stats;
}

export function observedState(record: SessionRecord, registry: Pick<NodeRegistry, 'observed'>): SessionState {
  const { ended, desired, generation, session_id } = record.stored;
  if (ended !== null) return ended.state;
  if (desired === 'stopped') return 'stopping';
  if (record.suspension !== null) return 'suspended';
  const observed = [...record.nodeIds].map((nodeId) => registry.observed(nodeId, session_id));
  if (observed.every((one) => one === undefined)) return 'admitted';
  if (!observed.every((one) => isPrepared(one, generation))) return generation > 1 ? 'moving' : 'preparing';
  const running = observed.every((one) => one?.desired === 'running' && one.state === 'running');
  return running ? 'running' : 'ready';
}

export function sessionView(record: SessionRecord, registry: NodeRegistry): SessionView {
  const { stored } = record;
  const problem = problemOf(record);
  return {
    session_id: stored.session_id,
    service_name: stored.plan.service_name,
    desired: stored.desired,
    observed: observedState(record, registry),
    generation: stored.generation,
    delivery: stored.request.delivery ?? 'latest',
    objective: stored.request.objective ?? { fps: stored.plan.fps },
    weight: stored.request.weight ?? 1,
    ...(stored.request.stay === undefined ? {} : { stay: stored.request.stay }),
    plan: stored.plan,
    created_at: stored.created_at,
    ...(problem === undefined ? {} : { problem }),
    ended: stored.ended?.reason === END_OF_STREAM,
    nodes: record.final ?? observedNodes(record, registry),
  };
}

/** `ended.reason` of a session whose stream has passed every sink. */
export const END_OF_STREAM = 'end of stream';

export function observedNodes({ stored }: SessionRecord, registry: NodeRegistry): SessionView['nodes'] {
  return registry.all().flatMap(({ file }) => {
    const observed = registry.observed(file.node_id, stored.session_id);
    return observed === undefined ? [] : [{ node_id: file.node_id, node_name: file.node_name, observed }];
  });
}

function problemOf({ stored, suspension, problems }: SessionRecord): string | undefined {
  if (stored.ended !== null) return stored.ended.state === 'failed' ? stored.ended.reason : undefined;
  return suspension?.reason ?? [...problems.values()][0];
}

export interface ShareOptions {
  readonly epoch: number;
  readonly desired: NodeSession['desired'];
  /** Where a node is, and whether others can open connections to it. */
  peer(nodeId: number): { readonly url: string; readonly dialable: boolean };
}

/** What one node is told of a session: a function of the stored session alone, so that a repeated PUT changes nothing. */
export function shareOf(stored: StoredSession, node_id: number, { epoch, desired, peer }: ShareOptions): NodeSession {
  const { plan, request, session_id, generation, created_at } = stored;
  const latency_ms_max = request.objective?.latency_ms_max;
  return {
    session_id,
    epoch,
    generation,
    desired,
    node_id,
    created_at,
    delivery: request.delivery ?? 'latest',
    ...(latency_ms_max === undefined ? {} : { latency_ms_max }),
    handlers: plan.handlers
      .filter((handler) => handler.node_id === node_id)
      .map(({ handler_id, handler_name, handler_type, params, post, share }) => ({
        ...{ handler_id, handler_name, handler_type, params },
        ...(post ? { post: true } : {}),
        ...(share ? { share: true } : {}),
      })),
    links: plan.links
      .filter((link) => link.source_node === node_id || link.target_node === node_id)
      .map(({ source_handler, source_output, target_handler, target_input, source_node, target_node, delivery }) => ({
        ...{ source_handler, source_output, target_handler, target_input, source_node, target_node },
        ...(delivery === undefined ? {} : { delivery }),
        ...(source_node === target_node ? {} : whoDials(source_node, target_node, node_id, peer)),
      })),
  };
}

/** The target's node does, and reads payloads in place, unless the source's cannot be dialled. */
function whoDials(
  sourceNode: number,
  targetNode: number,
  nodeId: number,
  peer: ShareOptions['peer'],
): Pick<NodeLink, 'source_url' | 'target_url' | 'awaited'> {
  const source = peer(sourceNode);
  if (source.dialable) return nodeId === targetNode ? { source_url: source.url } : {};
  return nodeId === targetNode ? { awaited: true } : { target_url: peer(targetNode).url };
}
