/**
 * Probes: what the path from one node to another takes and carries, measured by the first one because the coordinator
 * asks, where no running link shows it.
 */
import Type, { type Static } from '#vendor/typebox.js';
import { PROBE_BYTES_MAX } from './limits.js';

const Mbit = Type.Union([Type.Number({ minimum: 0 }), Type.Null()], {
  description: 'Rate of the second half of the largest body, Mbit/s; null when it was too quick or too slow to tell',
});

/** Body of `POST /v1/probes`. */
export const ProbeRequestSchema = Type.Object(
  {
    url: Type.String({ minLength: 1, maxLength: 512, description: 'Where the other node listens: http://host:port' }),
    target_node: Type.Integer({ minimum: 0, description: 'Its node_id, for link_info' }),
    bytes_max: Type.Integer({
      minimum: 0,
      maximum: PROBE_BYTES_MAX,
      description: 'Largest body to send it, bytes; 0 measures the round trip alone',
    }),
  },
  { additionalProperties: false },
);
export type ProbeRequest = Static<typeof ProbeRequestSchema>;

export const ProbeResultSchema = Type.Object({
  rtt_ms: Type.Number({ minimum: 0, description: 'Shortest of a few requests on one warm connection' }),
  mbit_per_s: Mbit,
  bytes: Type.Integer({ minimum: 0, description: 'Sent in all' }),
});
export type ProbeResult = Static<typeof ProbeResultSchema>;

/** Answer of `POST /v1/probes/sink`, which reads a body of any content and forgets it. */
export const ProbeSinkAnswerSchema = Type.Object({ bytes: Type.Integer({ minimum: 0 }), mbit_per_s: Mbit });
export type ProbeSinkAnswer = Static<typeof ProbeSinkAnswerSchema>;
