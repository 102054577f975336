/** Nodes: the file that names one, the facts that it tells of itself, and how the coordinator sees it. */
import Type, { type Static } from '#vendor/typebox.js';
import { NodeDrainSchema } from './drain.js';

const Nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** Nodes that one file may give another address: a few networks, not a directory service. */
const NODE_ROUTES_MAX = 1000;

/** A file in node_path (the reference's keys; `labels` and `token` are ours). */
export const NodeFileSchema = Type.Object(
  {
    node_id: Type.Integer({ minimum: 0 }),
    node_name: Type.String({ minLength: 1 }),
    node_type: Type.Enum(['server', 'client', 'edge', 'cloud']),
    node_addr: Type.String({ minLength: 1 }),
    node_port: Type.Integer({ minimum: 1, maximum: 65535 }),
    labels: Type.Array(Type.String(), { default: [] }),
    dialable: Type.Optional(
      Type.Boolean({
        description: 'False: other nodes cannot open connections to it (NAT), so it opens those of its links itself',
      }),
    ),
    tls: Type.Optional(Type.Boolean({ description: 'True: its agent serves https' })),
    control: Type.Optional(
      Type.Enum(['reference'], {
        description:
          "It speaks the reference's control protocol only: for services with a fixed placement, links to its like only",
      }),
    ),
    /** Link from this node to the others until it is measured. */
    rtt_ms: Type.Number({ minimum: 0, default: 0.5, description: 'Round trip to other nodes until measured, ms' }),
    bandwidth_mbit: Type.Number({
      exclusiveMinimum: 0,
      default: 1000,
      description: 'Of the link of this node, Mbit/s',
    }),
    routes: Type.Optional(
      Type.Array(
        Type.Object(
          { node_id: Type.Integer({ minimum: 0 }), url: Type.String({ pattern: '^https?://[^/\\s]+$' }) },
          { additionalProperties: false },
        ),
        {
          maxItems: NODE_ROUTES_MAX,
          description:
            'Where this node reaches others when that is not their own address: another network, a tunnel, a forwarded port',
        },
      ),
    ),
  },
  { additionalProperties: false },
);
export type NodeFile = Static<typeof NodeFileSchema>;

export const GpuFactsSchema = Type.Object({ gpu_id: Type.Integer(), name: Type.String(), mem_mb: Type.Number() });

/** What a node agent found on its machine. */
export const NodeFactsSchema = Type.Object({
  node_id: Nullable(Type.Integer({ description: 'From [node] node_id; null when its configuration does not say' })),
  node_name: Type.String(),
  version: Type.String(),
  hostname: Type.String(),
  cpu_model: Type.String(),
  cpu_cores: Type.Integer({ minimum: 1, description: 'Cores this agent may use' }),
  mem_mb: Type.Number({ description: 'Total memory, MiB' }),
  mem_free_mb: Type.Number({ description: 'Memory available for new handlers, MiB' }),
  speed: Type.Number({ description: 'Speed of one core; 1 = the machine the declared costs were measured on' }),
  gpus: Type.Array(GpuFactsSchema),
  labels: Type.Array(Type.String()),
  handler_types: Type.Array(Type.Integer(), { description: 'handler_type_ids that this node can run' }),
});
export type NodeFacts = Static<typeof NodeFactsSchema>;

/**
 * Life of a handler on a node:
 * preparing (host starting, model loading) -> ready -> running -> draining -> stopped;
 * failed (could not be created, or its host keeps exiting).
 */
export const HandlerStateSchema = Type.Enum(['preparing', 'ready', 'running', 'draining', 'stopped', 'failed']);
export type HandlerState = Static<typeof HandlerStateSchema>;

/** Figures of one handler since its host started; milliseconds are over the last STATS_WINDOW packets. */
export const HandlerStatsSchema = Type.Object({
  received: Type.Integer({ description: 'Data packets (or joined sets) taken from its inputs' }),
  processed: Type.Integer(),
  emitted: Type.Integer(),
  dropped: Type.Record(Type.String(), Type.Integer(), { description: 'Drops here, by reason' }),
  fps: Type.Number({ description: 'Processed per second over the last seconds' }),
  queue: Type.Integer({ description: 'Packets waiting at its inputs' }),
  service_ms_total: Type.Number({ description: 'Time in service of all that it has processed, ms' }),
  service_ms_p50: Nullable(Type.Number()),
  service_ms_p95: Nullable(Type.Number()),
  queue_ms_p50: Nullable(Type.Number({ description: 'Wait between arrival and start' })),
  queue_ms_p95: Nullable(Type.Number()),
  /** Sinks only: from the source's timestamp to the end of this handler. */
  end_to_end_ms_p50: Nullable(Type.Number()),
  end_to_end_ms_p95: Nullable(Type.Number()),
  late: Type.Optional(Type.Integer({ description: 'Sinks only: that came through later than the session allows' })),
  last_sequence: Nullable(Type.Integer()),
  /** Sinks only: sequences that ended here as drops, by `reason handler_id`, for example `{"queue 4": 12}`. */
  drops_seen: Type.Record(Type.String(), Type.Integer()),
  ended: Type.Boolean({ description: 'The end of the stream has passed' }),
});
export type HandlerStats = Static<typeof HandlerStatsSchema>;

