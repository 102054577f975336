/** The rows of the links bench as one table: a line for each transport and size, ratios to raw TCP at that size. */
import { type BenchRow, printed, printLines } from '../harness.js';

const HEAD = ['size', 'transport', 'packets/s', '/ raw', 'CPU ms', 'p50 ms', 'p99 ms'];
const FIGURES = ['cpu', 'p50', 'p99'];

export function printLinksTable(rows: readonly BenchRow[]): void {
  const cases = [...new Set(rows.map((row) => row.case))];
  const lines = cases.map((name) => {
    const row = (figure: string) => rows.find((one) => one.case === name && one.figure === figure);
    const [size, transport] = name.split(': ') as [string, string];
    const packets = row('packets');
    const others = FIGURES.map((figure) => printed(row(figure)?.value ?? Number.NaN));
    return [size, transport, printed(packets?.value ?? Number.NaN), (packets?.ratio ?? 1).toFixed(2), ...others];
  });
  printLines(HEAD, lines, 2);
}
