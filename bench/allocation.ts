/**
 * The allocator against its bound and against the baselines, on the seeded instances of
 * src/allocation/fleet/instances.ts: G1..G8, G10 and G12 of the allocation goals, each with what it must reach. Every plan
 * is certified by the independent verifier or the bench fails. Gaps are to the column generation bound, in per cent of
 * it; mean and worst over seeds. `explained` is one new session with all its sentences, as the coordinator decides it.
 */
import { appendFileSync } from 'node:fs';
import { allocateFleet, keepPlaced, ORCHESTRATOR, planOf, repair, searchOf } from '#src/allocation/fleet/allocator.js';
import { BASELINES } from '#src/allocation/fleet/baselines.js';
import { columnBound } from '#src/allocation/fleet/bound/column-bound.js';
import { instanceOf } from '#src/allocation/fleet/instances.js';
import { Fleet } from '#src/allocation/fleet/model.js';
import { OneSession } from '#src/allocation/fleet/one-session.js';
import { sessionPlan } from '#src/allocation/fleet/session-plan.js';
import { verifyFleet } from '#src/allocation/fleet/verify-fleet.js';
import type { FleetPlan, FleetSession, FleetSnapshot } from '#src/contracts/fleet.js';
import { quantile } from '#src/std/quantile.js';
import { explainedRequest, explainedSnapshot } from './explained-instance.js';
import { type BenchRow, printed, printLines } from './harness.js';
import type { BenchContext } from './run.js';

interface Size {
  readonly nodes: number;
  readonly sessions: number;
  readonly load: number;
  readonly seeds: number;
  readonly iterations: number;
  /** Goal that the gap belongs to, and what it must be, %. */
  readonly goal: string;
  /** Time for the bound, ms: a whole one takes minutes at 100/1000. 0 = what all sessions could have, each by itself. */
  readonly boundMs: number;
  /** Time for branch and bound over the columns: the best plan known, beside ours; 0 = none. */
  readonly wholeMs: number;
  /** Sessions of the most loaded edge node that dies, at most; 0 = none dies. */
  readonly victimsMax: number;
  readonly twice: boolean;
}

const SMALL = { boundMs: 60_000, wholeMs: 0, victimsMax: 0, twice: true };

const SIZES: readonly Size[] = [
  { ...SMALL, nodes: 10, sessions: 20, load: 1, seeds: 20, iterations: 1000, goal: 'G1 gap to bound (must <= 0.5)' },
  {
    ...{ ...SMALL, nodes: 30, sessions: 100, load: 1, seeds: 20, iterations: 1500, victimsMax: 30 },
    goal: 'G1 gap to bound (must <= 0.5)',
  },
  {
    ...{ ...SMALL, nodes: 30, sessions: 100, load: 2.7, seeds: 20, iterations: 2000, wholeMs: 8_000 },
    goal: 'G2 gap to bound (must <= 4)',
  },
  {
    ...{ ...SMALL, nodes: 100, sessions: 1000, load: 1, seeds: 5, iterations: 4000, victimsMax: 30, twice: false },
    ...{ boundMs: 45_000, goal: 'G3 gap to bound (must <= 3)' },
  },
  {
    ...{ ...SMALL, nodes: 1000, sessions: 10_000, load: 1, seeds: 1, iterations: 20_000, twice: false },
    ...{ boundMs: 0, goal: 'G4 gap to bound (excellent <= 4)' },
  },
];

/** Relative gap between bound and master at which column generation stops. */
const BOUND_NEAR = 3e-4;

type Figures = Map<string, number[]>;

export async function run({ seeds, only, rawFile }: BenchContext): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const size of SIZES.filter((one) => only === undefined || `${one.nodes}/${one.sessions}x${one.load}` === only)) {
    const figures: Figures = new Map();
    for (let seed = 1; seed <= Math.min(seeds ?? size.seeds, size.seeds); seed++) {
      await measure(size, seed, figures);
      if (rawFile !== undefined) appendFileSync(rawFile, rawLine(size, seed, figures));
    }
    for (const [figure, values] of figures) rows.push(...rowsOf(size, figure, values));
  }
  if (only === undefined) rows.push(...explained());
  return rows;
}

/** The figures of one seed; the one that was measured last. */
function rawLine({ nodes, sessions, load }: Size, seed: number, figures: Figures): string {
  const last = Object.fromEntries([...figures].map(([figure, values]) => [figure.split('|')[0], values.at(-1)]));
  return `${JSON.stringify({ bench: 'allocation', nodes, sessions, load, seed, figures: last })}\n`;
}

