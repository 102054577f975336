/** Answer of `GET /v1/sessions/:id/loss`: what became of every sequence of a session, per sink. */
import Type, { type Static } from '#vendor/typebox.js';

const Nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Count = (description: string) => Type.Integer({ minimum: 0, description });

export const LossDropSchema = Type.Object({
  reason: Type.Enum(['queue', 'late', 'join', 'error', 'failover']),
  handler_id: Nullable(
    Type.Integer({ description: 'Where it ended; null: the process that knew died before it told (failover)' }),
  ),
  handler_name: Nullable(Type.String()),
  packets: Count('Sequences that ended so'),
});
export type LossDrop = Static<typeof LossDropSchema>;

/** sent = delivered + skipped + the drops + in_flight, always. */
export const SinkLossSchema = Type.Object({
  handler_id: Type.Integer(),
  handler_name: Type.String(),
  first_sequence: Type.Integer({ description: 'Lowest sequence that this account covers' }),
  next_sequence: Type.Integer({ description: 'One past the highest sequence that was emitted' }),
  sent: Count('Emitted by the sources: next_sequence - first_sequence'),
  delivered: Count('Processed by the sink'),
  delivered_by_settlement: Count('Of delivered: known because it was settled, not because the sink still could tell'),
  skipped: Count('A handler on the way gave no output; nothing was lost'),
  drops: Type.Array(LossDropSchema),
  in_flight: Count('Emitted and not decided; of an ended session: not decided when it ended'),
});
export type SinkLoss = Static<typeof SinkLossSchema>;

export const LossSchema = Type.Object({
  session_id: Type.Integer(),
  timestamp: Type.Number({ description: 's since the epoch' }),
  since: Nullable(Type.Number({ description: 'Only sequences decided at or after this, s since the epoch' })),
  ended: Type.Boolean({ description: 'The session has ended: no row is to come but late ones' }),
  sinks: Type.Array(SinkLossSchema),
});
export type Loss = Static<typeof LossSchema>;
