/**
 * Serves one loaded model to the handlers of a node over a Unix socket. Inferences run one at a time, in the order that
 * the queue gives. A handler that breaks the protocol, or that is gone, loses its connection and its place, and nobody
 * else notices. CPU time is exact: the process does nothing else, so what was used since the last inference is its own.
 */
import { unlink } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { OrchestratorError, toOrchestratorError } from '../../contracts/errors.js';
import type { ModelProcessStatus } from '../../contracts/model-process.js';
import type { Logger } from '../../std/logger.js';
import type { OutputTensor, PixelBatch } from '../engine.js';
import { ModelQueue, type Waiting } from './model-queue.js';
import { encodeHeader, encodeOutputs, type FrameHeader, type FrameKind, FrameReader } from './protocol.js';

/** Handlers that one process serves: four of each session that a node takes. */
export const MODEL_CLIENTS_MAX = 1024;
/** Requests of one handler that wait; its socket is not read meanwhile. A handler has one packet at work at a time. */
const CLIENT_REQUESTS_MAX = 4;
/** Pixels that wait in this process, bytes; beyond it no socket is read. Eighty 1024 x 1024 pictures. */
const WAITING_BYTES_MAX = 256 * 1024 * 1024;
/**
 * Pixels of the pictures that share a run. Several small ones take less time together; of larger ones each fills the cores
 * by itself, and a run of several would only hold memory for all of them at once: 512 x 512.
 */
const RUN_PIXELS_MAX = 2 ** 18;
/** An inference that takes longer hangs, ms; the process ends itself and is started again. */
const RUN_MS_MAX = 60_000;
/** Share of the newest duration in the expected one. */
const RUN_MS_WEIGHT = 0.2;

export interface ModelServerOptions {
  readonly engine: {
    readonly provider: 'cpu' | 'cuda';
    readonly batches: boolean;
    run(pixels: PixelBatch): Promise<Record<string, OutputTensor>>;
  };
  readonly threads: number;
  readonly batchMax: number;
  readonly batchWaitMs: number;
  readonly logger: Logger;
  /** An inference hangs: nothing can be expected of this process any more. */
  onHung(): void;
}

interface Client {
  readonly socket: Socket;
  session_id: number;
  handler_id: number;
  cpuMs: number;
  /** It has said who it is. */
  known: boolean;
}

interface Request extends Waiting {
  readonly client: Client;
  readonly id: number;
  readonly pixels: PixelBatch;
}

export class ModelServer {
  readonly #options: ModelServerOptions;
  readonly #queue: ModelQueue<Client, Request>;
  readonly #clients = new Set<Client>();
  readonly #server: Server;
  #running = false;
  #timer: NodeJS.Timeout | undefined;
  #waitingBytes = 0;
  #runMs = 0;
  #cpu = process.cpuUsage();
  #runs = 0;
  #pictures = 0;
  #late = 0;

  constructor(options: ModelServerOptions) {
    this.#options = options;
    const { batches } = options.engine;
    this.#queue = new ModelQueue({ batches, batchMax: options.batchMax, waitMs: options.batchWaitMs });
    this.#server = createServer((socket) => this.#accept(socket));
  }

