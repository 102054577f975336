/** Things that happened, for people and for the `event` table: every transition of a node, a session or a handler. */
import Type, { type Static } from '#vendor/typebox.js';

export const EventSchema = Type.Object({
  timestamp: Type.Number({ description: 's since the epoch' }),
  kind: Type.String({ description: 'node.up, node.lost, session.running, handler.restarted ...' }),
  node_id: Type.Optional(Type.Integer()),
  session_id: Type.Optional(Type.Integer()),
  handler_id: Type.Optional(Type.Integer()),
  message: Type.String(),
});
export type OrchestratorEvent = Static<typeof EventSchema>;
