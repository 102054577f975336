/**
 * Every scenario under every algorithm in virtual time (G9 and G11 of the allocation goals). Figures are means over
 * seeds and do not depend on the machine; only how long it takes does. `--only SCENARIO`, `ALGORITHM` or both, with a
 * slash between. `--raw FILE` appends a line for each run as it ends.
 */
import { appendFileSync } from 'node:fs';
import { ORCHESTRATOR, repair, searchOf } from '#src/allocation/fleet/allocator.js';
import { BASELINES } from '#src/allocation/fleet/baselines.js';
import { columnBound } from '#src/allocation/fleet/bound/column-bound.js';
import { Fleet } from '#src/allocation/fleet/model.js';
import type { FleetSnapshot } from '#src/contracts/fleet.js';
import type { Report } from '#src/simulation/report.js';
import type { Scenario } from '#src/simulation/scenario.js';
import { SCENARIOS } from '#src/simulation/scenarios/index.js';
import { type Checkpoint, simulate } from '#src/simulation/simulation.js';
import { type BenchRow, printed, printLines } from './harness.js';
import type { BenchContext } from './run.js';

/** A run's report, and its gaps to the bound, %: when the fleet has filled, and at the end. */
interface Run extends Report {
  readonly gaps: readonly number[];
}

/** Column, unit, and the figure of a run; null where it has none. */
const FIGURES: readonly (readonly [string, string, (run: Run) => number | null])[] = [
  ['admitted', '%', (one) => (100 * one.admitted) / one.sessions],
  ['SLO', '%', (one) => times100(one.attainment)],
  ['served', '%', (one) => times100(one.served)],
  ['accuracy', '', (one) => one.accuracy],
  ['moved', '', (one) => one.moves.handlers],
  ['after 100 s', '', (one) => one.moves.handlers_settled],
  ['moved/min', '%', (one) => 100 * one.moves.share_per_minute_max],
  ['recovery p50', 's', (one) => one.recovery?.p50_s ?? null],
  ['recovery max', 's', (one) => one.recovery?.max_s ?? null],
  ['gap, filled', '%', (one) => one.gaps[0] ?? null],
  ['gap, end', '%', (one) => one.gaps[1] ?? null],
  ['p95/predicted', '', (one) => one.latency?.ratio_p50 ?? null],
  ['within a fifth', '%', (one) => times100(one.latency?.right_share ?? null)],
];

const times100 = (share: number | null): number | null => (share === null ? null : 100 * share);

export async function run({ seeds = 1, only, rawFile }: BenchContext): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  const isWanted = (...names: string[]) => only === undefined || only.split('/').every((one) => names.includes(one));
  const bounds = new Bounds();
  const pairs = ALLOCATORS.flatMap((allocator) => SCENARIOS.map((scenario) => ({ scenario, allocator })))
    .filter(({ scenario, allocator }) => isWanted(scenario.name, allocator.name))
    // What takes longest comes last.
    .sort((a, b) => isLarge(a.scenario) - isLarge(b.scenario));
  for (const { scenario, allocator } of pairs) {
    const runs: Run[] = [];
    for (let seed = 1; seed <= seeds; seed++) {
      const checkpoints: Checkpoint[] = [];
      const onCheckpoint = (one: Checkpoint) => checkpoints.push(one);
      const report = simulate({ scenario, size: scenario.size, seed, allocator, onCheckpoint });
      const gaps: number[] = [];
      for (const one of checkpoints) gaps.push(await bounds.gapOf(one, `${scenario.name} ${seed}`));
      runs.push({ ...report, gaps });
      if (rawFile !== undefined) appendFileSync(rawFile, rawLine(scenario.name, allocator.name, seed, runs.at(-1)!));
    }
    for (const [figure, unit, of] of FIGURES) {
      const values = runs.map(of).filter((value) => value !== null);
      const value = values.length === 0 ? Number.NaN : values.reduce((sum, one) => sum + one, 0) / values.length;
      rows.push({ bench: 'simulate', case: `${scenario.name} ${allocator.name}`, figure, value, unit });
    }
  }
  const place = (name: string) => SCENARIOS.findIndex((one) => name.startsWith(`${one.name} `));
  return rows.sort((a, b) => place(a.case) - place(b.case));
}

/** The nearest competitors first. */
const NEAREST = ['network_aware', 'least_loaded'];
const ALLOCATORS = [
  ORCHESTRATOR,
  ...BASELINES.filter(({ name }) => NEAREST.includes(name)).reverse(),
  ...BASELINES.filter(({ name }) => !NEAREST.includes(name)),
];

const isLarge = ({ size }: Scenario): number => (size.sessions > GAP_SESSIONS_MAX ? 1 : 0);

function rawLine(scenario: string, algorithm: string, seed: number, one: Run): string {
  const figures = Object.fromEntries(FIGURES.map(([figure, , of]) => [figure, of(one)]));
  return `${JSON.stringify({ bench: 'simulate', scenario, algorithm, seed, figures })}\n`;
}

/** Rounds of column generation for one bound (10 are enough for most), and sessions above which it is what all could have, each by itself. */
const GAP_ROUNDS = 25;
const GAP_SESSIONS_MAX = 500;
const GAP_NEAR = 1e-3;

/** Steps of the search for the placements that the bound starts from. */
const GAP_STEPS = 500;

/** Who is there is the same under every algorithm, and so is what any plan could reach, by what services declare. */
class Bounds {
  readonly #known = new Map<string, Promise<number>>();

  async gapOf({ atS, demand, utility }: Checkpoint, run: string): Promise<number> {
    const key = `${run} ${atS}`;
    const bound = this.#known.get(key) ?? boundOf(demand);
    this.#known.set(key, bound);
    return 100 * (1 - utility / (await bound));
  }
}

async function boundOf(demand: FleetSnapshot): Promise<number> {
  const fleet = new Fleet(demand);
  const search = searchOf(fleet, { seed: 1, iterations: 0 });
  repair(search, fleet);
  const isMany = demand.sessions.length > GAP_SESSIONS_MAX;
  if (!isMany) search.improve(GAP_STEPS);
  const starts = [[...search.state.placed]];
  const limit = isMany ? { msLeft: () => 0 } : { roundsMax: GAP_ROUNDS };
  return (await columnBound({ fleet, starts, near: GAP_NEAR, ...limit })).utility;
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
