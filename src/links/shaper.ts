/**
 * An emulated network path, for tests and demos: a TCP (or Unix socket) proxy in user space with a delay, jitter, a rate,
 * a bounded queue, and faults on demand. It needs no rights and no kernel module.
 *
 *   clear --blackhole--> blackholed (all is silent, nothing closes) --clear--> clear (everything goes on: TCP resends)
 *   clear --refuse--> refusing (connections are cut, new ones refused) --clear--> clear
 *   any --close--> closed
 *
 * Several listeners share one path, so that a machine's whole access link can be emulated: its rate and its faults are
 * those of all its connections together. Invariant: what passes is what was written, in order, up to where it is cut.
 * What it cannot emulate is loss (TCP hides it below the proxy) and the queue of a real sender: the kernel's own socket
 * buffers lie before it, so that a writer is held back some MB later than on a network card.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { OrchestratorError } from '../contracts/errors.js';
import type { SocketAddress } from './handshake.js';
import { Pacer, Pipe } from './shaper-pipe.js';

export interface ShaperOptions {
  /** One way, ms; 0 when absent. A connection's first bytes wait for a round trip more, as its handshake would take. */
  readonly delayMs?: number;
  /** Up to this is added to the delay of each piece, ms, evenly spread; order is kept. 0 when absent. */
  readonly jitterMs?: number;
  /** Each way, Mbit/s, of all connections together; null or absent: no limit. */
  readonly mbitPerS?: number | null;
  /** Held of one connection in one direction before reading stops, bytes. Default: what the path holds, and QUEUE_MS. */
  readonly queueBytes?: number;
  /** For the jitter. */
  readonly random?: () => number;
  /** Where to cut the next connection: after so many bytes in a direction (Infinity: not). */
  cutAfterBytes?(): CutAfterBytes;
}

/** `in`: towards what lies behind the path. */
type Direction = 'in' | 'out';
export type CutAfterBytes = Readonly<Record<Direction, number>>;

export const SHAPER_DELAY_MS_MAX = 10_000;
export const SHAPER_MBIT_MIN = 0.001;
export const SHAPER_MBIT_MAX = 100_000;
const QUEUE_BYTES_MAX = 64 * 1024 * 1024;
/** Without a rate the queue only bridges the delay, bytes. */
const UNLIMITED_QUEUE_BYTES = 4 * 1024 * 1024;
const QUEUE_BYTES_MIN = 16 * 1024;

/** What the queue of an ordinary router holds beyond what is on the way, ms at the path's rate. */
const QUEUE_MS = 50;

type State = 'clear' | 'blackholed' | 'refusing' | 'closed';

interface Listener {
  readonly server: Server;
  /** Given again after a refusal: a port or a path. */
  readonly at: SocketAddress;
}

export class Shaper {
  readonly #options: Required<ShaperOptions>;
  readonly #pacers: Readonly<Record<Direction, Pacer>>;
  readonly #listeners: Listener[] = [];
  readonly #connections = new Set<ShapedConnection>();
  /** Accepted while blackholed: connected when that is over. */
  readonly #unanswered = new Map<Socket, () => void>();
  #state: State = 'clear';
  /** Connections accepted so far. */
  connections = 0;
  /** Bytes passed on so far. */
  readonly passedBytes = { in: 0, out: 0 };

  constructor(options: ShaperOptions = {}) {
    this.#options = checked(options);
    const { mbitPerS } = this.#options;
    const bytesPerMs = mbitPerS === null ? Number.POSITIVE_INFINITY : (mbitPerS * 1e6) / 8 / 1000;
    this.#pacers = { in: new Pacer(bytesPerMs), out: new Pacer(bytesPerMs) };
  }

  /** Connections that are open. */
  get open(): number {
    return this.#connections.size;
  }

