/**
 * Minute and hour aggregates of the telemetry tables: what they keep, and the SQL that adds rows to them.
 * Each row counts once, in the bucket of its own timestamp, however late it comes: rows are taken in the order in which
 * they came (by the number that every row has), and how far that went is stored in the same transaction. So aggregates
 * and rows beyond `rollup_progress.last_row` never overlap and together are everything.
 * Means carry their weight (`<name>_samples`, or the packets they are of), so that means of longer times are exact:
 * sum(cpu_util * cpu_util_samples) / sum(cpu_util_samples).
 */
import type { TelemetryTable } from './store.js';

export interface Rollup {
  readonly source: TelemetryTable;
  /** Column -> what it is in a row of the source. */
  readonly keys: Readonly<Record<string, string>>;
  readonly measures: readonly Measure[];
  /** Which rows of the source; all when absent. */
  readonly where?: string;
}

/** `of` and `weight` are expressions over a row of the source. */
export type Measure =
  | { readonly name: string; readonly how: 'sum' | 'max' | 'min'; readonly of: string }
  | { readonly name: string; readonly how: 'mean'; readonly of: string; readonly weight: string; readonly by: string };

/** Of a figure that may be NULL: its mean over the rows that have it, its highest, and in how many rows it was. */
const measured = (name: string): Measure[] => {
  const has = `CASE WHEN ${name} IS NULL THEN 0 ELSE 1 END`;
  return [
    { name, how: 'mean', of: name, weight: has, by: `${name}_samples` },
    { name: `${name}_max`, how: 'max', of: name },
    { name: `${name}_samples`, how: 'sum', of: has },
  ];
};
const meanOfPackets = (name: string): Measure => ({ name, how: 'mean', of: name, weight: 'packets', by: 'packets' });
const total = (name: string, of = name): Measure => ({ name, how: 'sum', of });
const same = (...names: string[]): Record<string, string> => Object.fromEntries(names.map((name) => [name, name]));

/** A change of this is a new migration of every engine. */
export const ROLLUPS: readonly Rollup[] = [
  {
    source: 'sys_info',
    keys: same('node_id'),
    measures: ['cpu_util', 'mem_util', 'gpu_util', 'gpu_mem_util', 'gpu_power'].flatMap(measured),
  },
  {
    source: 'proc_info',
    keys: same('session_id', 'handler_id'),
    measures: ['cpu_util', 'mem_util', 'gpu_util', 'gpu_mem_util'].flatMap(measured),
  },
  {
    source: 'packet_info',
    keys: same('session_id', 'handler_id', 'event'),
    measures: [total('packets', '1'), total('bytes', 'coalesce(size, 0)')],
  },
  {
    source: 'gpu_info',
    keys: same('node_id', 'gpu_id'),
    measures: ['gpu_util', 'gpu_mem_util', 'gpu_power'].flatMap(measured),
    // Rows of a handler say again what the machine's own say.
    where: 'session_id IS NULL',
  },
  {
    source: 'profile',
    keys: same('node_id', 'session_id', 'handler_id', 'handler_type', 'profile_key'),
    measures: [
      ...['service_ms', 'queue_ms', 'cpu_ms', 'out_bytes'].map(meanOfPackets),
      { name: 'service_ms_p95', how: 'max', of: 'service_ms_p95' },
      total('packets'),
    ],
  },
  {
    source: 'link_info',
    keys: same('session_id', 'source_handler', 'target_handler', 'source_node', 'target_node'),
    measures: [
      ...measured('latency_ms'),
      { name: 'rtt_ms', how: 'min', of: 'rtt_ms' },
      { name: 'mbit_per_s', how: 'max', of: 'mbit_per_s' },
      total('packets'),
      total('bytes'),
    ],
    // Probes between nodes have neither, and are worth nothing once they are old.
    where: 'session_id IS NOT NULL AND source_handler IS NOT NULL AND target_handler IS NOT NULL',
  },
  {
    source: 'ledger',
    keys: { ...same('session_id', 'handler_id', 'fate'), at_handler: 'coalesce(at_handler, handler_id)' },
    measures: [total('packets')],
  },
];

export const ROLLUP_SPANS = { minute: 60, hour: 3600 } as const;
export type RollupSpan = keyof typeof ROLLUP_SPANS;
export const ROLLUP_SPAN_NAMES = Object.keys(ROLLUP_SPANS) as RollupSpan[];

export const rollupTable = (source: TelemetryTable, span: RollupSpan): string => `${source}_${span}`;

export function rollupOf(source: string): Rollup | undefined {
  return ROLLUPS.find((rollup) => rollup.source === source);
}

/** Row numbers of one transaction: about 20 ms. */
export const ROLLUP_CHUNK_ROWS = 20_000;

