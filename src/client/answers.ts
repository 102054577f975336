/**
 * Answers of the coordinator's API that no other contract holds: the schemas that its routes publish and the types that
 * the clients return are the same things.
 */
import Type, { type Static } from '#vendor/typebox.js';
import { BlueprintLinkSchema } from '../contracts/blueprint.js';
import { FleetSnapshotSchema } from '../contracts/fleet.js';
import { CostSchema, InputPortSchema, OutputPortSchema } from '../contracts/handler-type.js';
import { NodeViewSchema, ObservedHandlerSchema } from '../contracts/node.js';
import { LinkFigureSchema, PlannedHandlerSchema, SessionPlanSchema } from '../contracts/plan.js';
import { SessionStateSchema, SessionViewSchema } from '../contracts/session.js';

const Nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Ms = Nullable(Type.Number());

export const HealthSchema = Type.Object({
  status: Type.String({ description: '`ok` when the process serves requests' }),
});
export type Health = Static<typeof HealthSchema>;

export const CoordinatorHealthSchema = Type.Object({
  status: Type.String({ description: '`ok`, or `follower` where another coordinator leads' }),
  epoch: Type.Integer({ description: 'Fencing number of this coordinator; grows with every start; 0 of a follower' }),
  nodes: Type.Record(Type.String(), Type.Integer(), { description: 'Nodes by state' }),
  sessions: Type.Record(Type.String(), Type.Integer(), { description: 'Sessions by observed state' }),
  leader: Type.Optional(
    Nullable(Type.String({ description: 'Of one that follows: where the one is that leads; null when nobody does' })),
  ),
});
export type CoordinatorHealth = Static<typeof CoordinatorHealthSchema>;

export const HandlerTypeViewSchema = Type.Object({
  handler_type_id: Type.Integer(),
  handler_type_name: Type.String(),
  aliases: Type.Array(Type.String()),
  description: Type.String(),
  inputs: Type.Array(InputPortSchema),
  outputs: Type.Array(OutputPortSchema),
  params: Type.Unknown({ description: 'JSON schema of the parameters; null when the type is declared by file only' }),
  cost: CostSchema,
});
export type HandlerTypeView = Static<typeof HandlerTypeViewSchema>;

export const ServiceViewSchema = Type.Object({
  service_id: Type.Integer(),
  service_name: Type.String(),
  description: Type.String(),
  template: Type.Boolean({ description: 'True: a fixed placement; false: the allocator places it' }),
  warnings: Type.Array(Type.String()),
  variants: Type.Array(
    Type.Object({
      variant_name: Type.String(),
      accuracy: Type.Number(),
      dataset: Nullable(Type.String()),
      handlers: Type.Array(
        Type.Object({
          handler_id: Type.Integer(),
          handler_name: Type.String(),
          handler_type: Type.Integer(),
          handler_type_name: Type.String(),
          at: Type.Unknown({ description: 'Where it must run; null: anywhere' }),
          alternatives: Type.Array(Type.String()),
        }),
      ),
      links: Type.Array(BlueprintLinkSchema),
    }),
  ),
});
export type ServiceView = Static<typeof ServiceViewSchema>;

/** What a handler was planned to take and what its node measures of it now. */
export const ExplainedHandlerSchema = Type.Object({
  ...Type.Pick(PlannedHandlerSchema, ['handler_id', 'handler_name', 'node_id', 'node_name', 'alternative']).properties,
  state: Nullable(Type.String({ description: 'As its node observes it; null when the node does not tell' })),
  ...Type.Pick(ObservedHandlerSchema, ['threads', 'threads_why', 'shared_models']).properties,
  predicted: Type.Object({ compute_ms: Type.Number(), queue_ms: Type.Number(), fps: Type.Number() }),
  measured: Nullable(
    Type.Object({
      service_ms_p50: Ms,
      service_ms_p95: Ms,
      queue_ms_p50: Ms,
      queue_ms_p95: Ms,
      fps: Type.Number(),
      queue: Type.Integer(),
      dropped: Type.Record(Type.String(), Type.Integer()),
    }),
  ),
  rejected: Type.Array(Type.String(), { description: 'Nodes that could not take it and why' }),
});
export type ExplainedHandler = Static<typeof ExplainedHandlerSchema>;

export const ExplainedLinkSchema = Type.Object({
  ...BlueprintLinkSchema.properties,
  source_node: Type.Integer(),
  target_node: Type.Integer(),
  predicted: Type.Object({ latency_ms: Type.Number(), bytes: Type.Number() }),
  /** Latency is between two nodes' clocks, each corrected to the controller's. */
  measured: Nullable(
    Type.Object({
      latency_ms_p50: Ms,
      latency_ms_p95: Ms,
      packets: Type.Integer(),
      bytes_per_packet: Ms,
      connected: Type.Boolean(),
      transport: Type.String(),
    }),
  ),
});
export type ExplainedLink = Static<typeof ExplainedLinkSchema>;

/** Answer of `GET /v1/sessions/:id/explain`. */
export const ExplanationSchema = Type.Object({
  session_id: Type.Integer(),
  observed: SessionStateSchema,
  problem: Type.Optional(Type.String()),
  plan: SessionPlanSchema,
  handlers: Type.Array(ExplainedHandlerSchema),
  links: Type.Array(ExplainedLinkSchema),
  end_to_end: Type.Object({ predicted_ms: Type.Number(), measured_ms_p50: Ms, measured_ms_p95: Ms }),
});
export type Explanation = Static<typeof ExplanationSchema>;

/** The network from one node to another, as the allocator reckons with it. */
export const NodeLinkSchema = Type.Object({
  source_node: Type.Integer(),
  source_name: Type.String(),
  target_node: Type.Integer(),
  target_name: Type.String(),
  rtt: LinkFigureSchema,
  mbit: LinkFigureSchema,
});
export type NodeLink = Static<typeof NodeLinkSchema>;

/** Everything at one moment, for a page or a support request. */
export const ClusterSnapshotSchema = Type.Object({
  timestamp: Type.Number({ description: 's since the epoch' }),
  epoch: Type.Integer(),
  nodes: Type.Array(NodeViewSchema),
  sessions: Type.Array(SessionViewSchema),
  fleet: FleetSnapshotSchema,
});
export type ClusterSnapshot = Static<typeof ClusterSnapshotSchema>;
