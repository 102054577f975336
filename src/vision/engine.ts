/**
 * Runs a converted model with ONNX Runtime, which is imported when the first engine is made. A run holds the thread that
 * calls it until it is done, whatever its number of threads. Idle worker threads sleep instead of spinning, because other
 * handlers share the cores. With `shared` the model is not loaded here: a model process of the node runs it.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { OrchestratorError } from '../contracts/errors.js';
import { loadModel, type ModelCacheOptions } from './model-cache.js';
import { openSharedEngine, type SharedModels } from './sharing/shared-engine.js';

/** `false`: CPU. `'auto'`: CUDA when this build and machine have it. `true`: CUDA or an error. */
export type GpuChoice = boolean | 'auto';

export interface EngineOptions extends ModelCacheOptions {
  /** Threads of one run, 1 when not given. */
  readonly threads?: number;
  readonly gpu?: GpuChoice;
  /** Models are run by processes that several handlers share. */
  readonly shared?: SharedModels | null;
  /** Told the duration of each run, ms: what of a call is the model's, for benches. */
  readonly onRun?: (ms: number) => void;
  /** ONNX Runtime as it is installed, when not given. */
  readonly loadRuntime?: () => Promise<Runtime>;
}

/** What is called of ONNX Runtime. */
export interface Runtime {
  readonly InferenceSession: { create(model: Uint8Array, options: SessionOptions): Promise<InferenceSession> };
  readonly Tensor: typeof Tensor;
  /** Its CUDA libraries are there; whether they work shows when a model is loaded. */
  hasCuda(): boolean;
}

type SessionOptions = InferenceSession.SessionOptions;

/** RGB bytes as frames hold them: batch x height x width x 3. */
export interface PixelBatch {
  readonly data: Uint8Array;
  readonly batch: number;
  readonly height: number;
  readonly width: number;
}

export interface OutputTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

export interface Engine {
  readonly provider: 'cpu' | 'cuda';
  /** One run may take several pictures. */
  readonly batches: boolean;
  run(pixels: PixelBatch): Promise<Record<string, OutputTensor>>;
  /** Frees the model; a run in flight ends first. */
  dispose(): Promise<void>;
}

/**
 * @param model a name of the catalogue
 * @throws GPU_UNAVAILABLE (gpu: true without CUDA), MODEL_NOT_FOUND, MODEL_INVALID; with `shared` also MODEL_EXITED
 */
export async function createEngine(model: string, options: EngineOptions = {}): Promise<Engine> {
  const { gpu = false, part, shared, onRun, loadRuntime = installedRuntime } = options;
  if (shared) return openSharedEngine({ model, part, gpu }, shared, onRun);
  const runtime = await loadRuntime();
  const hasCuda = gpu !== false && runtime.hasCuda();
  if (gpu === true && !hasCuda) throw gpuUnavailable(model);
  const bytes = await loadModel(model, options);
  const threads = options.threads ?? 1;
  const create = (providers: string[]) => runtime.InferenceSession.create(bytes, sessionOptions(threads, providers));
  if (hasCuda) {
    try {
      return new OrtEngine(await create(['cuda', 'cpu']), 'cuda', runtime.Tensor, onRun);
    } catch (error) {
      if (gpu === true) throw gpuUnavailable(model, error);
    }
  }
  try {
    return new OrtEngine(await create(['cpu']), 'cpu', runtime.Tensor, onRun);
  } catch (error) {
    throw new OrchestratorError(
      'MODEL_INVALID',
      `model ${model} cannot be loaded: ${String(error)}`,
      { model },
      { cause: error },
    );
  }
}

export async function installedRuntime(): Promise<Runtime> {
  const { InferenceSession, Tensor } = await import('onnxruntime-node');
  return { InferenceSession, Tensor, hasCuda: cudaInstalled };
}

/** The package lists CUDA on every Linux, but its libraries are a separate download that may not be there. */
function cudaInstalled(): boolean {
  const entry = createRequire(import.meta.url).resolve('onnxruntime-node');
  const libraries = join(dirname(entry), '..', 'bin', 'napi-v6', process.platform, process.arch);
  const name = process.platform === 'win32' ? 'onnxruntime_providers_cuda.dll' : 'libonnxruntime_providers_cuda.so';
  return existsSync(join(libraries, name));
}

function sessionOptions(threads: number, executionProviders: string[]): SessionOptions {
  return {
    executionProviders,
    // A plan of all activations in one block takes another 40 MiB and saves no time that could be measured.
    enableMemPattern: false,
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
    extra: { 'session.intra_op.allow_spinning': '0' },
  };
}

function gpuUnavailable(model: string, cause?: unknown): OrchestratorError {
  const reason = cause === undefined ? 'this installation has no CUDA provider' : String(cause);
  const message = `model ${model} was asked to run with gpu: true, but ${reason}; use "auto" or false`;
  return new OrchestratorError('GPU_UNAVAILABLE', message, { model }, { cause });
}

/** Whether the first dimension is open at the input and at every output: some nets are written for one picture. */
function takesBatches({ inputMetadata, outputMetadata }: InferenceSession): boolean {
  return [...inputMetadata, ...outputMetadata].every((one) => one.isTensor && typeof one.shape[0] === 'string');
}

class OrtEngine implements Engine {
  readonly provider: 'cpu' | 'cuda';
  readonly batches: boolean;
  private readonly session: InferenceSession;
  private readonly TensorClass: typeof Tensor;
  private readonly running = new Set<Promise<unknown>>();
  private disposed = false;

  private readonly onRun: EngineOptions['onRun'];

  constructor(
    session: InferenceSession,
    provider: 'cpu' | 'cuda',
    TensorClass: typeof Tensor,
    onRun: EngineOptions['onRun'],
  ) {
    this.onRun = onRun;
    this.session = session;
    this.batches = takesBatches(session);
    this.provider = provider;
    this.TensorClass = TensorClass;
  }

  async run({ data, batch, height, width }: PixelBatch): Promise<Record<string, OutputTensor>> {
    if (this.disposed) throw new OrchestratorError('INTERNAL', 'the engine was disposed of before this run');
    const pixels = new this.TensorClass('uint8', data, [batch, height, width, 3]);
    const startMs = performance.now();
    const run = this.session.run({ pixels });
    this.running.add(run);
    try {
      return (await run) as unknown as Record<string, OutputTensor>;
    } finally {
      this.running.delete(run);
      this.onRun?.(performance.now() - startMs);
    }
  }

  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.disposed = true;
    await Promise.allSettled(this.running);
    await this.session.release();
  }
}
