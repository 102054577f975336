/** One look at a cluster as `top` shows it: a line about all of it, the nodes, and every handler of running sessions. */
import type { NodeView } from '../../contracts/node.js';
import type { SessionView } from '../../contracts/session.js';
import { observedHandlers, type PlacedHandler } from './session-text.js';
import { left, ms, right, table, timeOfDay } from './table.js';

export interface ClusterLook {
  /** s since the epoch. */
  readonly at: number;
  readonly nodes: readonly NodeView[];
  readonly sessions: readonly SessionView[];
}

/** What `top --json` prints of a look, a line each. */
export interface TopFigures {
  readonly at: number;
  readonly nodes: readonly {
    readonly node_id: number;
    readonly node_name: string;
    readonly state: string;
    readonly sessions: number;
    readonly handlers: number;
    readonly mem_free_mb: number | null;
    readonly rtt_ms: number | null;
  }[];
  readonly handlers: readonly TopHandler[];
}

export interface TopHandler {
  readonly session_id: number;
  readonly service_name: string;
  readonly handler_id: number;
  readonly handler_name: string;
  readonly node_name: string;
  readonly state: string;
  readonly fps: number | null;
  readonly service_ms_p95: number | null;
  readonly queue_ms_p95: number | null;
  /** Sinks only. */
  readonly end_to_end_ms_p95: number | null;
  readonly queue: number | null;
  readonly dropped: number | null;
  /** Since the look before; null in the first one. */
  readonly drops_per_s: number | null;
}

export function topFigures(look: ClusterLook, before: TopFigures | null): TopFigures {
  const placed = look.sessions.flatMap((session) =>
    observedHandlers(session).map((one) => handlerFigures(session, one, look.at, before)),
  );
  const nodes = look.nodes.map(({ node_id, node_name, state, sessions, facts, rtt_measured_ms }) => ({
    ...{ node_id, node_name, state, sessions: sessions.length, rtt_ms: rtt_measured_ms },
    handlers: placed.filter((one) => one.node_name === node_name).length,
    mem_free_mb: facts === null ? null : Math.round(facts.mem_free_mb),
  }));
  return { at: look.at, nodes, handlers: placed };
}

function handlerFigures(
  { session_id, service_name }: SessionView,
  { node_name, handler: { handler_id, handler_name, state, stats } }: PlacedHandler,
  at: number,
  before: TopFigures | null,
): TopHandler {
  const dropped = stats === undefined ? null : Object.values(stats.dropped).reduce((sum, count) => sum + count, 0);
  const earlier = before?.handlers.find((one) => one.session_id === session_id && one.handler_id === handler_id);
  // A handler that was moved or started again counts from nothing.
  const more = dropped === null || earlier?.dropped == null ? null : Math.max(0, dropped - earlier.dropped);
  return {
    ...{ session_id, service_name, handler_id, handler_name, node_name, state, dropped },
    fps: stats?.fps ?? null,
    service_ms_p95: stats?.service_ms_p95 ?? null,
    queue_ms_p95: stats?.queue_ms_p95 ?? null,
    end_to_end_ms_p95: stats?.end_to_end_ms_p95 ?? null,
    queue: stats?.queue ?? null,
    drops_per_s: more === null || before === null ? null : more / Math.max(at - before.at, 1e-3),
  };
}

export function topText({ at, nodes, handlers }: TopFigures): string {
  const up = nodes.filter(({ state }) => state === 'up').length;
  const sessions = new Set(handlers.map(({ session_id }) => session_id)).size;
  const head = `${timeOfDay(at)}  ${up} of ${nodes.length} nodes up, ${sessions} sessions, ${handlers.length} handlers`;
  return [head, nodesTable(nodes), ...(handlers.length === 0 ? [] : [handlersTable(handlers)])].join('\n\n');
}

function nodesTable(nodes: TopFigures['nodes']): string {
  return table({
    columns: [
      ...[left('node'), left('state'), right('sessions'), right('handlers'), right('free MiB'), right('rtt ms')],
    ],
    rows: nodes.map((node) => [
      ...[node.node_name, node.state, String(node.sessions), String(node.handlers)],
      ...[String(node.mem_free_mb ?? '-'), ms(node.rtt_ms)],
    ]),
  });
}

function handlersTable(handlers: readonly TopHandler[]): string {
  const rate = (value: number | null) => value?.toFixed(1) ?? '-';
  return table({
    columns: [
      ...[left('session'), left('handler'), left('node'), left('state'), right('fps'), right('service p95')],
      ...[right('queue p95'), right('end to end p95'), right('waiting'), right('dropped'), right('drops/s')],
    ],
    rows: handlers.map((one) => [
      ...[`${one.session_id} ${one.service_name}`, `${one.handler_id} ${one.handler_name}`, one.node_name, one.state],
      ...[rate(one.fps), ms(one.service_ms_p95), ms(one.queue_ms_p95), ms(one.end_to_end_ms_p95)],
      ...[String(one.queue ?? '-'), String(one.dropped ?? '-'), rate(one.drops_per_s)],
    ]),
  });
}