/** What SQL engines call differently. */
export interface Dialect {
  /** The number that every row has, in order of coming. */
  readonly rowNumber: string;
  readonly greatest: string;
  readonly least: string;
  readonly onConflict: (keys: readonly string[]) => string;
  /** The value that the insert would have stored. */
  readonly inserted: (column: string) => string;
}

export const SQLITE_DIALECT: Dialect = {
  ...{ rowNumber: 'rowid', greatest: 'max', least: 'min' },
  onConflict: (keys) => `ON CONFLICT (${keys.join(', ')}) DO UPDATE SET`,
  inserted: (column) => `excluded.${column}`,
};

export const MYSQL_DIALECT: Dialect = {
  ...{ rowNumber: 'id', greatest: 'greatest', least: 'least' },
  onConflict: () => 'ON DUPLICATE KEY UPDATE',
  inserted: (column) => `VALUES(${column})`,
};

/** The start of the bucket that a row is in. */
export const bucketOf = (column: string, spanS: number): string => `floor(${column} / ${spanS}) * ${spanS}`;

/** Over rows that have `of`, and of a mean its weight. 1e0: sums of integers neither overflow nor divide as integers. */
export function aggregated(measure: Measure, of: string, weight: string): string {
  if (measure.how === 'mean') return `sum(1e0 * (${of}) * (${weight})) / nullif(sum(${weight}), 0)`;
  return measure.how === 'sum' ? `sum(1e0 * (${of}))` : `${measure.how}(1e0 * (${of}))`;
}

/** Adds rows with numbers in (?, ?] to the aggregates. */
export function rollUpSql({ source, keys, measures, where }: Rollup, span: RollupSpan, dialect: Dialect): string {
  const table = rollupTable(source, span);
  const columns = ['timestamp', ...Object.keys(keys), ...measures.map(({ name }) => name)];
  const values = measures.map((one) => aggregated(one, one.of, one.how === 'mean' ? one.weight : '1'));
  // Weights last: MySQL sets one column after the other, and a mean needs the weight as it was.
  const means = measures.filter(({ how }) => how === 'mean');
  const set = [...means, ...measures.filter(({ how }) => how !== 'mean')].map(
    (measure) => `${measure.name} = ${combined(measure, table, dialect)}`,
  );
  return `INSERT INTO ${table} (${columns.join(', ')})
    SELECT ${bucketOf('timestamp', ROLLUP_SPANS[span])} AS bucket, ${Object.values(keys).join(', ')}, ${values.join(', ')}
    FROM ${source} WHERE ${dialect.rowNumber} > ? AND ${dialect.rowNumber} <= ?${where === undefined ? '' : ` AND ${where}`}
    GROUP BY bucket, ${Object.values(keys).join(', ')}
    ${dialect.onConflict(['timestamp', ...Object.keys(keys)])} ${set.join(', ')}`;
}

/** Two values of one bucket as one; NULL is no value. */
function combined(measure: Measure, table: string, { greatest, least, inserted }: Dialect): string {
  const [old, added] = [`${table}.${measure.name}`, inserted(measure.name)];
  if (measure.how === 'sum') return `${old} + ${added}`;
  if (measure.how === 'mean') {
    const [oldWeight, addedWeight] = [`${table}.${measure.by}`, inserted(measure.by)];
    const sum = `coalesce(${old}, 0) * ${oldWeight} + coalesce(${added}, 0) * ${addedWeight}`;
    return `(${sum}) / nullif(${oldWeight} + ${addedWeight}, 0)`;
  }
  const pick = measure.how === 'max' ? greatest : least;
  return `${pick}(coalesce(${old}, ${added}), coalesce(${added}, ${old}))`;
}

/** Types of columns, by engine. */
export interface ColumnTypes {
  readonly number: string;
  readonly figure: string;
  readonly text: (column: string) => string;
  /** What follows the columns and the key. */
  readonly end: string;
}

const TEXT_KEYS = ['event', 'profile_key', 'fate'];

/** Tables of all aggregates, and of how far they go. */
export function rollupTablesSql({ number, figure, text, end }: ColumnTypes): string[] {
  const tables = ROLLUPS.flatMap(({ source, keys, measures }) =>
    ROLLUP_SPAN_NAMES.map((span) => {
      const names = Object.keys(keys);
      const columns = [
        `timestamp ${figure} NOT NULL`,
        ...names.map((name) => `${name} ${TEXT_KEYS.includes(name) ? text(name) : number} NOT NULL`),
        ...measures.map(({ name }) => `${name} ${figure}`),
        `PRIMARY KEY (timestamp, ${names.join(', ')})`,
      ];
      return `CREATE TABLE IF NOT EXISTS ${rollupTable(source, span)} (${columns.join(', ')}) ${end}`;
    }),
  );
  const progress = `source ${text('source')} NOT NULL PRIMARY KEY, last_row ${number} NOT NULL`;
  return [...tables, `CREATE TABLE IF NOT EXISTS rollup_progress (${progress}) ${end}`];
}
