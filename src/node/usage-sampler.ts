/**
 * What the machine and each handler used since the last sample. CPU of a handler is in percent of one core (100 = one
 * core, as top shows it), of the machine in percent of all cores; memory in percent of the machine's.
 * A host's figures are exact when it has one handler; several share them: CPU by the time that each was busy since the
 * last sample, memory by the time that each was busy at all. What a shared model's process needs is shared out alike:
 * CPU by what it did for each handler, memory in equal parts, so that the sum over handlers is what the node has.
 */
import type { ModelUser } from '../contracts/model-process.js';
import type { ProcInfo, SysInfo } from '../contracts/report.js';
import type { Clock } from '../std/clock.js';
import type { GpuSampler } from './gpu.js';
import { type CpuTimes, machineCpuTimes, machineMemory, processMemoryMb, processTimes } from './proc-stats.js';

/** What is sampled of one host. */
export interface SampledHost {
  readonly session_id: number;
  readonly pid: number;
  /** handler_id -> milliseconds in process() since the host started. */
  readonly busyMs: ReadonlyMap<number, number>;
}

/** What is sampled of a model process. */
export interface SampledModel {
  readonly pid: number;
  readonly holders: readonly Pick<ModelUser, 'session_id' | 'handler_id'>[];
  readonly users: readonly ModelUser[];
}

export interface UsageSamplerOptions {
  readonly gpu: Pick<GpuSampler, 'sample'> | null;
  readonly clock: Clock;
}

interface HostSample {
  readonly atMs: number;
  readonly cpuS: number;
  readonly busyMs: ReadonlyMap<number, number>;
}

const rounded = (value: number) => Math.round(value * 100) / 100;

export class UsageSampler {
  readonly #options: UsageSamplerOptions;
  #cpu: CpuTimes | null = null;
  #hosts = new Map<number, HostSample>();

  constructor(options: UsageSamplerOptions) {
    this.#options = options;
  }

  sample(
    hosts: readonly SampledHost[],
    models: readonly SampledModel[] = [],
  ): { sys_info: SysInfo[]; proc_info: ProcInfo[] } {
    const { clock, gpu } = this.#options;
    const timestamp = clock.now();
    const cpu = machineCpuTimes();
    const memory = machineMemory();
    const before = this.#cpu;
    this.#cpu = cpu;
    const elapsed = cpu === null || before === null ? 0 : cpu.total - before.total;
    const sys_info: SysInfo = {
      timestamp,
      cpu_util: elapsed > 0 ? rounded((100 * (cpu!.busy - before!.busy)) / elapsed) : null,
      mem_total: memory === null ? null : Math.round(memory.totalMb),
      mem_util: memory === null ? null : rounded(100 * (1 - memory.availableMb / memory.totalMb)),
      gpu_info: gpu?.sample() ?? null,
    };
    const next = new Map<number, HostSample>();
    const rows = hosts.flatMap((host) => this.#sampleHost(host, timestamp, memory?.totalMb ?? null, next));
    const parts = models.flatMap((one) => this.#sampleModel(one, memory?.totalMb ?? null, next));
    this.#hosts = next;
    return { sys_info: [sys_info], proc_info: rows.map((row) => withParts(row, parts)) };
  }

  /** What of a model process belongs to each handler that holds the model. */
  #sampleModel(
    { pid, holders, users }: SampledModel,
    totalMb: number | null,
    next: Map<number, HostSample>,
  ): ModelPart[] {
    const key = ({ session_id, handler_id }: Omit<ModelPart, 'cpu' | 'mem'>) => `${session_id}.${handler_id}`;
    // By numbers, because two sessions may have handlers of one number.
    const numberOf = new Map(holders.map((one, index) => [key(one), index]));
    const busyMs = new Map(holders.map((_, index) => [index, 0]));
    for (const user of users) {
      const number = numberOf.get(key(user));
      if (number !== undefined) busyMs.set(number, busyMs.get(number)! + user.cpu_ms);
    }
    const used = this.#used({ pid, busyMs }, totalMb, next);
    if (used === null) return [];
    return holders.map(({ session_id, handler_id }, index) => ({
      ...{ session_id, handler_id },
      cpu: used.cpu === null ? null : used.cpu * used.sinceLast.get(index)!,
      mem: used.mem === null ? null : used.mem / holders.length,
    }));
  }

  #sampleHost(
    { pid, session_id, busyMs }: SampledHost,
    timestamp: number,
    totalMb: number | null,
    next: Map<number, HostSample>,
  ): ProcInfo[] {
    const used = this.#used({ pid, busyMs }, totalMb, next);
    if (used === null) return [];
    const atAll = shares(busyMs, undefined);
    return [...busyMs.keys()].map((handler_id) => ({
      ...{ timestamp, session_id, handler_id },
      cpu_util: used.cpu === null ? null : rounded(used.cpu * used.sinceLast.get(handler_id)!),
      mem_util: used.mem === null ? null : rounded(used.mem * atAll.get(handler_id)!),
    }));
  }

  /** CPU of a process since the last sample, % of a core, and its memory, % of the machine's; null when it is gone. */
  #used({ pid, busyMs }: Pick<SampledHost, 'pid' | 'busyMs'>, totalMb: number | null, next: Map<number, HostSample>) {
    const times = processTimes(pid);
    const memMb = processMemoryMb(pid);
    if (times === null) return null;
    const now: HostSample = { atMs: this.#options.clock.monotonicMs(), cpuS: times.cpuS, busyMs };
    next.set(pid, now);
    const before = this.#hosts.get(pid);
    const elapsedS = before === undefined ? 0 : (now.atMs - before.atMs) / 1000;
    const cpu = elapsedS > 0 ? (100 * Math.max(0, now.cpuS - before!.cpuS)) / elapsedS : null;
    const mem = memMb === null || totalMb === null ? null : (100 * memMb) / totalMb;
    return { cpu, mem, sinceLast: shares(busyMs, before?.busyMs) };
  }
}

interface ModelPart {
  readonly session_id: number;
  readonly handler_id: number;
  readonly cpu: number | null;
  readonly mem: number | null;
}

function withParts(row: ProcInfo, parts: readonly ModelPart[]): ProcInfo {
  const own = parts.filter((part) => part.session_id === row.session_id && part.handler_id === row.handler_id);
  if (own.length === 0) return row;
  const plus = (value: ProcInfo['cpu_util'], shared: readonly (number | null)[]) =>
    value == null ? value : rounded(shared.reduce<number>((sum, one) => sum + (one ?? 0), value));
  const cpu_util = plus(
    row.cpu_util,
    own.map((part) => part.cpu),
  );
  const mem_util = plus(
    row.mem_util,
    own.map((part) => part.mem),
  );
  return { ...row, cpu_util, mem_util };
}

/** The part of each handler in what all were busy since `before`; equal parts when nobody was. */
export function shares(
  busyMs: ReadonlyMap<number, number>,
  before: ReadonlyMap<number, number> | undefined,
): Map<number, number> {
  const spent = new Map([...busyMs].map(([id, ms]) => [id, Math.max(0, ms - (before?.get(id) ?? 0))]));
  const sum = [...spent.values()].reduce((total, ms) => total + ms, 0);
  return new Map([...spent].map(([id, ms]) => [id, sum > 0 ? ms / sum : 1 / spent.size]));
}
