/** Answer of `GET /v1/sessions/:id/trace`: where the milliseconds of packets went, across handlers and machines. */
import Type, { type Static } from '#vendor/typebox.js';

const Nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Ms = Type.Number({ minimum: 0, description: 'ms' });

/** queue: waiting at an input; compute: in the handler; send: from done to written (encoding, window); link: on the way. */
export const TraceStepSchema = Type.Object({
  kind: Type.Enum(['queue', 'compute', 'send', 'link']),
  handler_id: Type.Integer({ description: 'Of a link: the handler that it leads to' }),
  handler_name: Type.String(),
  ms: Ms,
});
export type TraceStep = Static<typeof TraceStepSchema>;

export const TracedPacketSchema = Type.Object({
  sequence: Type.Integer(),
  sink: Type.Integer({ description: 'handler_id of the sink' }),
  started_at: Type.Number({ description: 's since the epoch' }),
  end_to_end_ms: Ms,
  bottleneck: Type.Integer({ description: 'Index of the longest step' }),
  /** From the source to the sink over the input that came last at every join; they sum to end_to_end_ms. */
  steps: Type.Array(TraceStepSchema),
});
export type TracedPacket = Static<typeof TracedPacketSchema>;

export const PercentilesSchema = Type.Object({ p50: Ms, p95: Ms, p99: Ms });
export type Percentiles = Static<typeof PercentilesSchema>;

export const TraceSchema = Type.Object({
  session_id: Type.Integer(),
  since: Nullable(Type.Number({ description: 'Packets that reached a sink at or after this, s since the epoch' })),
  packets: Type.Integer({ description: 'Packets whose whole way is known' }),
  incomplete: Type.Integer({ description: 'In flight, dropped, or with rows that are not there (yet)' }),
  truncated: Type.Boolean({ description: 'Older packets were asked for than may be read at once' }),
  first_sequence: Nullable(Type.Integer()),
  last_sequence: Nullable(Type.Integer()),
  /** Arrivals before their departure, within the error of the clocks: shown as 0. */
  corrected: Type.Object({ packets: Type.Integer(), ms_max: Ms }),
  end_to_end: Nullable(PercentilesSchema),
  handlers: Type.Array(
    Type.Object({
      handler_id: Type.Integer(),
      handler_name: Type.String(),
      node_name: Type.String({ description: 'Where the newest plan has it' }),
      packets: Type.Integer(),
      queue: Nullable(PercentilesSchema),
      compute: Nullable(PercentilesSchema),
    }),
  ),
  links: Type.Array(
    Type.Object({
      source_handler: Type.Integer(),
      target_handler: Type.Integer(),
      source_name: Type.String(),
      target_name: Type.String(),
      packets: Type.Integer({ description: 'Packets for which this link was on the longest way' }),
      send: PercentilesSchema,
      link: PercentilesSchema,
    }),
  ),
  slowest: Type.Array(TracedPacketSchema),
});
export type Trace = Static<typeof TraceSchema>;
