/** A changed definition of a service, rolled through its running sessions. */
import Type, { type Static } from '#vendor/typebox.js';

/** Body of `POST /v1/services/apply`. */
export const ApplyRequestSchema = Type.Object(
  {
    definition: Type.Object({}, { additionalProperties: true, description: 'What a service file holds' }),
    dry_run: Type.Boolean({ default: false, description: 'True: says what would change, and changes nothing' }),
  },
  { additionalProperties: false },
);
export type ApplyRequest = Static<typeof ApplyRequestSchema>;

export const ApplyResultSchema = Type.Object({
  service_name: Type.String(),
  sessions: Type.Array(
    Type.Object({
      session_id: Type.Integer(),
      /**
       * changes    handlers of it are made anew and replace the old ones while frames flow
       * unchanged  what it runs is the same; plans made for it later follow the new definition
       * refused    it runs on as it is, by the old definition
       */
      outcome: Type.Enum(['changes', 'unchanged', 'refused']),
      words: Type.String({ description: 'Which handlers change, or why it is refused' }),
    }),
  ),
});
export type ApplyResult = Static<typeof ApplyResultSchema>;
