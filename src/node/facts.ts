/** What this node tells of its machine. Found once at the start, but for the memory, which is looked at now and then. */
import { availableParallelism, cpus, freemem, hostname, totalmem } from 'node:os';
import type { HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { NodeFacts } from '../contracts/node.js';
import { measureSpeed } from './calibration.js';
import { findGpus } from './gpu.js';
import { machineMemory } from './proc-stats.js';

export interface FactsOptions {
  readonly nodeName: string;
  readonly version: string;
  readonly labels: readonly string[];
  readonly types: HandlerTypeRegistry;
  readonly cpuCores: number | null;
  readonly memMb: number | null;
  /** Emulated, (0, 1]. */
  readonly speed: number;
  readonly measureSpeed?: (() => number) | undefined;
}

export interface FactsSource {
  readonly gpus: number;
  readonly cores: number;
  readonly speed: number;
  read(nodeId: number | null): NodeFacts;
}

const MiB = 1024 * 1024;

/** Between two looks at the memory, ms: it takes a dozen files, and plans are made of what is declared, not of moments. */
const MEMORY_PERIOD_MS = 2_000;

export async function findFacts(options: FactsOptions): Promise<FactsSource> {
  const gpus = await findGpus();
  const measured = (options.measureSpeed ?? measureSpeed)();
  const machine = {
    node_name: options.nodeName,
    version: options.version,
    hostname: hostname(),
    cpu_model: cpus()[0]?.model.trim() || 'unknown',
    cpu_cores: options.cpuCores ?? availableParallelism(),
    speed: Math.round(measured * options.speed * 1000) / 1000,
    gpus,
    labels: [...options.labels],
    handler_types: options.types.all().map((type) => type.handler_type_id),
  };
  let memory = { ...memoryMb(options.memMb), atMs: performance.now() };
  return {
    gpus: gpus.length,
    cores: machine.cpu_cores,
    speed: machine.speed,
    read: (nodeId) => {
      const nowMs = performance.now();
      if (nowMs - memory.atMs >= MEMORY_PERIOD_MS) memory = { ...memoryMb(options.memMb), atMs: nowMs };
      return { node_id: nodeId, ...machine, mem_mb: memory.totalMb, mem_free_mb: memory.freeMb };
    },
  };
}

/** Of the machine, or of the container or the operator's bound where that is less. */
function memoryMb(boundMb: number | null): { totalMb: number; freeMb: number } {
  const machine = machineMemory();
  const containerMb = process.constrainedMemory() / MiB || Number.POSITIVE_INFINITY;
  const totalMb = Math.min(machine?.totalMb ?? totalmem() / MiB, containerMb, boundMb ?? Number.POSITIVE_INFINITY);
  const availableMb = Math.min(machine?.availableMb ?? freemem() / MiB, process.availableMemory() / MiB);
  return { totalMb: Math.floor(totalMb), freeMb: Math.floor(Math.min(availableMb, totalMb)) };
}