  /** Held of the fullest connection in one direction, bytes. */
  get heldBytes(): number {
    return Math.max(0, ...[...this.#connections].map((connection) => connection.heldBytes));
  }

  /**
   * A new address that leads to `target` over this path: a free port of loopback, or the Unix socket `path`.
   * `from: 'inside'`: it is for connections that come from behind the path, so that their bytes to the target count as out.
   */
  async forward(
    target: SocketAddress,
    { path, from = 'outside' }: { path?: string; from?: 'outside' | 'inside' } = {},
  ): Promise<SocketAddress> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (near) => {
      const start = (): void => this.#connect(near, target, from);
      if (this.#state !== 'blackholed') return start();
      this.#unanswered.set(near, start);
      near.on('error', () => near.destroy());
      near.on('close', () => this.#unanswered.delete(near));
    });
    const at = await listen(server, path === undefined ? null : { kind: 'unix', path }, target);
    this.#listeners.push({ server, at });
    return at;
  }

  /** Closes every connection now; new ones are taken. */
  cut(): void {
    for (const connection of this.#connections) connection.close();
    for (const near of this.#unanswered.keys()) near.destroy();
  }

  /** What a pulled cable looks like: no byte and no close comes through, on connections that are there and on new ones. */
  blackhole(): void {
    this.#enter('blackholed');
    for (const connection of this.#connections) connection.freeze();
  }

  /** What a process that ended looks like: connections are closed and new ones refused. */
  async refuse(): Promise<void> {
    this.#enter('refusing');
    this.cut();
    await Promise.all(this.#listeners.map(({ server }) => closeServer(server)));
  }

  /** Ends blackhole and refusal. */
  async clear(): Promise<void> {
    const before = this.#state;
    this.#enter('clear');
    if (before === 'refusing') await Promise.all(this.#listeners.map(({ server, at }) => listen(server, at, at)));
    if (before !== 'blackholed') return;
    for (const connection of this.#connections) connection.thaw();
    const starts = [...this.#unanswered.values()];
    this.#unanswered.clear();
    for (const start of starts) start();
  }

  async close(): Promise<void> {
    const listening = this.#state !== 'refusing' && this.#state !== 'closed';
    this.#state = 'closed';
    this.cut();
    if (listening) await Promise.all(this.#listeners.map(({ server }) => closeServer(server)));
  }

  #enter(state: State): void {
    if (this.#state === 'closed') throw new Error('the shaper is closed');
    this.#state = state;
  }

  #connect(near: Socket, target: SocketAddress, from: 'outside' | 'inside'): void {
    this.connections += 1;
    const connection: ShapedConnection = new ShapedConnection({
      ...this.#options,
      ...{ near, far: dial(target), cut: this.#options.cutAfterBytes(), pacers: this.#pacers },
      forward: from === 'outside' ? 'in' : 'out',
      onPassed: (direction, bytes) => {
        this.passedBytes[direction] += bytes;
      },
      onClosed: () => this.#connections.delete(connection),
    });
    this.#connections.add(connection);
  }
}

interface ConnectionOptions extends Required<ShaperOptions> {
  readonly near: Socket;
  readonly far: Socket;
  readonly cut: CutAfterBytes;
  readonly pacers: Readonly<Record<Direction, Pacer>>;
  /** The way from near to far. */
  readonly forward: Direction;
  onPassed(direction: Direction, bytes: number): void;
  onClosed(): void;
}

/** Two sockets, and a pipe each way. A socket that breaks takes the other with it, at once, or when the path is thawed. */
class ShapedConnection {
  readonly #options: ConnectionOptions;
  readonly #pipes: readonly [Pipe, Pipe];
  readonly #madeMs = performance.now();
  #frozen = false;
  #broken = false;
  #closed = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { near, far, forward } = options;
    const back = forward === 'in' ? 'out' : 'in';
    this.#pipes = [this.#pipe(near, far, forward), this.#pipe(far, near, back)];
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on('error', () => this.#break());
      socket.on('close', () => {
        if (near.destroyed && far.destroyed) this.close();
      });
    }
  }

  get heldBytes(): number {
    return Math.max(...this.#pipes.map((pipe) => pipe.heldBytes));
  }

  #pipe(from: Socket, to: Socket, direction: Direction): Pipe {
    const { cut, pacers, delayMs, onPassed } = this.#options;
    return new Pipe({
      ...this.#options,
      ...{ from, to, pacer: pacers[direction], cutAfterBytes: cut[direction] },
      notBeforeMs: this.#madeMs + 3 * delayMs,
      onPassed: (bytes) => onPassed(direction, bytes),
      onCut: () => this.close(),
    });
  }

  freeze(): void {
    this.#frozen = true;
    for (const pipe of this.#pipes) pipe.freeze();
  }

  thaw(): void {
    this.#frozen = false;
    if (this.#broken) this.close();
    else for (const pipe of this.#pipes) pipe.thaw();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { near, far, onClosed } = this.#options;
    for (const pipe of this.#pipes) pipe.close();
    near.destroy();
    far.destroy();
    onClosed();
  }

  #break(): void {
    this.#broken = true;
    if (!this.#frozen) this.close();
  }
}

function checked(options: ShaperOptions): Required<ShaperOptions> {
  const { delayMs = 0, jitterMs = 0, mbitPerS = null } = options;
  bounded('delayMs', delayMs, 0, SHAPER_DELAY_MS_MAX);
  bounded('jitterMs', jitterMs, 0, SHAPER_DELAY_MS_MAX);
  if (mbitPerS !== null) bounded('mbitPerS', mbitPerS, SHAPER_MBIT_MIN, SHAPER_MBIT_MAX);
  const onTheWayMs = delayMs + jitterMs + QUEUE_MS;
  const natural = mbitPerS === null ? UNLIMITED_QUEUE_BYTES : Math.ceil(mbitPerS * 125 * onTheWayMs);
  const queueBytes = options.queueBytes ?? Math.min(QUEUE_BYTES_MAX, Math.max(QUEUE_BYTES_MIN, natural));
  bounded('queueBytes', queueBytes, 1, QUEUE_BYTES_MAX);
  const random = options.random ?? Math.random;
  const cutAfterBytes = options.cutAfterBytes ?? (() => NEVER);
  return { delayMs, jitterMs, mbitPerS, queueBytes, random, cutAfterBytes };
}

const NEVER: CutAfterBytes = { in: Number.POSITIVE_INFINITY, out: Number.POSITIVE_INFINITY };

function bounded(name: string, value: number, min: number, max: number): void {
  if (value >= min && value <= max) return;
  throw new OrchestratorError('REQUEST_INVALID', `shaper: ${name} ${value} is not within ${min} to ${max}`);
}

/** `at` null: a free port of loopback. The answer has the scheme of `like`, so that TLS passes through. */
function listen(server: Server, at: SocketAddress | null, like: SocketAddress): Promise<SocketAddress> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const done = (): void => {
      server.removeListener('error', reject);
      const address = server.address();
      const scheme = like.kind === 'http' ? new URL(like.url).protocol : 'http:';
      if (typeof address === 'string') resolve({ kind: 'unix', path: address });
      else resolve({ kind: 'http', url: `${scheme}//127.0.0.1:${address!.port}` });
    };
    if (at?.kind === 'unix') server.listen(at.path, done);
    else server.listen(at === null ? 0 : Number(new URL(at.url).port), '127.0.0.1', done);
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

function dial(target: SocketAddress): Socket {
  if (target.kind === 'unix') return connect({ path: target.path, allowHalfOpen: true });
  const { hostname, port, protocol } = new URL(target.url);
  const host = hostname.replace(/^\[|\]$/g, '');
  return connect({ host, port: Number(port || (protocol === 'https:' ? 443 : 80)), allowHalfOpen: true });
}