  async listen(socketPath: string): Promise<void> {
    await unlink(socketPath).catch(() => {});
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(socketPath, resolve);
    });
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#server.close();
    for (const { socket } of this.#clients) socket.destroy();
  }

  status(): ModelProcessStatus {
    const users = [...this.#clients].filter(({ known }) => known);
    return {
      waiting: this.#queue.size,
      ...{ runs: this.#runs, pictures: this.#pictures, late: this.#late },
      users: users.map(({ session_id, handler_id, cpuMs }) => ({ session_id, handler_id, cpu_ms: cpuMs })),
    };
  }

  #accept(socket: Socket): void {
    if (this.#clients.size >= MODEL_CLIENTS_MAX) {
      this.#options.logger.error(
        { clients_max: MODEL_CLIENTS_MAX },
        'a handler was turned away: too many share this model',
      );
      socket.destroy();
      return;
    }
    const client: Client = { socket, session_id: -1, handler_id: -1, cpuMs: 0, known: false };
    const reader = new FrameReader((header, payload) => this.#take(client, header, payload));
    this.#clients.add(client);
    socket.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk);
      } catch (error) {
        this.#options.logger.warn({ session_id: client.session_id }, `connection closed: ${(error as Error).message}`);
        socket.destroy();
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => this.#leave(client));
  }

  #leave(client: Client): void {
    this.#clients.delete(client);
    for (const request of this.#queue.leave(client)) this.#waitingBytes -= request.pixels.data.byteLength;
    this.#readOn();
    // A batch may have waited for this one.
    this.#pump();
  }

  #take(client: Client, header: FrameHeader, payload: Buffer): void {
    if (header.kind === 'hello' && !client.known && payload.length === 16) {
      client.known = true;
      client.session_id = payload.readDoubleLE(0);
      client.handler_id = payload.readDoubleLE(8);
      this.#queue.join(client);
      const { provider, batches } = this.#options.engine;
      const facts = { a: provider === 'cuda' ? 1 : 0, b: batches ? 1 : 0, c: this.#options.threads, d: 0 };
      client.socket.write(encodeHeader({ kind: 'welcome', id: 0, payloadBytes: 0, ...facts }));
      return;
    }
    const { kind, id, a: batch, b: height, c: width, d: leftMs } = header;
    if (kind !== 'run' || !client.known || batch * height * width * 3 !== payload.length || payload.length === 0) {
      throw new OrchestratorError(
        'LINK_PROTOCOL',
        `${kind} of ${batch} x ${height} x ${width} is none that is expected`,
      );
    }
    const arrivedMs = performance.now();
    const pixels = { data: payload, batch, height, width };
    const times = { arrivedMs, deadlineMs: arrivedMs + leftMs };
    const alike = { shape: `${height}x${width}`, togetherMax: Math.floor(RUN_PIXELS_MAX / (height * width)) };
    this.#queue.add(client, { client, id, pixels, pictures: batch, ...alike, ...times });
    this.#waitingBytes += payload.length;
    if (this.#queue.waitingOf(client) >= CLIENT_REQUESTS_MAX) client.socket.pause();
    if (this.#waitingBytes >= WAITING_BYTES_MAX) for (const { socket } of this.#clients) socket.pause();
    this.#pump();
  }

  #pump(): void {
    if (this.#running) return;
    clearTimeout(this.#timer);
    const { run, late, againMs } = this.#queue.take(performance.now(), this.#runMs);
    for (const request of late) {
      this.#late += 1;
      this.#waitingBytes -= request.pixels.data.byteLength;
      this.#answer(request, 'late');
    }
    if (run.length > 0) void this.#run(run);
    else if (againMs !== null) this.#timer = setTimeout(() => this.#pump(), Math.max(0, againMs - performance.now()));
    this.#readOn();
  }

  async #run(requests: readonly Request[]): Promise<void> {
    this.#running = true;
    const startMs = performance.now();
    const hung = setTimeout(() => this.#options.onHung(), RUN_MS_MAX);
    const pictures = requests.reduce((sum, request) => sum + request.pictures, 0);
    for (const request of requests) this.#waitingBytes -= request.pixels.data.byteLength;
    this.#readOn();
    try {
      const outputs = await this.#options.engine.run(together(requests, pictures));
      const cpuMs = this.#takeCpuMs();
      let first = 0;
      for (const request of requests) {
        const share = (cpuMs * request.pictures) / pictures;
        request.client.cpuMs += share;
        this.#answerOutputs(request, partOf(outputs, pictures, first, request.pictures), share);
        first += request.pictures;
      }
    } catch (error) {
      const message = Buffer.from(toOrchestratorError(error).message);
      for (const request of requests) this.#answer(request, 'failed', message);
    }
    clearTimeout(hung);
    const tookMs = performance.now() - startMs;
    this.#runMs += (this.#runs === 0 ? 1 : RUN_MS_WEIGHT) * (tookMs - this.#runMs);
    this.#runs += 1;
    this.#pictures += pictures;
    this.#running = false;
    this.#pump();
  }

  #answer({ client, id }: Request, kind: FrameKind, payload: Buffer = Buffer.alloc(0)): void {
    client.socket.write(encodeHeader({ kind, id, payloadBytes: payload.length, a: 0, b: 0, c: 0, d: 0 }));
    client.socket.write(payload);
  }

  #answerOutputs({ client, id }: Request, outputs: Record<string, OutputTensor>, cpuMs: number): void {
    const parts = encodeOutputs(outputs);
    const payloadBytes = parts.reduce((sum, part) => sum + part.length, 0);
    const numbers = { a: Object.keys(outputs).length, b: 0, c: 0, d: cpuMs };
    client.socket.cork();
    client.socket.write(encodeHeader({ kind: 'result', id, payloadBytes, ...numbers }));
    for (const part of parts) client.socket.write(part);
    client.socket.uncork();
  }

  /** Reads again from handlers that have room, once there is room for all. */
  #readOn(): void {
    if (this.#waitingBytes >= WAITING_BYTES_MAX) return;
    for (const client of this.#clients) {
      if (client.socket.isPaused() && this.#queue.waitingOf(client) < CLIENT_REQUESTS_MAX) client.socket.resume();
    }
  }

  #takeCpuMs(): number {
    const { user, system } = process.cpuUsage(this.#cpu);
    this.#cpu = process.cpuUsage();
    return (user + system) / 1000;
  }
}

/** One batch of all requests; of a single one its own memory, uncopied. */
function together(requests: readonly Request[], pictures: number): PixelBatch {
  const { height, width, data: first } = requests[0]!.pixels;
  if (requests.length === 1) return requests[0]!.pixels;
  const data = new Uint8Array((first.byteLength / requests[0]!.pictures) * pictures);
  let at = 0;
  for (const { pixels } of requests) {
    data.set(pixels.data, at);
    at += pixels.data.byteLength;
  }
  return { data, batch: pictures, height, width };
}

function partOf(
  outputs: Readonly<Record<string, OutputTensor>>,
  pictures: number,
  first: number,
  count: number,
): Record<string, OutputTensor> {
  if (count === pictures) return { ...outputs };
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { data, dims }]) => {
      const each = data.length / pictures;
      return [name, { data: data.subarray(first * each, (first + count) * each), dims: [count, ...dims.slice(1)] }];
    }),
  );
}
