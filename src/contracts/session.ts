/** Sessions: one service running from one source for one objective. */
import Type, { type Static } from '#vendor/typebox.js';
import { DeliverySchema } from './blueprint.js';
import { ObservedSessionSchema } from './node.js';
import { ObjectiveSchema, SessionPlanSchema } from './plan.js';

/**
 * Desired: what the user asked for. admitted (planned, silent) -> running -> stopped.
 * Observed: what the nodes make of it.
 *   admitted   plan stored, nothing sent yet
 *   preparing  handler hosts start and load their models
 *   ready      every handler is ready, sources are silent
 *   running    frames may flow
 *   moving     a changed plan is being applied; what is not changed runs on
 *   suspended  its source node is lost, or no placement is possible now; it is tried again
 *   stopping   sources are silent, what is in flight drains
 *   stopped    nothing of it is left on any node (end of stream, stop, or delete)
 *   failed     a handler could not be created; the reason is attached
 */
export const SessionStateSchema = Type.Enum([
  'admitted',
  'preparing',
  'ready',
  'running',
  'moving',
  'suspended',
  'stopping',
  'stopped',
  'failed',
]);
export type SessionState = Static<typeof SessionStateSchema>;

export const SessionDesiredSchema = Type.Enum(['ready', 'running', 'stopped']);
export type SessionDesired = Static<typeof SessionDesiredSchema>;

/** Body of `POST /v1/sessions`. */
export const SessionRequestSchema = Type.Object(
  {
    service: Type.Union([Type.String({ minLength: 1 }), Type.Integer({ minimum: 0 })], {
      description: 'service_name or service_id',
    }),
    session_id: Type.Optional(Type.Integer({ minimum: 0, description: 'Given by the coordinator when absent' })),
    source: Type.Optional(Type.String({ description: "Overrides the capture handler's source: path, pattern or URL" })),
    source_node: Type.Optional(
      Type.Union([Type.Integer({ minimum: 0 }), Type.String({ minLength: 1 })], {
        description: 'Node (id or name) of the camera; the first node of type client when absent',
      }),
    ),
    objective: Type.Optional(ObjectiveSchema),
    delivery: Type.Optional(DeliverySchema),
    variant: Type.Optional(Type.String({ minLength: 1 })),
    weight: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        maximum: 1000,
        description:
          'What keeping it is worth against others, 1 when absent: the heavier are placed again first, and relieved last',
      }),
    ),
    stay: Type.Optional(
      Type.String({ minLength: 1, description: 'Label that every node of the session must have (privacy)' }),
    ),
    /** Overrides of handler parameters by handler_name: `{"recognize": {"classifier": "people/"}}`. */
    params: Type.Optional(Type.Record(Type.String(), Type.Record(Type.String(), Type.Unknown()))),
    start: Type.Boolean({ default: true, description: 'false: prepare only, start later' }),
    dry_run: Type.Boolean({ default: false, description: 'Plan and answer, start nothing' }),
  },
  { additionalProperties: false },
);
export type SessionRequest = Static<typeof SessionRequestSchema>;

/** Body of `POST /v1/sessions/:id/move`. */
export const MoveRequestSchema = Type.Object(
  {
    handler: Type.Union([Type.Integer({ minimum: 0 }), Type.String({ minLength: 1 })], {
      description: 'handler_id or handler_name',
    }),
    node: Type.Union([Type.Integer({ minimum: 0 }), Type.String({ minLength: 1 })], {
      description: 'node_id or node_name',
    }),
  },
  { additionalProperties: false },
);
export type MoveRequest = Static<typeof MoveRequestSchema>;

/** `definition`: what a service file holds, where the session runs by one that was applied since it was loaded. */
export type StoredRequest = SessionRequest & { readonly definition?: object };

/** What the coordinator stores before it sends anything. */
export interface StoredSession {
  session_id: number;
  request: StoredRequest;
  desired: SessionDesired;
  generation: number;
  plan: Static<typeof SessionPlanSchema>;
  created_at: number;
  /** Why it ended, once it has. */
  ended: { at: number; state: 'stopped' | 'failed'; reason: string } | null;
}

export const SessionViewSchema = Type.Object({
  session_id: Type.Integer(),
  service_name: Type.String(),
  desired: SessionDesiredSchema,
  observed: SessionStateSchema,
  generation: Type.Integer(),
  delivery: DeliverySchema,
  objective: ObjectiveSchema,
  weight: Type.Number(),
  stay: Type.Optional(Type.String()),
  plan: SessionPlanSchema,
  created_at: Type.Number(),
  problem: Type.Optional(Type.String()),
  ended: Type.Boolean({ description: 'The end of the stream has passed every sink' }),
  /** What each node observes of it, newest heartbeat. */
  nodes: Type.Array(
    Type.Object({ node_id: Type.Integer(), node_name: Type.String(), observed: ObservedSessionSchema }),
  ),
});
export type SessionView = Static<typeof SessionViewSchema>;

/** Answer of `POST /v1/sessions`. A refusal answers 409 SESSION_REFUSED with the refusal in `context`. */
export const SessionCreatedSchema = Type.Object({
  session_id: Type.Union([Type.Integer(), Type.Null()]),
  plan: SessionPlanSchema,
});
export type SessionCreated = Static<typeof SessionCreatedSchema>;