/** One line per figure: mean and worst over seeds side by side. */
export function print(rows: readonly BenchRow[]): void {
  const lines = new Map<string, { row: BenchRow; values: Map<string, number> }>();
  for (const row of rows) {
    const cut = row.figure.lastIndexOf(', ');
    const figure = cut < 0 ? 'decision' : row.figure.slice(0, cut);
    const key = `${row.case}, ${figure}`;
    const line = lines.get(key) ?? { row: { ...row, figure }, values: new Map<string, number>() };
    line.values.set(cut < 0 ? row.figure : row.figure.slice(cut + 2), row.value);
    lines.set(key, line);
  }
  const cells = [...lines.values()].map(({ row, values }) => {
    const { what, wanted } = /^(?<what>.*?)(?: \((?<wanted>[^)]*)\))?$/.exec(row.figure)!.groups as Record<
      string,
      string
    >;
    const first = values.get('mean') ?? values.get('one seed') ?? values.get('p50');
    const second = values.get('worst') ?? values.get('p95');
    const numbers = [first, second].map((one) => (one === undefined ? '' : printed(one)));
    return [row.case, what!, ...numbers, row.unit, wanted === '>=' ? '' : (wanted ?? '')];
  });
  printLines(['nodes/sessions', 'figure', 'mean (p50)', 'worst (p95)', 'unit', 'wanted'], cells, 2, new Set([4, 5]));
}

function rowsOf({ nodes, sessions, load }: Size, figure: string, values: readonly number[]): BenchRow[] {
  const name = `${nodes}/${sessions}${load === 1 ? '' : ` load ${load}`}`;
  const [what, unit = ''] = figure.split('|') as [string, string?];
  const mean = values.reduce((sum, one) => sum + one, 0) / values.length;
  const worst = what.includes('>=') ? Math.min(...values) : Math.max(...values);
  const row = (kind: string, value: number): BenchRow => ({
    bench: 'allocation',
    case: name,
    figure: `${what}, ${kind}`,
    value,
    unit,
  });
  return values.length === 1 ? [row('one seed', mean)] : [row('mean', mean), row('worst', worst)];
}

async function measure(size: Size, seed: number, figures: Figures): Promise<void> {
  const note = (figure: string, value: number) => figures.set(figure, [...(figures.get(figure) ?? []), value]);
  const snapshot = instanceOf({ ...size, seed });
  const fleet = new Fleet(snapshot);
  const online = searchOf(fleet, { seed, iterations: 0 });
  const times: number[] = [];
  for (let task = 0; task < fleet.tasks.length; task++) times.push(timed(() => online.insert(task)));
  const settled = times.slice(times.length >> 1);
  const decisionMs = size.nodes >= 1000 ? [3, 15] : [0.5, 10];
  note(`G5 online decision p50 (must <= ${decisionMs[0]})|ms`, quantile(settled, 0.5));
  note(`G5 online decision p99 (must <= ${decisionMs[1]})|ms`, quantile(settled, 0.99));
  const onlinePlan = certified(planOf('online', online), snapshot);
  const starts = [[...online.state.placed]];
  const search = searchOf(fleet, { seed, iterations: 0 });
  const planMs = timed(() => {
    repair(search, fleet);
    search.improve(size.iterations);
  });
  starts.push([...search.state.placed]);
  const plan = certified(planOf('orchestrator', search), snapshot);
  note(
    `${size.nodes >= 1000 ? 'G4 re-plan (must <= 60)' : size.nodes >= 100 ? 'G3 re-plan (must <= 30)' : 're-plan'}|s`,
    planMs / 1000,
  );
  note('admitted (>=)|%', (100 * plan.sessions.length) / size.sessions);
  note('mean accuracy (>=)|', plan.sessions.reduce((sum, one) => sum + one.accuracy, 0) / plan.sessions.length);
  note('G6 online utility of re-plan (must >= 90)|%', (100 * onlinePlan.utility) / plan.utility);
  const { boundMs, wholeMs, goal } = size;
  const end = performance.now() + boundMs;
  const { utility: bound, whole } = await columnBound({
    ...{ fleet, starts, near: BOUND_NEAR, wholeMs, msLeft: () => end - performance.now() },
  });
  note(`${goal}|%`, (100 * (bound - plan.utility)) / bound);
  if (wholeMs > 0) {
    const known = Math.max(plan.utility, whole ?? 0);
    note('G2 gap to best known (must <= 1.5)|%', (100 * (known - plan.utility)) / known);
  }
  wholeDecisions(snapshot, plan, note);
  compare(fleet, snapshot, plan, note, size.load > 1);
  if (size.victimsMax > 0) nodeDeath(size, seed, snapshot, plan, note);
  if (size.twice) note('G12 the same plan twice (must >= 1)|', isSameTwice(size, seed, snapshot) ? 1 : 0);
}

/** Sessions that are decided about again, each beside all the others. */
const WHOLE_DECISIONS = 40;

/** From a snapshot to the certified plan of one session, as the coordinator comes to it: nothing is kept from one to the next. */
function wholeDecisions(snapshot: FleetSnapshot, plan: FleetPlan, note: (figure: string, value: number) => void): void {
  const now = running(snapshot, plan);
  const times = plan.sessions.slice(-WHOLE_DECISIONS).map(({ session_id }) => {
    const sessions = now.sessions.map(
      ({ previous, ...one }): FleetSession =>
        one.session_id === session_id || previous === undefined ? one : { ...one, previous },
    );
    return timed(() => new OneSession({ ...now, sessions }, session_id).place(ORCHESTRATOR));
  });
  note('G5 snapshot to certified plan p50|ms', quantile(times, 0.5));
  note('G5 snapshot to certified plan p99|ms', quantile(times, 0.99));
}

