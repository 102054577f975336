/**
 * Series for charts as one statement that every engine of SQL runs as it runs people's: apart from ingest, bounded in time,
 * rows and bytes. A step of a minute or more reads the aggregates and, beyond where these go, the rows themselves; both
 * together count every row once. Nothing of a query reaches the statement but numbers and names of rollups.ts.
 */
import { OrchestratorError } from '../contracts/errors.js';
import {
  SERIES_FILTERS,
  SERIES_POINTS_DEFAULT,
  SERIES_POINTS_MAX,
  type Series,
  type SeriesQuery,
} from '../contracts/series.js';
import { groupBy } from '../std/group-by.js';
import {
  aggregated,
  bucketOf,
  type Dialect,
  type Measure,
  ROLLUP_SPANS,
  ROLLUPS,
  type Rollup,
  type RollupSpan,
  rollupOf,
  rollupTable,
} from './rollups.js';
import type { SqlResult, SqlValue } from './store.js';

export interface SeriesStatement {
  readonly sql: string;
  /** What the statement answered, as lines. */
  read(result: SqlResult): Series;
}

/** Throws REQUEST_INVALID, with what would be valid. */
export function seriesStatement(query: SeriesQuery, dialect: Dialect, now: number): SeriesStatement {
  const { rollup, measure } = measureOf(query);
  const { from, to = now } = query;
  const stepS = stepOf(query, from, to);
  const span: RollupSpan | 'row' =
    stepS >= ROLLUP_SPANS.hour ? 'hour' : stepS >= ROLLUP_SPANS.minute ? 'minute' : 'row';
  const keys = Object.keys(rollup.keys);
  const bounds = `timestamp >= ${bucketStart(from, stepS)} AND timestamp < ${to}`;
  const where = [bounds, ...filters(query, rollup)].join(' AND ');
  const rows = rowsSql({ rollup, measure, span, where, dialect });
  const value = aggregated(measure, 'figure', 'weight');
  const sql = `SELECT ${bucketOf('timestamp', stepS)} AS bucket, ${keys.join(', ')}, ${value} AS figure FROM (${rows}) AS found
    GROUP BY bucket, ${keys.join(', ')} ORDER BY bucket DESC`;
  const read = ({ rows: found, truncated }: SqlResult): Series => ({
    ...{ table: query.table, column: query.column, step_s: stepS, from_rows_of: span },
    ...{ lines: linesOf(found, keys), truncated },
  });
  return { sql, read };
}

function measureOf({ table, column }: SeriesQuery): { rollup: Rollup; measure: Measure } {
  const rollup = rollupOf(table);
  if (rollup === undefined)
    throw invalid(
      `table ${table}`,
      ROLLUPS.map(({ source }) => source),
    );
  const measure = rollup.measures.find(({ name }) => name === column);
  if (measure === undefined)
    throw invalid(
      `column ${column} of ${table}`,
      rollup.measures.map(({ name }) => name),
    );
  return { rollup, measure };
}

function invalid(what: string, known: readonly string[]): OrchestratorError {
  return new OrchestratorError('REQUEST_INVALID', `there are no series of ${what}; there are: ${known.join(', ')}`);
}

function stepOf({ step }: SeriesQuery, from: number, to: number): number {
  if (to <= from) throw new OrchestratorError('REQUEST_INVALID', `to ${to} is not after from ${from}`);
  const wanted = step ?? Math.ceil((to - from) / SERIES_POINTS_DEFAULT);
  const unit = wanted > ROLLUP_SPANS.hour ? ROLLUP_SPANS.hour : wanted > ROLLUP_SPANS.minute ? ROLLUP_SPANS.minute : 1;
  const stepS = step ?? Math.ceil(wanted / unit) * unit;
  const multiple =
    stepS >= ROLLUP_SPANS.hour ? ROLLUP_SPANS.hour : stepS >= ROLLUP_SPANS.minute ? ROLLUP_SPANS.minute : 1;
  if (stepS % multiple !== 0)
    throw new OrchestratorError('REQUEST_INVALID', `step ${stepS} s is no multiple of ${multiple} s`);
  const points = Math.ceil((to - from) / stepS);
  if (points > SERIES_POINTS_MAX) {
    const least = Math.ceil((to - from) / SERIES_POINTS_MAX);
    const message = `from ${from} to ${to} in steps of ${stepS} s are ${points} points, the bound is ${SERIES_POINTS_MAX}: take a step of ${least} s or more`;
    throw new OrchestratorError('REQUEST_INVALID', message, { points, points_max: SERIES_POINTS_MAX });
  }
  return stepS;
}

/** So that the first bucket is whole. */
const bucketStart = (from: number, stepS: number): number => Math.floor(from / stepS) * stepS;

function filters(query: SeriesQuery, { source, keys }: Rollup): string[] {
  return SERIES_FILTERS.flatMap((name) => {
    if (query[name] === undefined) return [];
    if (keys[name] === undefined) throw invalid(`${source} by ${name}`, Object.keys(keys));
    return [`${name} = ${query[name]}`];
  });
}

interface RowsOptions {
  readonly rollup: Rollup;
  readonly measure: Measure;
  readonly span: RollupSpan | 'row';
  readonly where: string;
  readonly dialect: Dialect;
}

/** timestamp, keys, figure and weight: of rows, or of aggregates and the rows that are not in them yet. */
function rowsSql({ rollup, measure, span, where, dialect }: RowsOptions): string {
  const { source, keys } = rollup;
  const weight = measure.how === 'mean' ? measure.weight : '1';
  const columns = Object.entries(keys).map(([name, of]) => `${of} AS ${name}`);
  const all = [where, ...(rollup.where === undefined ? [] : [rollup.where])].join(' AND ');
  const rows = `SELECT timestamp, ${columns.join(', ')}, ${measure.of} AS figure, ${weight} AS weight FROM ${source} WHERE ${all}`;
  if (span === 'row') return rows;
  const by = measure.how === 'mean' ? measure.by : '1';
  const last = `coalesce((SELECT last_row FROM rollup_progress WHERE source = '${source}'), 0)`;
  return `SELECT timestamp, ${Object.keys(keys).join(', ')}, ${measure.name} AS figure, ${by} AS weight
    FROM ${rollupTable(source, span)} WHERE ${where}
    UNION ALL ${rows} AND ${dialect.rowNumber} > ${last}`;
}

/** By key; buckets come newest first and leave oldest first. */
function linesOf(rows: readonly (readonly SqlValue[])[], keys: readonly string[]): Series['lines'] {
  const measured = rows.filter((row) => row.at(-1) !== null).reverse();
  const lines = [...groupBy(measured, (row) => JSON.stringify(row.slice(1, -1)))].sort(([a], [b]) =>
    a.localeCompare(b, 'en', { numeric: true }),
  );
  return lines.map(([, points]) => ({
    key: Object.fromEntries(keys.map((name, index) => [name, points[0]![index + 1] as number | string])),
    points: points.map((row) => [Number(row[0]), Number(row.at(-1))]),
  }));
}
