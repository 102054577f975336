/** What a simulation shows: `simulate` one run, the bench a row for each. */
import type { Report } from '../../simulation/report.js';
import { type Column, left, right, table } from './table.js';

export const SIMULATION_COLUMNS: readonly Column[] = [
  ...[left('scenario'), left('algorithm'), right('admitted'), right('SLO %'), right('served %'), right('accuracy')],
  ...[right('moved'), right('moved/min %'), right('recovery p50/max s'), right('p95/predicted')],
];

export function simulationRow(report: Report): string[] {
  const { admitted, sessions, moves, recovery, latency } = report;
  const seconds = (value: number | null) => (value === null ? '-' : value.toFixed(1));
  const back = recovery === null ? '-' : `${seconds(recovery.p50_s)}/${seconds(recovery.max_s)}`;
  const lost =
    recovery === null || recovery.recovered === recovery.victims
      ? ''
      : ` (${recovery.victims - recovery.recovered} lost)`;
  return [
    ...[
      report.scenario,
      report.algorithm,
      `${admitted}/${sessions}`,
      percent(report.attainment),
      percent(report.served),
    ],
    ...[report.accuracy?.toFixed(3) ?? '-', String(moves.handlers), (100 * moves.share_per_minute_max).toFixed(1)],
    ...[`${back}${lost}`, latency?.ratio_p50.toFixed(2) ?? '-'],
  ];
}

const percent = (share: number | null): string => (share === null ? '-' : (100 * share).toFixed(2));

export function simulationText(report: Report): string {
  const { frames, moves, recovery, latency } = report;
  const { ends } = frames;
  const dropped = Object.entries(ends).filter(([end, count]) => end !== 'in_time' && count > 0);
  const reasons = Object.entries(moves.by_reason).filter(([, count]) => count > 0);
  return [
    table({ columns: SIMULATION_COLUMNS, rows: [simulationRow(report)] }),
    `${report.duration_s} s of virtual time, frames in ${report.frames_s} s of it; seed ${report.seed}, ${report.nodes} nodes`,
    `frames: ${frames.offered} offered = ${ends.in_time} in time${dropped.map(([end, count]) => ` + ${count} ${end}`).join('')} + ${frames.in_flight} in flight`,
    ...(reasons.length === 0 ? [] : [`handlers moved: ${reasons.map(([why, count]) => `${count} ${why}`).join(', ')}`]),
    ...(recovery === null ? [] : [`hit: ${recovery.victims} sessions, ${recovery.recovered} of them in time again`]),
    ...(latency === null ? [] : [latencyText(latency)]),
  ].join('\n');
}

function latencyText({
  sessions,
  ratio_p05,
  ratio_p50,
  ratio_p95,
  right_share,
  ...of
}: NonNullable<Report['latency']>): string {
  const range = `${ratio_p50.toFixed(2)} (5 % ${ratio_p05.toFixed(2)}, 95 % ${ratio_p95.toFixed(2)})`;
  return `measured p95 / predicted at that load, ${sessions} sessions: median ${range}, ${(100 * right_share).toFixed(0)} % within a fifth; / promised: median ${of.promised_ratio_p50.toFixed(2)}, most ${of.promised_ratio_max.toFixed(2)}`;
}