function timed(work: () => unknown): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

function certified(plan: FleetPlan, snapshot: FleetSnapshot): FleetPlan {
  const violations = verifyFleet(plan, snapshot);
  if (violations.length > 0) throw new Error(`${plan.algorithm}: ${violations[0]}`);
  return plan;
}

/** G10, where as much is asked for as there is. */
const MUST_TIMES: Readonly<Record<string, number>> = { network_aware: 1.25, least_loaded: 3 };

function compare(
  fleet: Fleet,
  snapshot: FleetSnapshot,
  plan: FleetPlan,
  note: (figure: string, value: number) => void,
  isLoaded: boolean,
): void {
  for (const baseline of BASELINES) {
    const other = certified(baseline.plan(fleet, { seed: 1, iterations: 0 }), snapshot);
    const must = isLoaded ? MUST_TIMES[baseline.name] : undefined;
    const what = must === undefined ? 'admitted' : 'G10 admitted';
    const than = must === undefined ? '(>=)' : `(must >= ${must})`;
    note(`${what}, times ${baseline.name} ${than}|x`, plan.sessions.length / Math.max(1, other.sessions.length));
  }
}

/** The edge node with most sessions up to 30 dies: repair at once, then a sticky re-plan, against a free one. */
function nodeDeath(
  size: Size,
  seed: number,
  snapshot: FleetSnapshot,
  plan: FleetPlan,
  note: (figure: string, value: number) => void,
): void {
  const on = new Map<number, number[]>();
  for (const { session_id, placement } of plan.sessions) {
    for (const id of new Set(placement.map((one) => one.node_id))) on.set(id, [...(on.get(id) ?? []), session_id]);
  }
  const edges = snapshot.nodes.filter((one) => one.labels.includes('edge')).map((one) => one.node_id);
  const hit = edges
    .map((id) => ({ id, victims: on.get(id) ?? [] }))
    .filter((one) => one.victims.length <= size.victimsMax);
  const { id, victims } = hit.sort((a, b) => b.victims.length - a.victims.length)[0]!;
  const nodes = snapshot.nodes.map((one) => (one.node_id === id ? { ...one, up: false } : one));
  const after = { ...running(snapshot, plan), nodes };
  const fleet = new Fleet(after);
  const search = searchOf(fleet, { seed, iterations: 0 });
  keepPlaced(fleet, search);
  note(
    'G7 repair of a dead edge node (must <= 50)|ms',
    timed(() => repair(search, fleet)),
  );
  const repaired = certified(planOf('repair', search), after);
  const places = new Map(repaired.sessions.map((one) => [one.session_id, JSON.stringify(one.placement)]));
  const innocents = plan.sessions.filter(
    (one) => !victims.includes(one.session_id) && places.get(one.session_id) !== JSON.stringify(one.placement),
  );
  note('G7 innocents moved by it (must <= 0)|', innocents.length);
  const handlers = plan.sessions
    .filter((one) => victims.includes(one.session_id))
    .reduce((sum, one) => sum + one.placement.length, 0);
  const sticky = certified(allocateFleet(after, ORCHESTRATOR, { seed, iterations: size.iterations }), after);
  const free = certified(
    allocateFleet({ ...snapshot, nodes }, ORCHESTRATOR, { seed, iterations: size.iterations }),
    after,
  );
  note(
    'G8 sticky re-plan, admitted of a free one (must >= 98)|%',
    (100 * sticky.sessions.length) / free.sessions.length,
  );
  note('G8 sticky re-plan, utility of a free one (>=)|%', (100 * sticky.utility) / free.utility);
  note('G8 moved / handlers of the victims (must <= 1)|', sticky.moved / Math.max(1, handlers));
}

function running(snapshot: FleetSnapshot, plan: FleetPlan): FleetSnapshot {
  const placed = new Map(plan.sessions.map((one) => [one.session_id, one.placement]));
  const sessions = snapshot.sessions.map((one): FleetSession => {
    const previous = placed.get(one.session_id);
    return previous === undefined ? one : { ...one, previous };
  });
  return { ...snapshot, sessions };
}

function isSameTwice(size: Size, seed: number, snapshot: FleetSnapshot): boolean {
  const plan = () =>
    JSON.stringify(allocateFleet(snapshot, ORCHESTRATOR, { seed, iterations: Math.min(300, size.iterations) }));
  const first = plan();
  return plan() === first;
}

const DECISIONS = 20;

function explained(): BenchRow[] {
  return [10, 30, 100].flatMap((count) => {
    const times = Array.from({ length: DECISIONS }, (_, index) => {
      const source = index % count;
      const snapshot = explainedSnapshot(count, source);
      return timed(() => {
        const one = new OneSession(snapshot, 0);
        if (one.place(ORCHESTRATOR)) sessionPlan(one, explainedRequest(source));
      });
    });
    const row = (figure: string, value: number): BenchRow => ({
      bench: 'allocation',
      case: `${count} nodes, explained`,
      figure,
      value,
      unit: 'ms',
    });
    return [row('p50', quantile(times, 0.5)), row('p95', quantile(times, 0.95))];
  });
}
