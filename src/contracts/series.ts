/**
 * Series for charts: one column of a table of telemetry over time, a line per node, handler or link (`GET /v1/series`).
 * Points are of buckets of `step_s`, at the bucket's start; buckets without rows have no point.
 */
import Type, { type Static } from '#vendor/typebox.js';

/** Points of one line: more than a screen is wide. */
export const SERIES_POINTS_MAX = 2000;

/** Points of a line when no step is asked for. */
export const SERIES_POINTS_DEFAULT = 300;

const Time = (description: string) => Type.Number({ minimum: 0, maximum: 1e11, description });
const Id = Type.Optional(Type.Integer({ minimum: 0, description: 'Only rows with this value' }));

/** Only lines with these values; a table that lacks the column refuses it. */
export const SERIES_FILTERS = ['node_id', 'session_id', 'handler_id', 'gpu_id'] as const;

export const SeriesQuerySchema = Type.Object(
  {
    table: Type.String({ maxLength: 64, description: 'sys_info, proc_info, packet_info, gpu_info, profile ...' }),
    column: Type.String({ maxLength: 64, description: 'What is drawn: cpu_util, packets, service_ms ...' }),
    from: Time('First moment, s since the epoch'),
    to: Type.Optional(Time('One past the last moment; default: now')),
    step: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 86_400 * 366,
        description:
          'Length of a bucket, s; from a minute on a multiple of 60, from an hour on of 3600. Default: about 300 points',
      }),
    ),
    ...{ node_id: Id, session_id: Id, handler_id: Id, gpu_id: Id },
  },
  { additionalProperties: false },
);
export type SeriesQuery = Static<typeof SeriesQuerySchema>;

export const SeriesSchema = Type.Object({
  table: Type.String(),
  column: Type.String(),
  step_s: Type.Integer(),
  /** Which rows were read; `row` goes back as far as rows are kept. */
  from_rows_of: Type.Enum(['row', 'minute', 'hour']),
  lines: Type.Array(
    Type.Object({
      key: Type.Record(Type.String(), Type.Union([Type.Number(), Type.String()])),
      points: Type.Array(Type.Tuple([Type.Number(), Type.Number()]), { description: 'Time and value, by time' }),
    }),
  ),
  truncated: Type.Boolean({ description: 'True: there were more points than one answer has; the oldest are missing' }),
});
export type Series = Static<typeof SeriesSchema>;
