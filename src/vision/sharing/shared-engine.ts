/**
 * An engine whose model is loaded in a model process of the node. Calls go over one Unix socket, which is opened again
 * when the process was started anew. What was in a process that died is run again by the next one when every packet
 * counts (`resend`), and fails otherwise; either way a call ends, because everything that it may wait for is bounded.
 */
import { connect, type Socket } from 'node:net';
import { OrchestratorError } from '../../contracts/errors.js';
import type { ModelChoice } from '../../contracts/model-process.js';
import { Backoff } from '../../std/backoff.js';
import { type Deferred, deferred } from '../../std/deferred.js';
import type { Engine, OutputTensor, PixelBatch } from '../engine.js';
import { decodeOutputs, encodeHeader, type FrameHeader, FrameReader, RUN_BYTES_MAX } from './protocol.js';

/** What a handler gives, so that its models are shared. */
export interface SharedModels {
  readonly session_id: number;
  readonly handler_id: number;
  /** The packet at work is run again when the process dies with it. */
  readonly resend: boolean;
  /** Has the node load the model (or finds it loaded): where its process listens. */
  open(choice: ModelChoice): Promise<SharedModel>;
  /** Time that is left for the packet at work, ms; Infinity: as long as it takes. */
  leftMs(): number;
  /** CPU time that an inference took in the process, ms. */
  spent(cpuMs: number): void;
}

export interface SharedModel {
  readonly socketPath: string;
  /** It is not needed any more. */
  release(): void;
}

/** Pauses between attempts to connect, ms. */
const CONNECT_BASE_MS = 10;
const CONNECT_MAX_MS = 500;
/** Calls wait so long for a process that is gone, ms: the node gives up on it earlier and ends this host. */
const AWAY_MS_MAX = 60_000;
/** Processes that may die with a call before it is not tried again: one that kills them must not do so for ever. */
const TRIES_MAX = 5;

interface Call {
  readonly pixels: PixelBatch;
  readonly result: Deferred<Record<string, OutputTensor>>;
  readonly leftMs: number;
  readonly startMs: number;
  readonly timer: NodeJS.Timeout | undefined;
  /** Processes that it was sent to. */
  tries: number;
}

/** Throws what loading the model throws. */
export async function openSharedEngine(
  choice: ModelChoice,
  shared: SharedModels,
  onRun?: (ms: number) => void,
): Promise<Engine> {
  const model = await shared.open(choice);
  const engine = new SharedEngine(choice.model, model, shared, onRun);
  try {
    await engine.opened;
    return engine;
  } catch (error) {
    await engine.dispose();
    throw error;
  }
}

class SharedEngine implements Engine {
  readonly #name: string;
  readonly #model: SharedModel;
  readonly #shared: SharedModels;
  readonly #onRun: ((ms: number) => void) | undefined;
  readonly #calls = new Map<number, Call>();
  readonly #backoff = new Backoff({ baseMs: CONNECT_BASE_MS, maxMs: CONNECT_MAX_MS });
  readonly #opened = deferred<void>();
  #socket: Socket | null = null;
  #welcomed = false;
  #retry: NodeJS.Timeout | undefined;
  #away: NodeJS.Timeout | undefined;
  #nextId = 1;
  #disposed = false;
  #provider: 'cpu' | 'cuda' = 'cpu';
  #batches = false;

  constructor(name: string, model: SharedModel, shared: SharedModels, onRun?: (ms: number) => void) {
    this.#name = name;
    this.#model = model;
    this.#shared = shared;
    this.#onRun = onRun;
    this.#leave();
    this.#connect();
  }

