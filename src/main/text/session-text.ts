/** A running session as people read it: handlers and links with what was measured, and the ledger of the sink. */
import type { HandlerStats, LinkStats, ObservedHandler } from '../../contracts/node.js';
import type { SessionView } from '../../contracts/session.js';
import { bytes, left, ms, right, table } from './table.js';

export interface PlacedHandler {
  readonly node_id: number;
  readonly node_name: string;
  readonly handler: ObservedHandler;
}

/** Every handler that nodes observe, in the order of the plan. A handler that was moved is taken where the plan has it. */
export function observedHandlers(session: SessionView): PlacedHandler[] {
  return session.plan.handlers.flatMap((planned) => {
    const node = session.nodes.find((one) => one.node_id === planned.node_id);
    const handler = node?.observed.handlers.find((one) => one.handler_id === planned.handler_id);
    return node === undefined || handler === undefined
      ? []
      : [{ node_id: node.node_id, node_name: node.node_name, handler }];
  });
}

/** What a source does before it emits is not timed. */
const isSource = (handler: ObservedHandler) => handler.links.length === 0 && handler.stats?.service_ms_p95 === 0;

const range = (p50: number | null, p95: number | null) => `${ms(p50)} / ${ms(p95)}`;

export function handlerStatsTable(session: SessionView, indent = 2): string {
  return table({
    indent,
    columns: [
      left('handler'),
      left('node'),
      left('state'),
      right('service ms p50 / p95'),
      right('queue ms p50 / p95'),
      right('fps'),
      right('processed'),
      left('dropped'),
    ],
    rows: observedHandlers(session).map(({ node_name, handler }) => {
      const { stats } = handler;
      return [
        `${handler.handler_id} ${handler.handler_name}`,
        node_name,
        handler.state,
        stats === undefined || isSource(handler) ? '-' : range(stats.service_ms_p50, stats.service_ms_p95),
        stats === undefined || isSource(handler) ? '-' : range(stats.queue_ms_p50, stats.queue_ms_p95),
        stats?.fps.toFixed(1) ?? '-',
        String(stats?.processed ?? '-'),
        stats === undefined ? '-' : reasonsText(stats.dropped),
      ];
    }),
  });
}

/** What handlers say of themselves, a line each: `detect: waiting for a program to join at http://...`. */
export function handlerNotes(session: SessionView): string[] {
  return observedHandlers(session).flatMap(({ handler: { handler_name, note } }) =>
    note === undefined ? [] : [`${handler_name}: ${note}`],
  );
}

/** `detect: 2 threads an inference (4 cores for 2 inferences at a time)`, `detect: centernet shared by 3 handlers (process 71, ...)`. */
export function inferenceLines(
  handlers: readonly Pick<ObservedHandler, 'handler_name' | 'threads' | 'threads_why' | 'shared_models'>[],
): string[] {
  const threadsText = (count: number) => `${count} thread${count === 1 ? '' : 's'} an inference`;
  return handlers.flatMap(({ handler_name, threads, threads_why, shared_models = [] }) => [
    ...(threads === undefined ? [] : [`${handler_name}: ${threadsText(threads)} (${threads_why})`]),
    ...shared_models.map(
      ({ model, pid, handlers: holders, threads: own, threads_why: why }) =>
        `${handler_name}: ${model} shared by ${holders} handler${holders === 1 ? '' : 's'} (process ${pid ?? 'is being started'}), ${threadsText(own)} (${why})`,
    ),
  ]);
}

