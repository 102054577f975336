/** A plan, and why, in the words that `session start`, `session explain`, `run` and `demo` print. */
import type { Objective, PlannedHandler, Refusal, SessionPlan } from '../../contracts/plan.js';
import { bytes, left, ms, right, table } from './table.js';

/** `chose detect=ssd @edge, recognize=faceres @cloud; predicted p95 71 ms, accuracy 0.957`, and the runner-up below. */
export function choiceLine(plan: SessionPlan): string {
  const chosen = plan.handlers.filter((handler) => handler.candidates.some((one) => one.alternative !== 'default'));
  const named = chosen.length > 0 ? chosen : plan.handlers;
  const parts = named.map((handler) => `${handlerChoice(handler)} @${handler.node_name}`);
  const isJoined = plan.variant.split('+').every((part) => named.some((handler) => handler.alternative === part));
  const variant = isJoined || plan.variant === 'default' ? '' : `${plan.variant}: `;
  const predicted = `predicted p95 ${ms(plan.latency_ms)} ms, accuracy ${plan.accuracy.toFixed(3)}`;
  const rival = plan.runner_up;
  const runnerUp =
    rival === undefined
      ? ''
      : `\n  runner-up ${rival.variant} (${rival.placement}), p95 ${ms(rival.latency_ms)} ms, accuracy ${rival.accuracy.toFixed(3)}: ${rival.why_not}`;
  return `chose ${variant}${parts.join(', ')}; ${predicted}${runnerUp}`;
}

function handlerChoice(handler: PlannedHandler): string {
  return handler.alternative === 'default' ? handler.handler_name : `${handler.handler_name}=${handler.alternative}`;
}

/** `4 fps, p95 <= 900 ms, accuracy >= 0.9` */
export function objectiveText(objective: Objective): string {
  const parts = [`${objective.fps} fps`];
  if (objective.latency_ms_max !== undefined) parts.push(`p95 <= ${ms(objective.latency_ms_max)} ms`);
  if (objective.accuracy_min !== undefined) parts.push(`accuracy >= ${objective.accuracy_min}`);
  return parts.join(', ');
}

/** One line per handler: where, in which alternative, and what is predicted for it. */
export function placementTable(plan: SessionPlan, indent = 2): string {
  return table({
    indent,
    columns: [
      left('handler'),
      left('alternative'),
      left('node'),
      right('compute ms'),
      right('queue ms'),
      right('mem MiB'),
      left('cost'),
    ],
    rows: plan.handlers.map((handler) => [
      `${handler.handler_id} ${handler.handler_name}`,
      handler.alternative,
      handler.node_name,
      ms(handler.compute_ms),
      ms(handler.queue_ms),
      String(Math.round(handler.mem_mb)),
      handler.profile,
    ]),
  });
}

/** The links of a plan that cross nodes. */
export function linkTable(plan: SessionPlan, indent = 2): string {
  const nodeNames = new Map(plan.handlers.map((handler) => [handler.node_id, handler.node_name]));
  const handlerNames = new Map(plan.handlers.map((handler) => [handler.handler_id, handler.handler_name]));
  const between = plan.links.filter((link) => link.source_node !== link.target_node);
  if (between.length === 0) return `${' '.repeat(indent)}no link between nodes`;
  return table({
    indent,
    columns: [left('link'), left('nodes'), right('packet'), right('Mbit/s'), right('ms'), left('known by')],
    rows: between.map((link) => [
      `${handlerNames.get(link.source_handler)} -> ${handlerNames.get(link.target_handler)}`,
      `${nodeNames.get(link.source_node)} -> ${nodeNames.get(link.target_node)}`,
      bytes(link.bytes),
      link.mbit_per_s.toFixed(1),
      ms(link.latency_ms),
      link.latency_from ?? '-',
    ]),
  });
}

/** `session explain`: the choice, the reasons, and per handler every candidate with what rejected it. */
export function explainText(plan: SessionPlan): string {
  return [
    choiceLine(plan),
    '',
    ...plan.reasons.map((reason) => `  - ${reason}`),
    '',
    placementTable(plan),
    '',
    linkTable(plan),
    '',
    'candidates',
    ...plan.handlers.map((handler) => candidateTable(handler)),
  ].join('\n');
}

function candidateTable(handler: PlannedHandler): string {
  const rows = handler.candidates.map((candidate) => {
    const chosen = candidate.node_id === handler.node_id && candidate.alternative === handler.alternative;
    return [
      chosen ? '*' : '',
      candidate.alternative,
      candidate.node_name,
      ms(candidate.compute_ms),
      candidate.profile,
      chosen ? 'chosen' : (candidate.rejected ?? 'possible'),
    ];
  });
  const columns = [left(' '), left('alternative'), left('node'), right('compute ms'), left('cost'), left('verdict')];
  return `  ${handler.handler_id} ${handler.handler_name}\n${table({ columns, rows, indent: 4 })}`;
}

/** A refusal: the reasons, per handler what rejected each candidate, and the nearest objective that fits. */
export function refusalText(refusal: Refusal): string {
  const lines = [`no placement of ${refusal.service_name} meets the objective`];
  for (const reason of refusal.reasons) lines.push(`  - ${reason}`);
  for (const { handler_name, candidates } of refusal.candidates) {
    const rejected = candidates.filter((candidate) => candidate.rejected !== undefined);
    // A handler that is pinned says nothing about the objective.
    if (rejected.every((candidate) => candidate.rejected!.startsWith('pinned'))) continue;
    lines.push(`  ${handler_name}`);
    const rows = rejected.map((one) => [`${one.alternative} @${one.node_name}`, one.rejected!]);
    lines.push(table({ columns: [left('candidate'), left('rejected by')], rows, indent: 4 }));
  }
  if (refusal.nearest !== undefined) lines.push(`nearest objective that fits: ${objectiveText(refusal.nearest)}`);
  return lines.join('\n');
}
