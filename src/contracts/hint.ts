/** What a node tells its coordinator without waiting to be asked for a heartbeat: reasons to ask for one now. */
import Type, { type Static } from '#vendor/typebox.js';

/** Longest wait for a hint, ms: a question that is held longer may be cut by whatever lies between. */
export const HINT_WAIT_MS_MAX = 30_000;

/** Query of `GET /v1/node/hints`. */
export const HintsQuerySchema = Type.Object(
  {
    after: Type.Optional(
      Type.Integer({ minimum: 0, description: 'Sequence of the last answer; absent: what comes from now on' }),
    ),
    wait_ms: Type.Integer({ minimum: 0, maximum: HINT_WAIT_MS_MAX, description: 'How long to wait for news' }),
  },
  { additionalProperties: false },
);
export type HintsQuery = Static<typeof HintsQuerySchema>;

/** Its answer. The same sequence as `after` says that there was no news. */
export const NodeHintsSchema = Type.Object({
  sequence: Type.Integer({ minimum: 0, description: 'Grows with every piece of news since the agent started' }),
  suspects: Type.Array(Type.Integer({ minimum: 0 }), {
    description: 'Nodes to which a link was cut, or that do not answer on one, since then',
  }),
});
export type NodeHints = Static<typeof NodeHintsSchema>;
