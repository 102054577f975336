/** A pool behind a real HTTP server, and programs that join it as any language would: a socket, the handshake, frames. */
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { DataPacket, Payload } from '../contracts/packet.js';
import type { LinkFrame } from '../links/codec.js';
import { FrameDecoder } from '../links/decoder.js';
import { written } from '../links/frame-writer.testing.js';
import type { LinkPacket } from '../links/link.js';
import { systemClock } from '../std/clock.js';
import { silentLogger } from '../std/logger.js';
import { WorkerPool, type WorkerPoolOptions } from './worker-pool.js';

const PATH = '/v1/sessions/1/handlers/2/worker';

export interface PoolServer {
  readonly pool: WorkerPool;
  /** A program that has joined. */
  join(headers?: Record<string, string>): Promise<Program>;
  close(): Promise<void>;
}

export async function servePool(options: Partial<WorkerPoolOptions> = {}): Promise<PoolServer> {
  const pool = new WorkerPool({
    ...{ delivery: 'all', timeoutMs: 20_000, attempts: 3, url: `http://node${PATH}` },
    ...{ clock: systemClock(), logger: silentLogger, ...options },
  });
  const server = createServer();
  server.on('upgrade', ({ headers }, socket, head) => pool.join({ socket: socket as Socket, headers, head }));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const programs: Program[] = [];
  return {
    pool,
    async join(headers = {}) {
      const program = new Program(port, headers);
      programs.push(program);
      await program.answered;
      return program;
    },
    async close() {
      pool.close();
      for (const program of programs) program.kill();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export class Program {
  /** Head of the answer to the handshake; with its body when it was a refusal. */
  readonly answered: Promise<string>;
  readonly closed: Promise<void>;
  readonly received: LinkPacket[] = [];
  /** Called for each packet that comes. */
  onPacket: (packet: LinkPacket) => void = () => {};
  readonly #socket: Socket;

  constructor(port: number, headers: Record<string, string>) {
    this.#socket = connect(port, '127.0.0.1');
    this.#socket.on('error', () => {});
    this.closed = new Promise((resolve) => this.#socket.once('close', () => resolve()));
    const decoder = new FrameDecoder((frame) => this.#take(frame));
    this.answered = new Promise((resolve) => {
      let head = Buffer.alloc(0);
      const onHead = (chunk: Buffer): void => {
        head = Buffer.concat([head, chunk]);
        const end = head.indexOf('\r\n\r\n');
        const complete = end >= 0 && (head.toString().startsWith('HTTP/1.1 101') || head.indexOf('}') > 0);
        if (!complete) return;
        this.#socket.off('data', onHead);
        const isOpen = head.toString().startsWith('HTTP/1.1 101');
        resolve(head.toString('latin1', 0, isOpen ? end : head.length));
        if (!isOpen) return;
        this.#socket.on('data', (bytes: Buffer) => decoder.push(bytes));
        decoder.push(head.subarray(end + 4));
      };
      this.#socket.on('data', onHead);
    });
    const all = { host: 'x', connection: 'Upgrade', upgrade: 'orchestrator-link/1', ...headers };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
    this.#socket.write(`GET ${PATH} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
  }

  send(packet: LinkPacket): void {
    this.sendBytes(written((writer) => writer.packet(packet, 0, 0)));
  }

  sendBytes(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** As `kill -9` looks from the other end. */
  kill(): void {
    this.#socket.destroy();
  }

  #take(frame: LinkFrame): void {
    if (frame.kind !== 'packet') return;
    this.received.push(frame.packet);
    this.onPacket(frame.packet);
  }
}

export function packet(sequence: number, more: Partial<DataPacket> = {}): DataPacket {
  const payload: Payload = { type: 'bytes', data: Buffer.from(`${sequence}`) };
  return { kind: 'data', sequence, timestamp: 1, deadline: 0, payload, metadata: {}, ...more };
}

/** What a program that doubles numbers answers. */
export function answerTo({ sequence, payload }: DataPacket): DataPacket {
  const text = payload.type === 'bytes' ? payload.data.toString() : payload.type;
  return packet(sequence, { payload: { type: 'bytes', data: Buffer.from(`${text} ${text}`) } });
}

export const textOf = (answer: LinkPacket): string =>
  answer.kind === 'data' && answer.payload.type === 'bytes' ? answer.payload.data.toString() : answer.kind;
