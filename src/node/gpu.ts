/**
 * GPUs through nvidia-smi: one query for the facts, and one long-running process for the samples (the reference starts a
 * new one for each). A machine without it has no GPUs, which is not an error.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import type { GpuSample } from '../contracts/report.js';
import { Backoff } from '../std/backoff.js';
import type { Logger } from '../std/logger.js';

export interface GpuFacts {
  readonly gpu_id: number;
  readonly name: string;
  readonly mem_mb: number;
}

const FORMAT = '--format=csv,noheader,nounits';
const FACTS_TIMEOUT_MS = 5_000;
/** nvidia-smi that cannot run is asked again, at most this seldom. */
const RESTART_BASE_MS = 1_000;
const RESTART_MAX_MS = 60_000;

/** `[N/A]` and `[Not Supported]` are no figures. */
function figure(text: string | undefined): number | null {
  const value = Number.parseFloat(text ?? '');
  return Number.isFinite(value) ? value : null;
}

/** One line `index, name, memory.total`; the name may hold commas. */
export function parseGpuFacts(line: string): GpuFacts | null {
  const parts = line.split(',').map((part) => part.trim());
  const gpu_id = figure(parts[0]);
  if (gpu_id === null || parts.length < 3) return null;
  return { gpu_id, name: parts.slice(1, -1).join(', '), mem_mb: figure(parts.at(-1)) ?? 0 };
}

/** One line `index, utilization.gpu, memory.used, memory.total, clocks.sm, power.draw`. */
export function parseGpuSample(line: string): GpuSample | null {
  const [index, util, used, total, clock, power] = line.split(',').map(figure);
  if (index === null || index === undefined || util === undefined) return null;
  const rounded = (value: number | null | undefined) =>
    value === null || value === undefined ? null : Math.round(value);
  const memUtil = used != null && total != null && total > 0 ? (100 * used) / total : null;
  return {
    gpu_id: index,
    gpu_util: rounded(util),
    gpu_mem_util: rounded(memUtil),
    gpu_clock: rounded(clock),
    gpu_power: rounded(power),
  };
}

export async function findGpus(command = 'nvidia-smi'): Promise<GpuFacts[]> {
  try {
    const query = '--query-gpu=index,name,memory.total';
    const { stdout } = await promisify(execFile)(command, [query, FORMAT], { timeout: FACTS_TIMEOUT_MS });
    return stdout
      .split('\n')
      .map(parseGpuFacts)
      .filter((gpu) => gpu !== null);
  } catch {
    return [];
  }
}

export interface GpuSamplerOptions {
  readonly periodS: number;
  readonly command?: string;
  readonly logger: Logger;
}

/** Newest sample of each GPU while the process runs; nothing while it does not. */
export class GpuSampler {
  readonly #newest = new Map<number, GpuSample>();
  readonly #backoff = new Backoff({ baseMs: RESTART_BASE_MS, maxMs: RESTART_MAX_MS });
  readonly #options: GpuSamplerOptions;
  #process: ChildProcess | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(options: GpuSamplerOptions) {
    this.#options = options;
    this.#start();
  }

  /** One per GPU, or null when none answers. */
  sample(): GpuSample[] | null {
    return this.#newest.size === 0 ? null : [...this.#newest.values()];
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#process?.kill('SIGKILL');
  }

  #start(): void {
    const { command = 'nvidia-smi', periodS } = this.#options;
    const query = '--query-gpu=index,utilization.gpu,memory.used,memory.total,clocks.sm,power.draw';
    const child = spawn(command, [query, FORMAT, '-l', String(Math.max(1, Math.round(periodS)))], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.#process = child;
    createInterface({ input: child.stdout }).on('line', (line) => {
      const sample = parseGpuSample(line);
      if (sample === null) return;
      this.#newest.set(sample.gpu_id, sample);
      this.#backoff.reset();
    });
    child.once('error', (error) => this.#ended(error.message));
    child.once('close', (code, signal) => this.#ended(`ended with ${signal ?? code}`));
  }

  #ended(reason: string): void {
    if (this.#closed || this.#process === null) return;
    this.#process = null;
    this.#newest.clear();
    const delayMs = this.#backoff.nextMs();
    this.#options.logger.warn({ reason, delay_ms: Math.round(delayMs) }, 'nvidia-smi ended, it is started again');
    this.#timer = setTimeout(() => this.#start(), delayMs);
    this.#timer.unref();
  }
}
