/** Where the milliseconds of packets went, in the words that `orchestrator trace` prints. */
import type { Percentiles, Trace, TracedPacket, TraceStep } from '../../contracts/trace.js';
import { left, ms, right, table } from './table.js';

/** Steps shorter than this are left out of a line, ms: passing by reference, an empty queue. */
const SHOWN_MS_MIN = 0.05;

export function traceText(trace: Trace): string {
  const { packets, incomplete, truncated, corrected, end_to_end, first_sequence, last_sequence } = trace;
  if (end_to_end === null) return `no packet whose way is known, ${incomplete} incomplete`;
  const notes = [
    `${packets} packets, sequences ${first_sequence}-${last_sequence}; ${incomplete} more in flight, dropped or not reported yet`,
    ...(truncated ? ['older packets were left out: more than are read at once'] : []),
    ...(corrected.packets === 0
      ? []
      : [`${corrected.packets} arrived up to ${ms(corrected.ms_max)} ms before they left, by the clocks: shown as 0`]),
  ];
  const names = new Set(trace.slowest.map(({ sink }) => sink)).size > 1;
  return [
    ...notes,
    `end to end p50 ${ms(end_to_end.p50)} / p95 ${ms(end_to_end.p95)} / p99 ${ms(end_to_end.p99)} ms`,
    '',
    ...trace.slowest.map((packet) => packetLine(packet, names)),
    ...(trace.slowest.length === 0 ? [] : ['']),
    handlerTable(trace),
    '',
    linkTable(trace),
  ].join('\n');
}

/** `1203  88.1 ms: capture 2.0 | link 1.6 | queue 18 <- bottleneck | detect 23 | ...` */
function packetLine({ sequence, end_to_end_ms, steps, bottleneck }: TracedPacket, showSink: boolean): string {
  const parts = steps.flatMap((step, index) => {
    if (index === bottleneck) return [`${stepText(step)} <- bottleneck`];
    return step.ms < SHOWN_MS_MIN ? [] : [stepText(step)];
  });
  const sink = showSink ? ` at ${steps.at(-1)!.handler_name}` : '';
  return `${String(sequence).padStart(8)}${sink}  ${ms(end_to_end_ms)} ms: ${parts.join(' | ')}`;
}

function stepText(step: TraceStep): string {
  return `${step.kind === 'compute' ? step.handler_name : step.kind} ${ms(step.ms)}`;
}

function handlerTable({ handlers }: Trace): string {
  return table({
    columns: [left('handler'), left('node'), right('packets'), right('queue ms p50 / p95 / p99'), right('compute ms')],
    rows: handlers.map((one) => [
      ...[`${one.handler_id} ${one.handler_name}`, one.node_name, String(one.packets)],
      ...[range(one.queue), range(one.compute)],
    ]),
  });
}

function linkTable({ links }: Trace): string {
  return table({
    columns: [left('link on the longest way'), right('packets'), right('send ms p50 / p95 / p99'), right('link ms')],
    rows: links.map((one) => [
      ...[`${one.source_name} -> ${one.target_name}`, String(one.packets), range(one.send), range(one.link)],
    ]),
  });
}

function range(figures: Percentiles | null): string {
  return figures === null ? '-' : `${ms(figures.p50)} / ${ms(figures.p95)} / ${ms(figures.p99)}`;
}
