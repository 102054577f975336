/**
 * Upper bound on the utility of any plan by column generation. Master: the linear programme over whole placements of
 * sessions (HiGHS). Pricing: the exact programme of src/allocation/fleet/pricing.ts at the master's duals. At any prices
 * sum(price x capacity) + sum over sessions of max(0, best utility less price) bounds every plan (Lagrange), so the least
 * of these over the rounds is valid even when rounds run out before the master is optimal.
 */
import { createRequire } from 'node:module';
import type { Highs } from 'highs';
import type { Fleet } from '#src/allocation/fleet/model.js';
import { Pricer } from '#src/allocation/fleet/pricing.js';
import { Appraiser, type Placed } from '#src/allocation/fleet/state.js';

// The package's ES entry has types that NodeNext reads as CommonJS; its CommonJS entry has the same function.
const loadHighs = createRequire(import.meta.url)('highs') as () => Promise<Highs>;

export interface ColumnBound {
  readonly bound: number;
  /** Value of the last master: no plan made of its columns has more. */
  readonly master: number;
  readonly rounds: number;
  /** Prices at the bound. */
  readonly prices: Float64Array | null;
  readonly columns: readonly Column[];
}

export interface Column {
  readonly task: number;
  readonly placed: Placed;
}

export interface ColumnOptions {
  readonly fleet: Fleet;
  /** Placements to start from, by task: of plans that were found. */
  readonly starts: readonly (readonly (Placed | null)[])[];
  readonly roundsMax: number;
  /** Stops when (bound - master) / bound is below. */
  readonly gap: number;
  /** How near the prices stay to those of the best bound so far, 0..1. */
  readonly smoothing?: number;
}

export async function columnBound(options: ColumnOptions): Promise<ColumnBound> {
  const { fleet, starts, roundsMax, gap, smoothing = 0.6 } = options;
  const highs = await loadHighs();
  const columns: Column[] = [];
  for (const plan of starts) {
    plan.forEach((placed, task) => {
      if (placed !== null) columns.push({ task, placed });
    });
  }
  const hints = fleet.tasks.map(
    (_, task) => starts.map((plan) => plan[task] ?? null).find((one) => one !== null) ?? null,
  );
  let bound = Number.POSITIVE_INFINITY;
  let center: Float64Array | null = null;
  let master = 0;
  let rounds = 0;
  const pricer = new Pricer(fleet, new Appraiser(fleet), new Float64Array(fleet.resourceCount));
  for (; rounds < roundsMax; rounds++) {
    const solved = solveMaster(highs, fleet, columns);
    master = solved.value;
    if ((bound - master) / bound < gap) break;
    const prices: Float64Array =
      center === null
        ? solved.prices
        : solved.prices.map((price, index) => smoothing * center![index]! + (1 - smoothing) * price);
    pricer.price = prices;
    const lagrange = priceAll({ fleet, pricer, prices, hints, columns, rents: solved.rents, duals: solved.prices });
    if (lagrange < bound) {
      bound = lagrange;
      center = prices;
    }
  }
  return { bound, master, rounds, columns, prices: center };
}

interface PriceInput {
  readonly fleet: Fleet;
  readonly pricer: Pricer;
  readonly prices: Float64Array;
  readonly hints: (Placed | null)[];
  readonly columns: Column[];
  readonly rents: Float64Array;
  readonly duals: Float64Array;
}

/** Adds the best placement of every session that the master lacks; returns the Lagrangian bound. */
function priceAll({ fleet, pricer, prices, hints, columns, rents, duals }: PriceInput): number {
  let lagrange = 0;
  fleet.capacity.forEach((capacity, resource) => {
    if (prices[resource]! > 0) lagrange += prices[resource]! * capacity;
  });
  fleet.tasks.forEach((task, index) => {
    const { value, placed } = pricer.best(task, hints[index]!);
    lagrange += Math.max(0, value);
    if (placed === null) return;
    let reduced = placed.utility - rents[index]!;
    placed.resources.forEach((resource, at) => {
      reduced -= duals[resource]! * placed.amounts[at]!;
    });
    if (placed !== hints[index] || reduced > 1e-7) columns.push({ task: index, placed });
    hints[index] = placed;
  });
  return lagrange;
}

/** The best plan that the columns alone can make, searched for at most `seconds`: price and branch. */
export async function branchColumns(fleet: Fleet, columns: readonly Column[], seconds: number): Promise<number> {
  const highs = await loadHighs();
  const binaries = wrapped(columns.map((_, index) => `x${index}`)).replaceAll(' +', '');
  const result = highs.solve(`${masterText(fleet, columns)}Binary\n ${binaries}\nEnd\n`, {
    time_limit: seconds,
    mip_rel_gap: 1e-4,
  });
  return result.ObjectiveValue;
}

function masterText(fleet: Fleet, columns: readonly Column[]): string {
  const rows = new Map<string, string[]>();
  const put = (row: string, term: string) => {
    const terms = rows.get(row);
    if (terms === undefined) rows.set(row, [term]);
    else terms.push(term);
  };
  columns.forEach(({ task, placed }, index) => {
    put(`s${task}`, `1 x${index}`);
    placed.resources.forEach((resource, at) => {
      const share = placed.amounts[at]! / fleet.capacity[resource]!;
      if (share > 1e-9) put(`r${resource}`, `${share.toPrecision(9)} x${index}`);
    });
  });
  const objective = columns.map(({ placed }, index) => `${placed.utility.toPrecision(9)} x${index}`);
  const lines = [...rows].map(([row, terms]) => ` ${row}: ${wrapped(terms)} <= 1`);
  return `Maximize\n obj: ${wrapped(objective)}\nSubject To\n${lines.join('\n')}\n`;
}

function solveMaster(highs: Highs, fleet: Fleet, columns: readonly Column[]) {
  const result = highs.solve(`${masterText(fleet, columns)}End\n`);
  const prices = new Float64Array(fleet.resourceCount);
  const rents = new Float64Array(fleet.tasks.length);
  for (const row of result.Rows as { Name: string; Dual: number }[]) {
    const index = Number(row.Name.slice(1));
    if (row.Name.startsWith('s')) rents[index] = Math.max(0, row.Dual);
    else prices[index] = Math.max(0, row.Dual) / fleet.capacity[index]!;
  }
  return { value: result.ObjectiveValue, prices, rents };
}

/** The LP format bounds the length of a line. */
function wrapped(terms: readonly string[]): string {
  const lines: string[] = [];
  for (let at = 0; at < terms.length; at += 20) lines.push(terms.slice(at, at + 20).join(' + '));
  return lines.join('\n + ');
}
