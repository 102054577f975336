/**
 * Many sessions at once: what the fleet planner reads (nodes, sites, services, sessions and where they run) and what it
 * answers (a placement or a reason per session). Capacities are those of the whole machine; what sessions use is in the
 * sessions themselves. The network is a tree of hubs: node - access link - site - WAN link - core; `paths` overrule it.
 */
import Type, { type Static } from '#vendor/typebox.js';
import { ObjectiveSchema } from './plan.js';

/** Sessions of one snapshot: ten times the largest instance that is measured. */
export const FLEET_SESSIONS_MAX = 100_000;

export const FLEET_NODES_MAX = 10_000;

const Positive = (description: string) => Type.Number({ exclusiveMinimum: 0, description });
const NotNegative = (description: string) => Type.Number({ minimum: 0, description });
const closed = { additionalProperties: false } as const;

const SegmentSchema = Type.Object(
  {
    latency_ms: NotNegative('One way, ms'),
    up_mbit: Positive('Towards the core, Mbit/s'),
    down_mbit: Positive('Away from the core, Mbit/s'),
  },
  closed,
);
export type Segment = Static<typeof SegmentSchema>;

export const FleetNodeSchema = Type.Object(
  {
    node_id: Type.Integer({ minimum: 0 }),
    node_name: Type.String({ minLength: 1 }),
    up: Type.Boolean({ default: true }),
    drained: Type.Boolean({ default: false, description: 'Takes no new handlers, and those that can leave it do' }),
    labels: Type.Array(Type.String(), { default: [] }),
    site: Type.Union([Type.String(), Type.Null()], { default: null, description: 'Null: hangs on the core itself' }),
    speed: Positive('Of one core; service time = declared time / speed'),
    cpu_cores: Positive('Cores'),
    mem_mb: NotNegative('Memory that sessions may use, MiB'),
    gpus: Type.Integer({ minimum: 0, default: 0 }),
    handler_types: Type.Union([Type.Array(Type.Integer()), Type.Null()], {
      default: null,
      description: 'handler_type_ids that it can run; null = all',
    }),
    access: SegmentSchema,
  },
  closed,
);
export type FleetNode = Static<typeof FleetNodeSchema>;

export const FleetSiteSchema = Type.Object({ site: Type.String({ minLength: 1 }), wan: SegmentSchema }, closed);
export type FleetSite = Static<typeof FleetSiteSchema>;

/** The network between two nodes where it is known better than the tree of hubs tells; takes the tree's place there. */
export const FleetPathSchema = Type.Object(
  {
    source_node: Type.Integer(),
    target_node: Type.Integer(),
    latency_ms: NotNegative('One way, ms'),
    mbit: NotNegative('Mbit/s; 0 = there is no way'),
  },
  closed,
);
export type FleetPath = Static<typeof FleetPathSchema>;

const FleetCostSchema = Type.Object({
  cpu_ms: NotNegative('CPU time per packet on a node of speed 1, ms'),
  gpu_ms: Type.Number({ minimum: 0, default: 0 }),
  mem_mb: Type.Number({ minimum: 0, default: 0, description: 'Of each session, MiB' }),
  model_mb: Type.Optional(
    Type.Number({ minimum: 0, description: 'Once per node, whatever the number of sessions with this model, MiB' }),
  ),
  out_bytes: NotNegative('Bytes of one output packet on a link'),
});

const FleetAlternativeSchema = Type.Object({
  name: Type.String(),
  params: Type.Record(Type.String(), Type.Unknown(), { default: {} }),
  accuracy: Type.Number({ exclusiveMinimum: 0, maximum: 1, default: 1 }),
  cost: FleetCostSchema,
});
export type FleetAlternative = Static<typeof FleetAlternativeSchema>;

const FleetHandlerSchema = Type.Object({
  handler_id: Type.Integer({ minimum: 0 }),
  handler_name: Type.String(),
  handler_type: Type.Integer({ minimum: 0 }),
  at: Type.Union(
    [
      Type.Object({ kind: Type.Literal('source') }),
      Type.Object({ kind: Type.Literal('node'), node_id: Type.Integer() }),
      Type.Object({ kind: Type.Literal('label'), label: Type.String() }),
      Type.Null(),
    ],
    { default: null },
  ),
  require: Type.Object(
    {
      gpu: Type.Optional(Type.Boolean()),
      label: Type.Optional(Type.String()),
      mem_mb: Type.Optional(Type.Number({ minimum: 0 })),
    },
    { default: {} },
  ),
  alternatives: Type.Array(FleetAlternativeSchema, { minItems: 1 }),
});
export type FleetHandler = Static<typeof FleetHandlerSchema>;

const FleetVariantSchema = Type.Object({
  variant_name: Type.String(),
  accuracy: Type.Number({ exclusiveMinimum: 0, maximum: 1, default: 1 }),
  handlers: Type.Array(FleetHandlerSchema, { minItems: 1 }),
  links: Type.Array(Type.Object({ source_handler: Type.Integer(), target_handler: Type.Integer() })),
});
export type FleetVariant = Static<typeof FleetVariantSchema>;

/** The part of a service that placement depends on; a `Service` in its normal form is one. */
export const FleetServiceSchema = Type.Object({
  service_name: Type.String(),
  variants: Type.Array(FleetVariantSchema, { minItems: 1 }),
});
export type FleetService = Static<typeof FleetServiceSchema>;

