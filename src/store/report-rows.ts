/**
 * A report as rows of the telemetry tables: the one place that knows which key goes into which column. Rows are flat
 * (all values of all rows behind one another, in the column order of TELEMETRY_TABLES): that is what a multi-row insert
 * binds, and what passes between threads at a fraction of the cost of objects.
 */
import type { GpuSample, ProcInfo, Report, SysInfo } from '../contracts/report.js';
import { PACKET_EVENTS, type PacketInfo } from '../contracts/report.js';
import { type SqlValue, TELEMETRY_TABLES, type TelemetryTable } from './store.js';

/** Values of packet_info rows as numbers: event as its index in PACKET_EVENTS, a missing size as NaN. */
export type PackedPackets = Float64Array<ArrayBuffer>;

export interface ReportRows {
  readonly flat: Readonly<Record<Exclude<TelemetryTable, 'packet_info'>, readonly SqlValue[]>>;
  readonly packets: PackedPackets;
  /** Rows over all tables. */
  readonly count: number;
}

const PACKET_COLUMNS = TELEMETRY_TABLES.packet_info.length;

export function reportRows(nodeId: number, report: Report): ReportRows {
  const { sys_info = [], proc_info = [], packet_info = [], profile = [], link_info = [], ledger = [] } = report;
  const flat = {
    sys_info: sys_info.flatMap((row) => sysValues(nodeId, row)),
    proc_info: proc_info.flatMap(procValues),
    gpu_info: [
      ...sys_info.flatMap((row) => gpuValues([row.timestamp, nodeId, null, null], row)),
      ...proc_info.flatMap((row) => gpuValues([row.timestamp, nodeId, row.session_id, row.handler_id], row)),
    ],
    profile: profile.flatMap((row) => [
      ...[row.timestamp, nodeId, row.session_id, row.handler_id, row.handler_type, row.profile_key],
      ...[row.packets, row.service_ms, row.service_ms_p95, row.queue_ms, row.cpu_ms, row.out_bytes],
      row.threads ?? null,
    ]),
    link_info: link_info.flatMap((row) => [
      ...[row.timestamp, row.session_id, row.source_handler, row.target_handler, row.source_node, row.target_node],
      ...[row.packets, row.bytes, row.latency_ms, row.rtt_ms ?? null, row.mbit_per_s ?? null],
    ]),
    ledger: ledger.flatMap((row) => [
      ...[row.timestamp, row.session_id, row.handler_id, nodeId, row.incarnation, row.fate, row.at_handler ?? null],
      ...[row.first_sequence, row.last_sequence, row.packets],
    ]),
  };
  const flatRows = (Object.keys(flat) as (keyof typeof flat)[]).map((name) => rowCount(name, flat[name]));
  return { flat, packets: packPackets(packet_info), count: packet_info.length + flatRows.reduce((a, b) => a + b, 0) };
}

/** Rows of a report before it is taken apart: what counts against the collector's bound. GPU rows are not counted. */
export function reportRowsPending(report: Report): number {
  const { sys_info, proc_info, packet_info, profile, link_info, ledger } = report;
  const lists = [sys_info, proc_info, packet_info, profile, link_info, ledger];
  return lists.reduce((sum, list) => sum + (list?.length ?? 0), 0);
}

export function rowCount(table: TelemetryTable, values: { readonly length: number }): number {
  return values.length / TELEMETRY_TABLES[table].length;
}

/** The values of packet_info rows [from, to) as they are bound to a statement. */
export function unpackPackets(packed: PackedPackets, from: number, to: number): SqlValue[] {
  const values: SqlValue[] = new Array((to - from) * PACKET_COLUMNS);
  let at = 0;
  for (let i = from * PACKET_COLUMNS; i < to * PACKET_COLUMNS; i += PACKET_COLUMNS) {
    values[at++] = packed[i]!;
    values[at++] = packed[i + 1]!;
    values[at++] = packed[i + 2]!;
    values[at++] = packed[i + 3]!;
    values[at++] = PACKET_EVENTS[packed[i + 4]!]!;
    values[at++] = Number.isNaN(packed[i + 5]!) ? null : packed[i + 5]!;
  }
  return values;
}

/** Packed packet_info rows one by one. */
export function* packetEvents(packed: PackedPackets): Generator<Required<PacketInfo>> {
  for (let i = 0; i < packed.length; i += PACKET_COLUMNS) {
    yield {
      ...{ timestamp: packed[i]!, session_id: packed[i + 1]!, handler_id: packed[i + 2]!, sequence: packed[i + 3]! },
      event: PACKET_EVENTS[packed[i + 4]!]!,
      size: Number.isNaN(packed[i + 5]!) ? null : packed[i + 5]!,
    };
  }
}

export function packPackets(rows: readonly PacketInfo[]): PackedPackets {
  const packed = new Float64Array(rows.length * PACKET_COLUMNS);
  let at = 0;
  for (const row of rows) {
    packed[at++] = row.timestamp;
    packed[at++] = row.session_id;
    packed[at++] = row.handler_id;
    packed[at++] = row.sequence;
    packed[at++] = PACKET_EVENTS.indexOf(row.event);
    packed[at++] = row.size ?? Number.NaN;
  }
  return packed;
}

function sysValues(nodeId: number, row: SysInfo): SqlValue[] {
  const gpu: Partial<GpuSample> = row.gpu_info?.[0] ?? {};
  return [
    ...[row.timestamp, nodeId, row.cpu_util ?? null, row.mem_total ?? null, row.mem_util ?? null],
    ...[gpu.gpu_util ?? null, gpu.gpu_mem_util ?? null, gpu.gpu_clock ?? null, gpu.gpu_power ?? null],
  ];
}

function procValues(row: ProcInfo): SqlValue[] {
  const gpu: Partial<GpuSample> = row.gpu_info?.[0] ?? {};
  return [
    ...[row.timestamp, row.session_id, row.handler_id, row.cpu_util ?? null, row.mem_util ?? null],
    ...[gpu.gpu_util ?? null, gpu.gpu_mem_util ?? null],
  ];
}

function gpuValues(place: readonly SqlValue[], row: SysInfo | ProcInfo): SqlValue[] {
  return (row.gpu_info ?? []).flatMap((gpu) => [
    ...[...place, gpu.gpu_id, gpu.gpu_util ?? null, gpu.gpu_mem_util ?? null],
    ...[gpu.gpu_clock ?? null, gpu.gpu_power ?? null],
  ]);
}
