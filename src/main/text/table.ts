/** Text tables: columns as wide as their widest cell, two spaces between, numbers to the right, no trailing spaces. */

export interface Column {
  readonly header: string;
  readonly align?: 'left' | 'right';
}

export interface TableOptions {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly string[])[];
  /** Before each line, characters. */
  readonly indent?: number;
}

export function table({ columns, rows, indent = 0 }: TableOptions): string {
  const lines = [columns.map((column) => column.header), ...rows];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => (line[index] ?? '').length)));
  return lines
    .map((line) => {
      const cells = columns.map((column, index) => {
        const cell = line[index] ?? '';
        return column.align === 'right' ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!);
      });
      return `${' '.repeat(indent)}${cells.join('  ')}`.trimEnd();
    })
    .join('\n');
}

export const left = (header: string): Column => ({ header });
export const right = (header: string): Column => ({ header, align: 'right' });

/** Milliseconds as people read them: `0.42`, `8.1`, `143`; `-` when not measured. */
export function ms(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  return value.toFixed(size < 1 ? 2 : size < 100 ? 1 : 0);
}

export function seconds(valueMs: number): string {
  return `${(valueMs / 1000).toFixed(1)} s`;
}

/** Bytes with a binary unit: `930 B`, `57 KiB`, `1.4 MiB`. */
export function bytes(value: number): string {
  if (value < 1024) return `${Math.round(value)} B`;
  const units = ['KiB', 'MiB', 'GiB'];
  let size = value / 1024;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size.toFixed(size < 10 ? 1 : 0)} ${units[unit]}`;
}

/** Local time of day with tenths, `12:00:03.1`; `at` in s since the epoch. */
export function timeOfDay(at: number): string {
  const date = new Date(at * 1000);
  const two = (value: number) => String(value).padStart(2, '0');
  const tenths = Math.floor(date.getMilliseconds() / 100);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${tenths}`;
}
