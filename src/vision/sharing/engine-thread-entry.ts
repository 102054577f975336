/** The other end of EngineThread: loads the model and runs what it is sent, one after the other. */
import { parentPort, workerData } from 'node:worker_threads';
import { toOrchestratorError } from '../../contracts/errors.js';
import { createEngine, type Engine, type OutputTensor, type PixelBatch } from '../engine.js';
import type { EngineThreadOptions, FromThread } from './engine-thread.js';

const tell = (message: FromThread): void => parentPort!.postMessage(message);
const fail = (thrown: unknown): void => tell({ type: 'failed', problem: toOrchestratorError(thrown).toProblem() });

async function load({ model, part, gpu, threads, cacheDir }: EngineThreadOptions): Promise<void> {
  const onProgress = (message: string): void => tell({ type: 'progress', message });
  const engine = await createEngine(model, { part, gpu, threads, cacheDir, onProgress });
  parentPort!.on('message', (pixels: PixelBatch) => void run(engine, pixels).catch(fail));
  tell({ type: 'ready', provider: engine.provider, batches: engine.batches });
}

async function run(engine: Engine, pixels: PixelBatch): Promise<void> {
  const outputs: Record<string, OutputTensor> = {};
  // Of the runtime's tensors, which cannot pass to another thread, only what a result consists of.
  for (const [name, { data, dims }] of Object.entries(await engine.run(pixels))) outputs[name] = { data, dims };
  tell({ type: 'outputs', outputs });
}

load(workerData as EngineThreadOptions).catch(fail);
