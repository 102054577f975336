/**
 * Reports: what nodes tell the collector (`POST /`). The three lists of the reference, plus what is ours (`node_id`,
 * `report_id`, `profile`, `link_info`, `ledger`), all optional, so that a reference reporter is understood.
 */
import Type, { type Static } from '#vendor/typebox.js';
import type { DropReason } from './packet.js';

/** What the reference's INT columns hold; FLOAT and DOUBLE columns are bounded alike, so that no sum of rows overflows. */
const INT_MAX = 2 ** 31 - 1;
/** Figures that are ours, ms or bytes: 30 years of milliseconds, a terabyte. */
const FIGURE_MAX = 1e12;

const Util = Type.Optional(Type.Union([Type.Number({ minimum: 0, maximum: INT_MAX }), Type.Null()]));
const Id = Type.Integer({ minimum: 0, maximum: INT_MAX });
/** Counts that a long session may drive beyond INT_MAX. */
const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Figure = (description?: string) =>
  Type.Number({ minimum: 0, maximum: FIGURE_MAX, ...(description && { description }) });
/** Databases end a text at a NUL. */
const NO_NUL = '^[^\\u0000]*$';
const Timestamp = Type.Number({ minimum: 0, maximum: 1e11, description: 's since the epoch' });

export const GpuSampleSchema = Type.Object(
  {
    gpu_id: Id,
    gpu_util: Util,
    gpu_mem_util: Util,
    gpu_clock: Util,
    gpu_power: Util,
  },
  { additionalProperties: false },
);
export type GpuSample = Static<typeof GpuSampleSchema>;

export const SysInfoSchema = Type.Object(
  {
    timestamp: Timestamp,
    cpu_util: Util,
    mem_total: Util,
    mem_util: Util,
    gpu_info: Type.Optional(Type.Union([Type.Array(GpuSampleSchema, { maxItems: 64 }), Type.Null()])),
  },
  { additionalProperties: false },
);
export type SysInfo = Static<typeof SysInfoSchema>;

export const ProcInfoSchema = Type.Object(
  {
    timestamp: Timestamp,
    session_id: Id,
    handler_id: Id,
    cpu_util: Util,
    mem_util: Util,
    gpu_info: Type.Optional(Type.Union([Type.Array(GpuSampleSchema, { maxItems: 64 }), Type.Null()])),
  },
  { additionalProperties: false },
);
export type ProcInfo = Static<typeof ProcInfoSchema>;

export const PACKET_EVENTS = ['start', 'end', 'sent', 'recv'] as const;
export type PacketEventName = (typeof PACKET_EVENTS)[number];

export const PacketInfoSchema = Type.Object(
  {
    timestamp: Timestamp,
    session_id: Id,
    handler_id: Id,
    sequence: Count,
    event: Type.Enum([...PACKET_EVENTS]),
    size: Type.Optional(Type.Union([Count, Type.Null()], { description: 'Bytes on the wire (sent, recv)' })),
  },
  { additionalProperties: false },
);
export type PacketInfo = Static<typeof PacketInfoSchema>;

/** What one handler needed over one report period: the figures that allocation reads back. */
export const ProfileSampleSchema = Type.Object(
  {
    timestamp: Timestamp,
    session_id: Id,
    handler_id: Id,
    handler_type: Id,
    /** contracts/plan.ts profileKey(params) */
    profile_key: Type.String({ maxLength: 256, pattern: NO_NUL }),
    packets: Type.Integer({ minimum: 1, maximum: INT_MAX }),
    service_ms: Figure('Mean time per packet, without waits for a core'),
    service_ms_p95: Figure(),
    queue_ms: Figure('Mean wait per packet'),
    cpu_ms: Figure('Mean CPU time per packet'),
    out_bytes: Figure('Mean bytes per emitted packet'),
    threads: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: INT_MAX }), Type.Null()], {
        description: 'Of each inference of its models; null without a model',
      }),
    ),
  },
  { additionalProperties: false },
);
export type ProfileSample = Static<typeof ProfileSampleSchema>;

