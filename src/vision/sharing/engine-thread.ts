/**
 * A model in a thread of its own: an inference holds the thread that calls it, and a model process has requests to read
 * and pings to answer meanwhile. Pixels are handed over, not copied; their sender must not use them any more.
 */
import { Worker } from 'node:worker_threads';
import { OrchestratorError, type Problem } from '../../contracts/errors.js';
import type { ModelChoice } from '../../contracts/model-process.js';
import { compiledEntry } from '../../std/compiled-entry.js';
import { type Deferred, deferred } from '../../std/deferred.js';
import type { OutputTensor, PixelBatch } from '../engine.js';

export interface EngineThreadOptions extends ModelChoice {
  readonly cacheDir: string;
  readonly threads: number;
}

export type FromThread =
  | { readonly type: 'ready'; readonly provider: 'cpu' | 'cuda'; readonly batches: boolean }
  | { readonly type: 'progress'; readonly message: string }
  | { readonly type: 'outputs'; readonly outputs: Record<string, OutputTensor> }
  /** Of the load, or of one inference. */
  | { readonly type: 'failed'; readonly problem: Problem };

type Outputs = Record<string, OutputTensor>;

export class EngineThread {
  readonly provider: 'cpu' | 'cuda';
  readonly batches: boolean;
  readonly #worker: Worker;
  #run: Deferred<Outputs> | null = null;

  private constructor(worker: Worker, { provider, batches }: Extract<FromThread, { type: 'ready' }>) {
    this.#worker = worker;
    this.provider = provider;
    this.batches = batches;
    worker.on('message', (message: FromThread) => this.#receive(message));
  }

  /** Throws what createEngine throws. A thread that ends by itself ends the process: it holds a model that is gone. */
  static async open(options: EngineThreadOptions, onProgress: (message: string) => void): Promise<EngineThread> {
    const worker = new Worker(compiledEntry(import.meta.url, './engine-thread-entry.js'), { workerData: options });
    const ready = deferred<Extract<FromThread, { type: 'ready' }>>();
    const receive = (message: FromThread): void => {
      if (message.type === 'progress') onProgress(message.message);
      else if (message.type === 'ready') ready.resolve(message);
      else if (message.type === 'failed') ready.reject(errorOf(message.problem));
    };
    worker.on('message', receive);
    worker.once('error', ready.reject);
    try {
      return new EngineThread(worker, await ready.promise);
    } finally {
      worker.off('message', receive);
      worker.off('error', ready.reject);
    }
  }

  /** One at a time. Throws what the inference threw. */
  run(pixels: PixelBatch): Promise<Outputs> {
    this.#run = deferred();
    this.#worker.postMessage(pixels, [pixels.data.buffer as ArrayBuffer]);
    return this.#run.promise;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #receive(message: FromThread): void {
    const run = this.#run;
    if (message.type === 'outputs') run?.resolve(message.outputs);
    else if (message.type === 'failed') run?.reject(errorOf(message.problem));
  }
}

const errorOf = (problem: Problem) => OrchestratorError.fromProblem(problem, 'INTERNAL', 'an inference failed');
