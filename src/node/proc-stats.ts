/**
 * Figures of Linux's /proc, parsed. Elsewhere (no /proc) every reader answers null and the columns stay empty.
 * Surprising: read at once and not by the thread pool, because the kernel has them in memory; four turns through the pool
 * cost several times the read, and were most of what an idle agent used.
 */
import { readFileSync } from 'node:fs';

/** USER_HZ: jiffies per second in /proc on every architecture that Node runs on. */
const JIFFIES_PER_S = 100;

export interface CpuTimes {
  /** Jiffies, all cores together. */
  readonly busy: number;
  readonly total: number;
}

export interface ProcessTimes {
  readonly cpuS: number;
}

function readProc(path: string): string | null {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return null;
  }
}

/** First line of /proc/stat: user nice system idle iowait irq softirq steal ...; guest times are inside user. */
export function parseCpuTimes(stat: string): CpuTimes | null {
  const fields = /^cpu +(.*)$/m.exec(stat)?.[1]?.trim().split(/ +/).map(Number);
  if (fields === undefined || fields.length < 4) return null;
  const counted = fields.slice(0, 8);
  const total = counted.reduce((sum, value) => sum + value, 0);
  const idle = (counted[3] ?? 0) + (counted[4] ?? 0);
  return { busy: total - idle, total };
}

/** utime + stime; the name in brackets may hold spaces and brackets, so fields are counted after the last one. */
export function parseProcessTimes(stat: string): ProcessTimes | null {
  const end = stat.lastIndexOf(')');
  if (end < 0) return null;
  const fields = stat.slice(end + 2).split(' ');
  const jiffies = Number(fields[11]) + Number(fields[12]);
  return Number.isFinite(jiffies) ? { cpuS: jiffies / JIFFIES_PER_S } : null;
}

/** Fields of /proc/meminfo or /proc/PID/status that are given in kB, as MiB. */
export function parseKbField(text: string, name: string): number | null {
  const kb = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1];
  return kb === undefined ? null : Number(kb) / 1024;
}

export function machineCpuTimes(): CpuTimes | null {
  const stat = readProc('/proc/stat');
  return stat === null ? null : parseCpuTimes(stat);
}

export function machineMemory(): { totalMb: number; availableMb: number } | null {
  const text = readProc('/proc/meminfo');
  if (text === null) return null;
  const totalMb = parseKbField(text, 'MemTotal');
  const availableMb = parseKbField(text, 'MemAvailable');
  return totalMb === null || availableMb === null ? null : { totalMb, availableMb };
}

export function processTimes(pid: number): ProcessTimes | null {
  const stat = readProc(`/proc/${pid}/stat`);
  return stat === null ? null : parseProcessTimes(stat);
}

/** Resident memory, MiB. VmRSS and not statm, because its unit does not depend on the page size. */
export function processMemoryMb(pid: number): number | null {
  const status = readProc(`/proc/${pid}/status`);
  return status === null ? null : parseKbField(status, 'VmRSS');
}
