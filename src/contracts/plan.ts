/** What the allocator is asked about one session, and what it answers: a plan with reasons, or a refusal with reasons. */
import Type, { type Static } from '#vendor/typebox.js';
import type { Service } from './service.js';

/** What a session wants. fps and latency are promises to keep, accuracy a floor. */
export const ObjectiveSchema = Type.Object(
  {
    fps: Type.Number({
      exclusiveMinimum: 0,
      maximum: 1000,
      default: 10,
      description: 'Frames per second of the source',
    }),
    latency_ms_max: Type.Optional(Type.Number({ exclusiveMinimum: 0, description: 'End to end p95, ms' })),
    accuracy_min: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
  },
  { additionalProperties: false },
);
export type Objective = Static<typeof ObjectiveSchema>;

/** Measured by a running link in passing, or by a probe where none runs. */
export type MeasuredBy = 'link' | 'probe';

/** Where a figure of the network between two nodes comes from; unmeasured: round trips of heartbeats, node files. */
export const FigureSourceSchema = Type.Enum(['link', 'probe', 'heartbeat', 'file']);
export type FigureSource = Static<typeof FigureSourceSchema>;

export const LinkFigureSchema = Type.Object({
  value: Type.Number({ description: 'Round trip in ms, or rate in Mbit/s' }),
  from: FigureSourceSchema,
  age_s: Type.Union([Type.Number(), Type.Null()], {
    description: 'Since the newest measurement, s; null: not measured',
  }),
});
export type LinkFigure = Static<typeof LinkFigureSchema>;

/** Measured need of a handler type with given parameters on a node: takes the place of the declared cost there. */
export interface Profile {
  readonly handler_type: number;
  /** `profileKey(params)`: the parameters that decide the cost. */
  readonly key: string;
  readonly node_id: number;
  readonly samples: number;
  /** Time of one packet in the handler on that node when no thread waits for a core, ms (not scaled by speed). */
  readonly service_ms: number;
  readonly cpu_ms: number;
  readonly out_bytes: number;
}

/** Parameters that decide a handler's cost; paths, sources and thresholds do not. */
const COST_PARAMS = ['model', 'size', 'predictor', 'width', 'height', 'quality', 'dim'] as const;

/** Only those. */
export function costParams(params: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(COST_PARAMS.flatMap((name) => (params[name] === undefined ? [] : [[name, params[name]]])));
}

export function profileKey(params: Record<string, unknown>): string {
  return COST_PARAMS.filter((name) => params[name] !== undefined)
    .map((name) => `${name}=${String(params[name])}`)
    .join(',');
}

/** A model that sessions share on a node: it takes memory once there for all of them. */
export function modelKey(one: { handler_type: number; params: Record<string, unknown>; alternative: string }): string {
  return `${one.handler_type} ${profileKey(one.params)} ${one.alternative}`;
}

export interface Placement {
  readonly handler_id: number;
  readonly node_id: number;
  readonly alternative: string;
}

/** One session to place beside the others. */
export interface PlanRequest {
  readonly service: Service;
  readonly objective: Objective;
  /** Where the camera is; handlers with `at: source` run there. */
  readonly source_node: number;
  /** Force one variant (variant_name, or the joined names of the chosen alternatives, `ssd+faceres`). */
  readonly variant?: string;
  /** What keeping it is worth against others; 1 when absent. */
  readonly weight?: number;
  /** Label that every node of the session must have. */
  readonly stay?: string;
  /** Where the session runs now; staying put wins between otherwise equal plans. */
  readonly previous?: readonly Placement[];
}

const CandidateSchema = Type.Object({
  node_id: Type.Integer(),
  node_name: Type.String(),
  alternative: Type.String(),
  compute_ms: Type.Number(),
  profile: Type.Enum(['measured', 'declared']),
  rejected: Type.Optional(Type.String({ description: 'Why not, with value and bound; absent when it was possible' })),
});
export type Candidate = Static<typeof CandidateSchema>;

export const PlannedHandlerSchema = Type.Object({
  handler_id: Type.Integer(),
  handler_name: Type.String(),
  handler_type: Type.Integer(),
  node_id: Type.Integer(),
  node_name: Type.String(),
  alternative: Type.String(),
  params: Type.Record(Type.String(), Type.Unknown()),
  post: Type.Boolean(),
  share: Type.Optional(Type.Boolean({ description: 'Its models are loaded once on the node' })),
  compute_ms: Type.Number({ description: 'Predicted service time on that node' }),
  queue_ms: Type.Number({ description: 'Predicted wait at the load of the moment' }),
  cpu_ms_per_s: Type.Number(),
  gpu_ms_per_s: Type.Number(),
  mem_mb: Type.Number({ description: 'Of this session alone, MiB' }),
  model_mb: Type.Optional(
    Type.Number({ description: 'Of its shared models: once on the node, whatever the number of sessions, MiB' }),
  ),
  profile: Type.Enum(['measured', 'declared']),
  candidates: Type.Array(CandidateSchema),
});
export type PlannedHandler = Static<typeof PlannedHandlerSchema>;

export const PlannedLinkSchema = Type.Object({
  source_handler: Type.Integer(),
  source_output: Type.Integer(),
  target_handler: Type.Integer(),
  target_input: Type.Integer(),
  source_node: Type.Integer(),
  target_node: Type.Integer(),
  bytes: Type.Number({ description: 'Of one packet' }),
  mbit_per_s: Type.Number(),
  latency_ms: Type.Number({ description: 'Predicted, transfer time included' }),
  delivery: Type.Optional(Type.Enum(['latest', 'all'], { description: "Of this link; the session's when absent" })),
  latency_from: Type.Optional(FigureSourceSchema),
  mbit_from: Type.Optional(FigureSourceSchema),
});
export type PlannedLink = Static<typeof PlannedLinkSchema>;

export const SessionPlanSchema = Type.Object({
  service_name: Type.String(),
  variant: Type.String({ description: 'variant_name, or the joined names of the chosen alternatives' }),
  accuracy: Type.Number(),
  latency_ms: Type.Number({ description: 'Predicted end to end p95 at the load of the moment: the longest path' }),
  promised_ms: Type.Optional(
    Type.Number({
      description:
        'The longest path with mean work when every node and link is as full as may be promised: the bound is for it',
    }),
  ),
  fps: Type.Number(),
  source_node: Type.Integer(),
  handlers: Type.Array(PlannedHandlerSchema),
  links: Type.Array(PlannedLinkSchema),
  reasons: Type.Array(Type.String(), { description: 'Why this one, in plain words' }),
  runner_up: Type.Optional(
    Type.Object({
      variant: Type.String(),
      accuracy: Type.Number(),
      latency_ms: Type.Number(),
      placement: Type.String({ description: 'detect @edge, recognize @cloud' }),
      why_not: Type.String(),
    }),
  ),
});
export type SessionPlan = Static<typeof SessionPlanSchema>;

export const RefusalSchema = Type.Object({
  service_name: Type.String(),
  reasons: Type.Array(Type.String()),
  /** Per handler, what rejected each candidate. */
  candidates: Type.Array(Type.Object({ handler_name: Type.String(), candidates: Type.Array(CandidateSchema) })),
  nearest: Type.Optional(ObjectiveSchema),
});
export type Refusal = Static<typeof RefusalSchema>;

export type PlanResult =
  | { readonly admitted: true; readonly plan: SessionPlan }
  | { readonly admitted: false; readonly refusal: Refusal };