/** One input link of a handler, measured at the receiving end. */
export const LinkStatsSchema = Type.Object({
  source_handler: Type.Integer(),
  source_output: Type.Integer(),
  target_handler: Type.Integer(),
  target_input: Type.Integer(),
  source_node: Type.Integer({ description: 'Where it comes from' }),
  transport: Type.Enum(['tcp', 'unix', 'in_host']),
  connected: Type.Boolean(),
  packets: Type.Integer(),
  bytes: Type.Integer(),
  reconnects: Type.Integer(),
  duplicates: Type.Integer({ description: 'Packets resent after a reconnect that had already arrived' }),
  /** Sender's send time to receiver's receive time, both in the controller's time as each node knows it. */
  latency_ms_p50: Nullable(Type.Number()),
  latency_ms_p95: Nullable(Type.Number()),
  rtt_ms: Nullable(Type.Number({ description: 'Shortest of the last round trips; none by reference' })),
  mbit_per_s: Nullable(Type.Number({ description: 'Median rate at which the last large packets came in' })),
});
export type LinkStats = Static<typeof LinkStatsSchema>;

/** A model that one process of the node serves to all handlers that share it. */
export const SharedModelSchema = Type.Object({
  model: Type.String(),
  pid: Nullable(Type.Integer()),
  threads: Type.Integer({ description: 'Of each of its inferences' }),
  threads_why: Type.String({ description: 'Why so many' }),
  handlers: Type.Integer({ description: 'Handlers of this node that hold it' }),
  restarts: Type.Integer(),
});

export const ObservedHandlerSchema = Type.Object({
  handler_id: Type.Integer(),
  handler_name: Type.String(),
  handler_type: Type.Integer(),
  state: HandlerStateSchema,
  pid: Nullable(Type.Integer()),
  restarts: Type.Integer(),
  error: Type.Optional(Type.String()),
  last_exit: Type.Optional(Type.String({ description: 'Why its host was started again last' })),
  note: Type.Optional(Type.String({ description: 'What the handler says of itself, for example what it waits for' })),
  threads: Type.Optional(Type.Integer({ description: 'Of each inference of the models that its host has loaded' })),
  threads_why: Type.Optional(Type.String({ description: 'Why so many' })),
  shared_models: Type.Optional(Type.Array(SharedModelSchema, { description: 'Models that it shares with others' })),
  stats: Type.Optional(HandlerStatsSchema),
  links: Type.Array(LinkStatsSchema),
});
export type ObservedHandler = Static<typeof ObservedHandlerSchema>;

/** A session as a node observes it: the worst state of its handlers. */
export const ObservedSessionSchema = Type.Object({
  session_id: Type.Integer(),
  epoch: Type.Integer(),
  generation: Type.Integer(),
  desired: Type.Enum(['ready', 'running', 'stopped']),
  state: HandlerStateSchema,
  handlers: Type.Array(ObservedHandlerSchema),
});
export type ObservedSession = Static<typeof ObservedSessionSchema>;

/** Query of `GET /v1/node`: what the coordinator tells with its question. All three or none: a person may ask too. */
export const HeartbeatQuerySchema = Type.Object(
  {
    epoch: Type.Optional(Type.Integer({ minimum: 0, description: 'Fencing number of the coordinator that asks' })),
    clock_offset_ms: Type.Optional(Type.Number({ description: "Node's clock minus coordinator's, as estimated" })),
    clock_error_ms: Type.Optional(Type.Number({ minimum: 0, description: 'By how much the offset may be wrong' })),
  },
  { additionalProperties: false },
);
export type HeartbeatQuery = Static<typeof HeartbeatQuerySchema>;

/** Answer of `GET /v1/node`: the heartbeat. */
export const HeartbeatSchema = Type.Object({
  facts: NodeFactsSchema,
  timestamp: Type.Number({ description: "The machine's wall clock as it is, s; every other time is the controller's" }),
  clock_correction_ms: Type.Number({ description: "What the node subtracts from it to get the controller's time, ms" }),
  cpu_util: Type.Optional(
    Nullable(Type.Number({ description: "Percent of the machine's cores that are busy; null where nothing tells" })),
  ),
  epoch: Type.Integer({ description: 'Highest coordinator epoch that the node has seen' }),
  sessions: Type.Array(ObservedSessionSchema),
});
export type Heartbeat = Static<typeof HeartbeatSchema>;

/** unknown (never answered) -> up <-> lost; a drained node is up but takes no new handlers. */
export const NodeStateSchema = Type.Enum(['unknown', 'up', 'lost']);
export type NodeState = Static<typeof NodeStateSchema>;

/** A node as the coordinator shows it. */
export const NodeViewSchema = Type.Object({
  ...NodeFileSchema.properties,
  state: NodeStateSchema,
  last_seen: Nullable(Type.Number()),
  facts: Nullable(NodeFactsSchema),
  cpu_util: Nullable(Type.Number({ description: "Percent of the machine's cores that are busy" })),
  slowness: Type.Number({
    description: 'Times that packets take longer than usual there because it is overloaded; else 1',
  }),
  rtt_measured_ms: Nullable(Type.Number()),
  clock_offset_ms: Nullable(Type.Number({ description: "Node's clock minus coordinator's, ms" })),
  clock_error_ms: Nullable(Type.Number({ description: 'By how much that may be wrong, ms' })),
  clock_correction_ms: Nullable(Type.Number({ description: 'What the node corrects its clock by, ms' })),
  sessions: Type.Array(Type.Integer()),
  drain: Nullable(NodeDrainSchema),
  problem: Type.Optional(Type.String()),
});
export type NodeView = Static<typeof NodeViewSchema>;