const LinkEnd = Type.Union([Id, Type.Null()], { description: 'Null: a probe between nodes, without a link' });

/** One link over one report period, measured at the receiving end; or one probe, measured at the sending one. */
export const LinkInfoSchema = Type.Object(
  {
    timestamp: Timestamp,
    session_id: LinkEnd,
    source_handler: LinkEnd,
    target_handler: LinkEnd,
    source_node: Id,
    target_node: Id,
    packets: Count,
    bytes: Count,
    latency_ms: Type.Union([Type.Number({ minimum: -FIGURE_MAX, maximum: FIGURE_MAX }), Type.Null()], {
      description: 'Median, sent to received',
    }),
    rtt_ms: Type.Optional(Type.Union([Figure('Shortest round trip'), Type.Null()])),
    mbit_per_s: Type.Optional(Type.Union([Figure('Rate at which bytes came in'), Type.Null()])),
  },
  { additionalProperties: false },
);
export type LinkInfo = Static<typeof LinkInfoSchema>;

/** What became of a sequence, as a sink accounts for it. */
export const SINK_FATES = [
  'delivered',
  'skipped',
  'queue',
  'late',
  'join',
  'error',
  'failover',
] as const satisfies readonly ('delivered' | 'skipped' | DropReason)[];
export type SinkFate = (typeof SINK_FATES)[number];

/**
 * `emitted`: a source's row. `settled`: a sink that begins says that an earlier one had settled everything up to here;
 * it tells what became of sequences whose own row was lost with a machine.
 */
export const LEDGER_FATES = ['emitted', 'settled', ...SINK_FATES] as const;
export type LedgerFate = (typeof LEDGER_FATES)[number];

/**
 * What became of the sequences `first_sequence`..`last_sequence`: `packets` of them ended so. The rows of one stretch
 * (same handler, incarnation, first and last) sum to its length, and the stretches of an incarnation never overlap, so
 * `select fate, at_handler, sum(packets) ... group by 1, 2` is the account of a session none of whose sinks moved.
 */
export const LedgerRowSchema = Type.Object(
  {
    timestamp: { ...Timestamp, description: 'When it was decided (to one flush), s since the epoch' },
    session_id: Id,
    handler_id: { ...Id, description: 'Source or sink that keeps this account' },
    incarnation: { ...Count, description: 'Which life of that handler: when it began, ms since the epoch' },
    fate: Type.Enum([...LEDGER_FATES]),
    at_handler: Type.Optional(Type.Union([Id, Type.Null()], { description: 'Drops: where the packet ended' })),
    first_sequence: Count,
    last_sequence: Count,
    packets: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
  },
  { additionalProperties: false },
);
export type LedgerRow = Static<typeof LedgerRowSchema>;

/** Rows of one report; larger ones are split by the reporter. */
export const REPORT_ROWS_MAX = 100_000;

const rows = <T extends Type.TSchema>(schema: T) => Type.Optional(Type.Array(schema, { maxItems: REPORT_ROWS_MAX }));

export const ReportSchema = Type.Object(
  {
    /** Which node reports; when absent the peer address decides (the reference's way). */
    node_id: Type.Optional(Id),
    /** Unique per node; a report that is sent again is stored once. */
    report_id: Type.Optional(Type.String({ minLength: 1, maxLength: 64, pattern: NO_NUL })),
    sys_info: rows(SysInfoSchema),
    proc_info: rows(ProcInfoSchema),
    packet_info: rows(PacketInfoSchema),
    profile: rows(ProfileSampleSchema),
    link_info: rows(LinkInfoSchema),
    ledger: rows(LedgerRowSchema),
  },
  { additionalProperties: false },
);
export type Report = Static<typeof ReportSchema>;

/** The reference's answer on `POST /` of node and collector. */
export type ReferenceAnswer = { result: 'Succeeded' } | { result: 'Failed'; reason: string; code?: string };
