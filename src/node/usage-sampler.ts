/**
 * What the machine and each handler used since the last sample. CPU of a handler is in percent of one core (100 = one
 * core, as top shows it), of the machine in percent of all cores; memory in percent of the machine's.
 * A host's figures are exact when it has one handler; several share them: CPU by the time that each was busy since the
 * last sample, memory by the time that each was busy at all.
 */
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

  async sample(hosts: readonly SampledHost[]): Promise<{ sys_info: SysInfo[]; proc_info: ProcInfo[] }> {
    const { clock, gpu } = this.#options;
    const timestamp = clock.now();
    const [cpu, memory] = await Promise.all([machineCpuTimes(), machineMemory()]);
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
    const rows = await Promise.all(
      hosts.map((host) => this.#sampleHost(host, timestamp, memory?.totalMb ?? null, next)),
    );
    this.#hosts = next;
    return { sys_info: [sys_info], proc_info: rows.flat() };
  }

  async #sampleHost(
    { pid, session_id, busyMs }: SampledHost,
    timestamp: number,
    totalMb: number | null,
    next: Map<number, HostSample>,
  ): Promise<ProcInfo[]> {
    const [times, memMb] = await Promise.all([processTimes(pid), processMemoryMb(pid)]);
    if (times === null) return [];
    const now: HostSample = { atMs: this.#options.clock.monotonicMs(), cpuS: times.cpuS, busyMs };
    next.set(pid, now);
    const before = this.#hosts.get(pid);
    const elapsedS = before === undefined ? 0 : (now.atMs - before.atMs) / 1000;
    const cpu = elapsedS > 0 ? (100 * Math.max(0, now.cpuS - before!.cpuS)) / elapsedS : null;
    const mem = memMb === null || totalMb === null ? null : (100 * memMb) / totalMb;
    const sinceLast = shares(busyMs, before?.busyMs);
    const atAll = shares(busyMs, undefined);
    return [...busyMs.keys()].map((handler_id) => ({
      ...{ timestamp, session_id, handler_id },
      cpu_util: cpu === null ? null : rounded(cpu * sinceLast.get(handler_id)!),
      mem_util: mem === null ? null : rounded(mem * atAll.get(handler_id)!),
    }));
  }
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