const FleetProfileSchema = Type.Object(
  {
    handler_type: Type.Integer(),
    key: Type.String(),
    node_id: Type.Integer(),
    samples: Type.Number({ minimum: 0 }),
    service_ms: NotNegative('ms'),
    cpu_ms: NotNegative('ms'),
    out_bytes: NotNegative('bytes'),
  },
  closed,
);

const FleetPlacementSchema = Type.Object(
  { handler_id: Type.Integer(), node_id: Type.Integer(), alternative: Type.String() },
  closed,
);

export const FleetSessionSchema = Type.Object(
  {
    session_id: Type.Integer({ minimum: 0 }),
    service: Type.String({ description: 'service_name' }),
    objective: ObjectiveSchema,
    source_node: Type.Integer(),
    weight: Type.Number({ exclusiveMinimum: 0, maximum: 1000, default: 1, description: 'What admitting it is worth' }),
    variant: Type.Optional(Type.String({ description: 'variant_name that it must run' })),
    stay: Type.Optional(Type.String({ description: 'Label that every node of the session must have (privacy)' })),
    previous: Type.Optional(Type.Array(FleetPlacementSchema, { description: 'Where it runs now' })),
    previous_variant: Type.Optional(
      Type.String({ description: 'variant_name that it runs now; by its alternatives when absent' }),
    ),
  },
  closed,
);
export type FleetSession = Static<typeof FleetSessionSchema>;

export const FleetSnapshotSchema = Type.Object(
  {
    nodes: Type.Array(FleetNodeSchema, { maxItems: FLEET_NODES_MAX }),
    sites: Type.Array(FleetSiteSchema, { default: [] }),
    paths: Type.Optional(Type.Array(FleetPathSchema)),
    services: Type.Array(FleetServiceSchema),
    profiles: Type.Array(FleetProfileSchema, { default: [] }),
    sessions: Type.Array(FleetSessionSchema, { maxItems: FLEET_SESSIONS_MAX }),
  },
  closed,
);
export type FleetSnapshot = Static<typeof FleetSnapshotSchema>;

export const FleetPlannedSchema = Type.Object({
  session_id: Type.Integer(),
  variant: Type.String({ description: 'variant_name' }),
  accuracy: Type.Number(),
  latency_ms: Type.Number({ description: 'Promised: longest path with every queue at the utilisation cap' }),
  placement: Type.Array(FleetPlacementSchema),
});
export type FleetPlanned = Static<typeof FleetPlannedSchema>;

export const FleetRefusedSchema = Type.Object({
  session_id: Type.Integer(),
  reason: Type.String({ description: 'What binds' }),
  nearest: Type.Optional(ObjectiveSchema),
  proposals: Type.Optional(
    Type.Array(Type.String(), { description: 'Each alone would do, the least change first: `latency 96.0 ms`' }),
  ),
});
export type FleetRefused = Static<typeof FleetRefusedSchema>;

const FleetRunnerUpSchema = Type.Object({
  variant: Type.String(),
  accuracy: Type.Number(),
  latency_ms: Type.Number(),
  placement: Type.String({ description: 'detect small @edge, recognize large @cloud' }),
  why_not: Type.String(),
});
export type FleetRunnerUp = Static<typeof FleetRunnerUpSchema>;

/** Where a session's predicted latency goes, what came second, and why it lost (`plan --explain`). */
export const FleetExplainedSchema = Type.Object({
  session_id: Type.Integer(),
  handlers: Type.Array(
    Type.Object({
      handler_id: Type.Integer(),
      handler_name: Type.String(),
      node_id: Type.Integer(),
      node_name: Type.String(),
      alternative: Type.String(),
      compute_ms: Type.Number(),
      queue_ms: Type.Number({ description: 'Wait at the utilisation cap' }),
      runner_up: Type.Optional(
        Type.Object({
          node_id: Type.Integer(),
          node_name: Type.String(),
          alternative: Type.String(),
          why_not: Type.String({ description: 'With the rest as planned' }),
        }),
      ),
    }),
  ),
  links: Type.Array(
    Type.Object({
      source_handler: Type.Integer(),
      target_handler: Type.Integer(),
      source_node: Type.Integer(),
      target_node: Type.Integer(),
      mbit_per_s: Type.Number({ description: '0 on one node' }),
      latency_ms: Type.Number(),
    }),
  ),
  runner_up: Type.Optional(FleetRunnerUpSchema),
});
export type FleetExplained = Static<typeof FleetExplainedSchema>;

/** What no plan of the snapshot can pass, where it was computed (`plan --bound`). */
export const FleetBoundSchema = Type.Object({
  utility: Type.Number({ description: 'No plan has more' }),
  gap: Type.Number({ minimum: 0, description: "(bound - this plan's utility) / bound: at most so much is lost, 0..1" }),
  finished: Type.Boolean({ description: 'False: rounds or time ran out; it holds, and a longer run may lower it' }),
  rounds: Type.Integer({ minimum: 0, description: 'Of column generation' }),
});
export type FleetBound = Static<typeof FleetBoundSchema>;

export const FleetPlanSchema = Type.Object({
  algorithm: Type.String(),
  sessions: Type.Array(FleetPlannedSchema),
  refused: Type.Array(FleetRefusedSchema),
  moved: Type.Integer({ description: 'Handlers that leave where they ran' }),
  utility: Type.Number({ description: 'Sum of weight x (10 + accuracy) of the admitted' }),
  bound: Type.Optional(FleetBoundSchema),
  explained: Type.Optional(Type.Array(FleetExplainedSchema)),
});
export type FleetPlan = Static<typeof FleetPlanSchema>;
