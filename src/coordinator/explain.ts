/**
 * Why a session is placed as it is, and whether what was predicted is what is measured. Pure. Nodes tell every time in
 * the controller's, as well as they know it; a small negative time between two of them is shown as none.
 */
import type { Explanation } from '../client/answers.js';
import type { HandlerStats, LinkStats, ObservedHandler } from '../contracts/node.js';
import type { PlannedHandler, PlannedLink } from '../contracts/plan.js';
import type { NodeRegistry } from './node-registry.js';
import { handlerStats, observedState, type SessionRecord, sessionView, sinkIds } from './session-record.js';

export function explainSession(record: SessionRecord, registry: NodeRegistry): Explanation {
  const { stored } = record;
  const { plan } = stored;
  const view = sessionView(record, registry);
  const observedOf = (handler: PlannedHandler): ObservedHandler | undefined =>
    view.nodes
      .find((node) => node.node_id === handler.node_id && node.observed.generation === stored.generation)
      ?.observed.handlers.find((one) => one.handler_id === handler.handler_id);
  return {
    session_id: stored.session_id,
    observed: observedState(record, registry),
    ...(view.problem === undefined ? {} : { problem: view.problem }),
    plan,
    handlers: plan.handlers.map((handler) => explainHandler(handler, observedOf(handler), plan.fps)),
    links: plan.links.map((link) => {
      const target = plan.handlers.find((one) => one.handler_id === link.target_handler)!;
      const measured = observedOf(target)?.links.find((one) => isSameLink(one, link));
      return explainLink(link, measured);
    }),
    end_to_end: endToEnd(record, registry),
  };
}

function explainHandler(handler: PlannedHandler, observed: ObservedHandler | undefined, fps: number) {
  const { handler_id, handler_name, node_id, node_name, alternative } = handler;
  return {
    ...{ handler_id, handler_name, node_id, node_name, alternative },
    state: observed?.state ?? null,
    ...inferenceOf(observed),
    predicted: { compute_ms: handler.compute_ms, queue_ms: handler.queue_ms, fps },
    measured: observed?.stats === undefined ? null : measuredHandler(observed.stats),
    rejected: handler.candidates
      .filter((one) => one.rejected !== undefined)
      .map((one) => `${one.node_name}${one.alternative === 'default' ? '' : ` ${one.alternative}`}: ${one.rejected}`),
  };
}

/** How its models are run; nothing of a handler without models. */
function inferenceOf(observed: ObservedHandler | undefined) {
  const { threads, threads_why, shared_models } = observed ?? {};
  return {
    ...(threads === undefined ? {} : { threads }),
    ...(threads_why === undefined ? {} : { threads_why }),
    ...(shared_models === undefined ? {} : { shared_models }),
  };
}

function measuredHandler(stats: HandlerStats) {
  const { service_ms_p50, service_ms_p95, queue_ms_p50, queue_ms_p95, fps, queue, dropped } = stats;
  return { service_ms_p50, service_ms_p95, queue_ms_p50, queue_ms_p95, fps, queue, dropped };
}

function explainLink(link: PlannedLink, stats: LinkStats | undefined) {
  const { source_handler, source_output, target_handler, target_input, source_node, target_node } = link;
  return {
    ...{ source_handler, source_output, target_handler, target_input, source_node, target_node },
    predicted: { latency_ms: link.latency_ms, bytes: link.bytes },
    measured:
      stats === undefined
        ? null
        : {
            latency_ms_p50: elapsed(stats.latency_ms_p50),
            latency_ms_p95: elapsed(stats.latency_ms_p95),
            packets: stats.packets,
            bytes_per_packet: stats.packets > 0 ? stats.bytes / stats.packets : null,
            connected: stats.connected,
            transport: stats.transport,
          },
  };
}

function isSameLink(stats: LinkStats, link: PlannedLink): boolean {
  return (
    stats.source_handler === link.source_handler &&
    stats.source_output === link.source_output &&
    stats.target_handler === link.target_handler &&
    stats.target_input === link.target_input
  );
}

/** The slowest sink. */
function endToEnd(record: SessionRecord, registry: NodeRegistry): Explanation['end_to_end'] {
  const { plan } = record.stored;
  const sinks = sinkIds(plan).flatMap((id) => handlerStats(record, registry, id) ?? []);
  const worst = (pick: (stats: HandlerStats) => number | null): number | null => {
    const values = sinks.map((stats) => elapsed(pick(stats))).filter((one) => one !== null);
    return values.length === 0 ? null : Math.max(...values);
  };
  return {
    predicted_ms: plan.latency_ms,
    measured_ms_p50: worst((stats) => stats.end_to_end_ms_p50),
    measured_ms_p95: worst((stats) => stats.end_to_end_ms_p95),
  };
}

function elapsed(ms: number | null): number | null {
  return ms === null ? null : Math.max(0, ms);
}
