/** What a plan predicted beside what is measured, per handler, per link between nodes, and end to end. */
import type { Explanation } from '../../client/answers.js';
import { left, ms, right, table } from './table.js';

type Row = readonly [string, string, number, number | null, number | null, number | null];

/**
 * Predicted: compute and wait together. Measured p95 of a handler: that of its service and that of its wait added, which
 * is a little more than the p95 of both. `off` is measured p95 against predicted.
 */
export function predictionTable({ handlers, links, end_to_end }: Explanation, indent = 2): string {
  const names = new Map(handlers.map((one) => [one.handler_id, one.handler_name]));
  const nodes = new Map(handlers.map((one) => [one.node_id, one.node_name]));
  const rows: Row[] = [
    ...handlers.map(({ handler_id, handler_name, node_name, predicted, measured }): Row => {
      const isTimed = measured !== null && measured.service_ms_p95 !== 0;
      const p50 = isTimed ? sum(measured.service_ms_p50, measured.queue_ms_p50) : null;
      const p95 = isTimed ? sum(measured.service_ms_p95, measured.queue_ms_p95) : null;
      const fps = measured?.fps ?? null;
      return [`${handler_id} ${handler_name}`, node_name, predicted.compute_ms + predicted.queue_ms, p50, p95, fps];
    }),
    ...links
      .filter((link) => link.source_node !== link.target_node)
      .map(({ source_handler, target_handler, source_node, target_node, predicted, measured }): Row => {
        const name = `${names.get(source_handler)} -> ${names.get(target_handler)}`;
        const between = `${nodes.get(source_node)} -> ${nodes.get(target_node)}`;
        const [p50, p95] = [measured?.latency_ms_p50 ?? null, measured?.latency_ms_p95 ?? null];
        return [name, between, predicted.latency_ms, p50, p95, null];
      }),
    ['end to end', '', end_to_end.predicted_ms, end_to_end.measured_ms_p50, end_to_end.measured_ms_p95, null],
  ];
  return table({
    indent,
    columns: [
      ...[left('what'), left('where'), right('predicted ms'), right('measured p50'), right('p95'), right('off')],
      right('fps'),
    ],
    rows: rows.map(([what, where, predicted, p50, p95, fps]) => [
      ...[what, where, ms(predicted), ms(p50), ms(p95), offText(predicted, p95), fps?.toFixed(1) ?? '-'],
    ]),
  });
}

const sum = (a: number | null, b: number | null): number | null => (a === null ? null : a + (b ?? 0));

/** Below a millisecond a share says nothing. */
function offText(predicted: number, measured: number | null): string {
  if (measured === null || Math.max(predicted, measured) < 1 || predicted <= 0) return '-';
  const percent = Math.round((measured / predicted - 1) * 100);
  return `${percent > 0 ? '+' : ''}${percent} %`;
}