  /** Resolves when the process has answered for the first time. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }
  get provider(): 'cpu' | 'cuda' {
    return this.#provider;
  }
  get batches(): boolean {
    return this.#batches;
  }

  async run(pixels: PixelBatch): Promise<Record<string, OutputTensor>> {
    if (this.#disposed) throw new OrchestratorError('INTERNAL', 'the engine was disposed of before this run');
    if (pixels.data.byteLength > RUN_BYTES_MAX) {
      const message = `${pixels.data.byteLength} bytes of pixels for model ${this.#name}, at most ${RUN_BYTES_MAX} are taken`;
      throw new OrchestratorError('HANDLER_FAILED', message);
    }
    const leftMs = this.#shared.leftMs();
    if (leftMs <= 0) throw this.#late();
    const id = this.#nextId;
    this.#nextId = (this.#nextId % 0xffff_ffff) + 1;
    const call: Call = {
      ...{ pixels, leftMs, startMs: performance.now(), result: deferred(), tries: 0 },
      timer: Number.isFinite(leftMs) ? setTimeout(() => this.#fail(id, this.#late()), leftMs) : undefined,
    };
    this.#calls.set(id, call);
    if (this.#welcomed) this.#send(id, call);
    try {
      return await call.result.promise;
    } finally {
      this.#onRun?.(performance.now() - call.startMs);
    }
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await Promise.allSettled([...this.#calls.values()].map((call) => call.result.promise));
    clearTimeout(this.#retry);
    clearTimeout(this.#away);
    this.#socket?.destroy();
    this.#model.release();
  }

  #connect(): void {
    const socket = connect(this.#model.socketPath);
    const reader = new FrameReader((header, payload) => this.#take(header, payload));
    this.#socket = socket;
    socket.on('connect', () => this.#hello(socket));
    socket.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk);
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    // Its reason is in the log of whoever closed it; here only that it is closed counts.
    socket.on('error', () => {});
    socket.on('close', () => this.#closed());
  }

  #hello(socket: Socket): void {
    const ids = Buffer.alloc(16);
    ids.writeDoubleLE(this.#shared.session_id, 0);
    ids.writeDoubleLE(this.#shared.handler_id, 8);
    socket.write(encodeHeader({ kind: 'hello', id: 0, payloadBytes: ids.length, a: 0, b: 0, c: 0, d: 0 }));
    socket.write(ids);
  }

  /** Without a process: calls wait for the next one, for a while. */
  #leave(): void {
    const giveUp = (): void => {
      const error = this.#exited(`its model process is away for ${AWAY_MS_MAX / 1000} s`);
      this.#opened.reject(error);
      for (const id of this.#calls.keys()) this.#fail(id, error);
      this.#away = undefined;
    };
    this.#away ??= setTimeout(giveUp, AWAY_MS_MAX);
  }

  #closed(): void {
    this.#welcomed = false;
    this.#socket = null;
    for (const [id, call] of this.#calls) {
      const isLost = call.tries > 0 && (!this.#shared.resend || call.tries >= TRIES_MAX);
      const times = call.tries === 1 ? '' : ` (${call.tries} times)`;
      if (isLost) this.#fail(id, this.#exited(`its model process ended during the inference${times}`));
    }
    if (this.#disposed && this.#calls.size === 0) return;
    this.#leave();
    this.#retry = setTimeout(() => this.#connect(), this.#backoff.nextMs());
  }

  #take({ kind, id, a, b, d }: FrameHeader, payload: Buffer): void {
    if (kind === 'welcome') {
      this.#provider = a === 1 ? 'cuda' : 'cpu';
      this.#batches = b === 1;
      this.#welcomed = true;
      this.#backoff.reset();
      clearTimeout(this.#away);
      this.#away = undefined;
      this.#opened.resolve();
      for (const [waiting, call] of this.#calls) this.#send(waiting, call);
      return;
    }
    const call = this.#calls.get(id);
    if (kind === 'result') this.#shared.spent(d);
    // Nobody waits any more for one whose deadline has passed.
    if (call === undefined) return;
    if (kind === 'late') this.#fail(id, this.#late());
    else if (kind === 'failed') this.#fail(id, new OrchestratorError('HANDLER_FAILED', payload.toString('utf8')));
    else if (kind === 'result') {
      const outputs = decodeOutputs(payload, a);
      this.#forget(id, call);
      call.result.resolve(outputs);
    }
  }

  #send(id: number, call: Call): void {
    const { data, batch, height, width } = call.pixels;
    call.tries += 1;
    const leftMs = Math.max(0, call.leftMs - (performance.now() - call.startMs));
    const size = { a: batch, b: height, c: width, d: leftMs };
    this.#socket!.cork();
    this.#socket!.write(encodeHeader({ kind: 'run', id, payloadBytes: data.byteLength, ...size }));
    this.#socket!.write(data);
    this.#socket!.uncork();
  }

  #fail(id: number, error: Error): void {
    const call = this.#calls.get(id);
    if (call === undefined) return;
    this.#forget(id, call);
    call.result.reject(error);
  }

  #forget(id: number, call: Call): void {
    clearTimeout(call.timer);
    this.#calls.delete(id);
  }

  #late(): OrchestratorError {
    return new OrchestratorError('DEADLINE_PASSED', `the deadline passed while it waited for model ${this.#name}`);
  }

  #exited(how: string): OrchestratorError {
    return new OrchestratorError('MODEL_EXITED', `model ${this.#name}: ${how}`, { model: this.#name });
  }
}
