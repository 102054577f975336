/**
 * Every scenario under every algorithm in virtual time (G9 and G11 of the allocation goals). Figures are means over
 * seeds and do not depend on the machine; only how long it takes does. `--only SCENARIO`, `ALGORITHM` or both, with a
 * slash between.
 */
import { ORCHESTRATOR } from '#src/allocation/fleet/allocator.js';
import { BASELINES } from '#src/allocation/fleet/baselines.js';
import type { Report } from '#src/simulation/report.js';
import { SCENARIOS } from '#src/simulation/scenarios/index.js';
import { simulate } from '#src/simulation/simulation.js';
import { type BenchRow, printed, printLines } from './harness.js';
import type { BenchContext } from './run.js';

/** Column, unit, and the figure of a run; null where it has none. */
const FIGURES: readonly (readonly [string, string, (report: Report) => number | null])[] = [
  ['admitted', '%', (one) => (100 * one.admitted) / one.sessions],
  ['SLO', '%', (one) => times100(one.attainment)],
  ['served', '%', (one) => times100(one.served)],
  ['accuracy', '', (one) => one.accuracy],
  ['moved', '', (one) => one.moves.handlers],
  ['after 100 s', '', (one) => one.moves.handlers_settled],
  ['moved/min', '%', (one) => 100 * one.moves.share_per_minute_max],
  ['recovery p50', 's', (one) => one.recovery?.p50_s ?? null],
  ['recovery max', 's', (one) => one.recovery?.max_s ?? null],
  ['p95/predicted', '', (one) => one.latency?.ratio_p50 ?? null],
  ['within a fifth', '%', (one) => times100(one.latency?.right_share ?? null)],
];

const times100 = (share: number | null): number | null => (share === null ? null : 100 * share);

export async function run({ seeds = 1, only }: BenchContext): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  const isWanted = (...names: string[]) => only === undefined || only.split('/').every((one) => names.includes(one));
  for (const scenario of SCENARIOS) {
    for (const allocator of [ORCHESTRATOR, ...BASELINES].filter(({ name }) => isWanted(scenario.name, name))) {
      const reports = Array.from({ length: seeds }, (_, index) =>
        simulate({ scenario, size: scenario.size, seed: index + 1, allocator }),
      );
      for (const [figure, unit, of] of FIGURES) {
        const values = reports.map(of).filter((value) => value !== null);
        const value = values.length === 0 ? Number.NaN : values.reduce((sum, one) => sum + one, 0) / values.length;
        rows.push({ bench: 'simulate', case: `${scenario.name} ${allocator.name}`, figure, value, unit });
      }
    }
  }
  return rows;
}

/** A line for each scenario and algorithm. */
export function print(rows: readonly BenchRow[]): void {
  const cases = [...new Set(rows.map((row) => row.case))];
  const heads = FIGURES.map(([figure, unit]) => (unit === '' ? figure : `${figure} ${unit}`));
  const cells = cases.map((name) => [
    ...name.split(' '),
    ...FIGURES.map(([figure]) => printed(rows.find((row) => row.case === name && row.figure === figure)!.value)),
  ]);
  printLines(['scenario', 'algorithm', ...heads], cells, 2);
}
