/**
 * What every bench shares: interleaved rounds, medians, one table, rows as JSON. A case is measured once per round and
 * rounds go over all cases, so that a slow minute of a shared machine falls on every case alike; ratios are within one run.
 */
import { appendFileSync, writeFileSync } from 'node:fs';
import { quantile } from '#src/std/quantile.js';

export interface BenchRow {
  bench: string;
  case: string;
  figure: string;
  value: number;
  unit: string;
  /** What the value is compared with in the same run, and value / reference (or reference / value where less is better). */
  reference?: string;
  ratio?: number;
}

export interface BenchCase {
  readonly name: string;
  /** One measurement: figure name -> value. */
  measure(): Promise<Record<string, number>>;
}

export interface BenchOptions {
  readonly bench: string;
  readonly cases: readonly BenchCase[];
  readonly units: Readonly<Record<string, string>>;
  /** Case that the others are compared with, by figure; ratio > 1 means better than the reference. */
  readonly reference?: string;
  /** The same for benches whose cases have different references. */
  readonly referenceOf?: (name: string) => string | undefined;
  /** Figures where less is better. */
  readonly lessIsBetter?: readonly string[];
  readonly rounds: number;
  /** Raw rows (one per round, case and figure) are appended here as JSON lines. */
  readonly rawFile?: string | undefined;
}

export async function runCases(options: BenchOptions): Promise<BenchRow[]> {
  const values = new Map<string, number[]>();
  for (let round = 0; round < options.rounds; round++) {
    for (const one of options.cases) {
      for (const [figure, value] of Object.entries(await one.measure())) {
        const key = `${one.name}\u0000${figure}`;
        values.set(key, [...(values.get(key) ?? []), value]);
        const raw = { bench: options.bench, case: one.name, figure, round, value };
        if (options.rawFile !== undefined) appendFileSync(options.rawFile, `${JSON.stringify(raw)}\n`);
      }
    }
  }
  const median = (name: string, figure: string) => quantile(values.get(`${name}\u0000${figure}`) ?? [], 0.5);
  return [...values.keys()].map((key) => {
    const [name, figure] = key.split('\u0000') as [string, string];
    const value = median(name, figure);
    const row: BenchRow = { bench: options.bench, case: name, figure, value, unit: options.units[figure] ?? '' };
    const reference = options.referenceOf === undefined ? options.reference : options.referenceOf(name);
    const base = reference === undefined ? Number.NaN : median(reference, figure);
    if (reference !== undefined && reference !== name && Number.isFinite(base) && base > 0 && value > 0) {
      row.reference = reference;
      row.ratio = options.lessIsBetter?.includes(figure) ? base / value : value / base;
    }
    return row;
  });
}

/** With as many digits as mean something. */
export function printed(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 3;
  return value.toFixed(digits);
}

export function printTable(rows: readonly BenchRow[]): void {
  const head = ['case', 'figure', 'value', 'unit', 'ratio', 'against'];
  const cells = rows.map((row) => [
    row.case,
    row.figure,
    printed(row.value),
    row.unit,
    row.ratio === undefined ? '' : row.ratio.toFixed(2),
    row.reference ?? '',
  ]);
  printLines(head, cells, 2, new Set([3, 5]));
}

/** Columns from `numericFrom` on are numbers, except those in `texts`. */
export function printLines(
  head: readonly string[],
  cells: readonly (readonly string[])[],
  numericFrom: number,
  texts: ReadonlySet<number> = new Set(),
): void {
  const widths = head.map((title, column) => Math.max(title.length, ...cells.map((line) => line[column]!.length)));
  const isNumeric = (column: number) => column >= numericFrom && !texts.has(column);
  const line = (parts: readonly string[]) =>
    parts
      .map((part, column) => (isNumeric(column) ? part.padStart(widths[column]!) : part.padEnd(widths[column]!)))
      .join('  ')
      .trimEnd();
  console.log([line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...cells.map(line)].join('\n'));
}

export function writeRows(file: string, rows: readonly BenchRow[]): void {
  writeFileSync(file, `${JSON.stringify(rows, null, 2)}\n`);
}
