/** What this node tells of its machine. Found once at the start, but for the free memory, which is read for each answer. */
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
  read(nodeId: number | null): Promise<NodeFacts>;
}

const MiB = 1024 * 1024;

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
  return {
    gpus: gpus.length,
    cores: machine.cpu_cores,
    speed: machine.speed,
    read: async (nodeId) => {
      const memory = await memoryMb(options.memMb);
      return { node_id: nodeId, ...machine, mem_mb: memory.totalMb, mem_free_mb: memory.freeMb };
    },
  };
}

/** Of the machine, or of the container or the operator's bound where that is less. */
async function memoryMb(boundMb: number | null): Promise<{ totalMb: number; freeMb: number }> {
  const machine = await machineMemory();
  const containerMb = process.constrainedMemory() / MiB || Number.POSITIVE_INFINITY;
  const totalMb = Math.min(machine?.totalMb ?? totalmem() / MiB, containerMb, boundMb ?? Number.POSITIVE_INFINITY);
  const availableMb = Math.min(machine?.availableMb ?? freemem() / MiB, process.availableMemory() / MiB);
  return { totalMb: Math.floor(totalMb), freeMb: Math.floor(Math.min(availableMb, totalMb)) };
}