export function linkStatsTable(session: SessionView, indent = 2): string {
  const names = new Map(session.plan.handlers.map((handler) => [handler.handler_id, handler]));
  const links = observedHandlers(session).flatMap(({ handler }) => handler.links);
  return table({
    indent,
    columns: [left('link'), left('nodes'), left('transport'), right('ms p50 / p95'), right('packets'), right('bytes')],
    rows: links.map((link: LinkStats) => {
      const source = names.get(link.source_handler);
      const target = names.get(link.target_handler);
      return [
        `${source?.handler_name ?? link.source_handler} -> ${target?.handler_name ?? link.target_handler}`,
        source?.node_id === target?.node_id
          ? (source?.node_name ?? '-')
          : `${source?.node_name ?? '-'} -> ${target?.node_name ?? '-'}`,
        link.transport === 'in_host' ? 'by reference' : link.transport === 'unix' ? 'unix socket' : 'http',
        range(link.latency_ms_p50, link.latency_ms_p95),
        String(link.packets),
        bytes(link.bytes),
      ];
    }),
  });
}

export interface SinkFigures {
  readonly fps: number;
  readonly delivered: number;
  readonly dropped: number;
  readonly dropsByPlace: Readonly<Record<string, number>>;
  readonly endToEndP50Ms: number | null;
  readonly endToEndP95Ms: number | null;
  readonly lastSequence: number | null;
  readonly ended: boolean;
}

/** Figures of the session's sink: the observed handler with no outgoing link (the last one of the plan when several). */
export function sinkFigures(session: SessionView): SinkFigures | null {
  const sources = new Set(session.plan.links.map((link) => link.source_handler));
  const sink = observedHandlers(session).findLast(({ handler }) => !sources.has(handler.handler_id));
  return sink?.handler.stats === undefined ? null : figuresOf(sink.handler.stats);
}

function figuresOf(stats: HandlerStats): SinkFigures {
  return {
    fps: stats.fps,
    delivered: stats.processed,
    dropped: Object.values(stats.drops_seen).reduce((sum, count) => sum + count, 0),
    dropsByPlace: stats.drops_seen,
    endToEndP50Ms: stats.end_to_end_ms_p50,
    endToEndP95Ms: stats.end_to_end_ms_p95,
    lastSequence: stats.last_sequence,
    ended: stats.ended,
  };
}

/** `capture 30.0 fps -> detect 29.8 -> render 29.8, end to end p50 41 ms / p95 63 ms, dropped 2 (queue full at detect)` */
export function summaryLine(session: SessionView): string {
  const chain = observedHandlers(session).map(({ handler }, index) => {
    const fps = handler.stats?.fps.toFixed(1) ?? '-';
    return `${handler.handler_name} ${fps}${index === 0 ? ' fps' : ''}`;
  });
  const sink = sinkFigures(session);
  if (sink === null) return chain.join(' -> ');
  const delay = `end to end p50 ${ms(sink.endToEndP50Ms)} ms / p95 ${ms(sink.endToEndP95Ms)} ms`;
  return `${chain.join(' -> ')}, ${delay}, ${dropsText(session, sink)}`;
}

const DROP_WORDS: Record<string, string> = {
  queue: 'queue full at',
  late: 'past the deadline at',
  join: 'partner missing at',
  error: 'error at',
  failover: 'failover at',
};

/** `dropped 14 (queue full at detect 2; past the deadline at detect 8, align 4)` */
export function dropsText(session: SessionView, sink: Pick<SinkFigures, 'dropped' | 'dropsByPlace'>): string {
  if (sink.dropped === 0) return 'dropped 0';
  const names = new Map(session.plan.handlers.map((handler) => [String(handler.handler_id), handler.handler_name]));
  const byReason = new Map<string, string[]>();
  for (const [key, count] of Object.entries(sink.dropsByPlace)) {
    const [reason = '', id = ''] = key.split(' ');
    byReason.set(reason, [...(byReason.get(reason) ?? []), `${names.get(id) ?? id} ${count}`]);
  }
  const parts = [...byReason].map(([reason, places]) => `${DROP_WORDS[reason] ?? reason} ${places.join(', ')}`);
  return `dropped ${sink.dropped} (${parts.join('; ')})`;
}

function reasonsText(dropped: Readonly<Record<string, number>>): string {
  const parts = Object.entries(dropped).filter(([, count]) => count > 0);
  return parts.length === 0 ? '0' : parts.map(([reason, count]) => `${reason} ${count}`).join(', ');
}
