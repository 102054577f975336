/**
 * The limit: the link's framing (a prefix of 80 bytes with all its fields) over a plain socket, with one write per turn
 * and reads straight into the payload's buffer. Nothing else: no acks, no checks, nothing kept, and the buffers of large
 * payloads are used again as if nobody kept those either; small ones are copied out of the scratch, as they must be.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { deferred } from '#src/std/deferred.js';
import { type Arrived, type SendingEnd, type Transport, WAITING_BYTES_MAX } from './transport.js';

const PREFIX_BYTES = 80;
const SCRATCH_BYTES = 64 * 1024;
/** Payloads below this are joined with their neighbours: copying them costs less than a piece of their own. */
const JOIN_BYTES_MAX = 4096;
const JOINED_BYTES = 64 * 1024;
/** Large payloads are read into these in turn. */
const POOLED_BUFFERS = 4;

export const rawTcp: Transport = {
  name: 'raw TCP',
  listens: 'sender',
  async send() {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const socket = deferred<Socket>();
    server.on('connection', (one) => socket.resolve(one.setNoDelay(true)));
    return sendingEnd(`${(server.address() as AddressInfo).port}`, socket.promise);
  },
  async receive(address, arrived) {
    const reader = new Reader(arrived);
    const socket = connect({ host: '127.0.0.1', port: Number(address), onread: reader });
    await new Promise((resolve) => socket.once('connect', resolve));
    return { address: '' };
  },
};

function sendingEnd(address: string, connected: Promise<Socket>): SendingEnd {
  let writer: Writer | null = null;
  void connected.then((socket) => {
    writer = new Writer(socket);
  });
  return { address, send: (data, stampMs) => (writer === null ? connected : writer.send(data, stampMs)) };
}

class Writer {
  readonly #socket: Socket;
  #pieces: Buffer[] = [];
  #joined = Buffer.allocUnsafeSlow(JOINED_BYTES);
  #joinedFrom = 0;
  #joinedTo = 0;
  #waiting = 0;
  #room = deferred<void>();

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  send(data: Buffer, stampMs: number): Promise<void> | undefined {
    if (this.#waiting === 0) setImmediate(() => this.#flush());
    const small = data.length < JOIN_BYTES_MAX;
    const needed = PREFIX_BYTES + (small ? data.length : 0);
    if (this.#joinedTo + needed > JOINED_BYTES) this.#newJoined();
    const at = this.#joinedTo;
    this.#joined.writeUInt32LE(data.length, at + 8);
    for (let field = 24; field < PREFIX_BYTES; field += 8) this.#joined.writeDoubleLE(stampMs, at + field);
    if (small) data.copy(this.#joined, at + PREFIX_BYTES);
    this.#joinedTo = at + needed;
    if (!small) {
      this.#endJoined();
      this.#pieces.push(data);
    }
    this.#waiting += PREFIX_BYTES + data.length;
    if (this.#waiting + this.#socket.writableLength < WAITING_BYTES_MAX && this.#waiting < JOINED_BYTES)
      return undefined;
    this.#room = deferred();
    return this.#room.promise;
  }

  #endJoined(): void {
    if (this.#joinedTo > this.#joinedFrom) this.#pieces.push(this.#joined.subarray(this.#joinedFrom, this.#joinedTo));
    this.#joinedFrom = this.#joinedTo;
  }

  #newJoined(): void {
    this.#endJoined();
    this.#joined = Buffer.allocUnsafeSlow(JOINED_BYTES);
    this.#joinedFrom = this.#joinedTo = 0;
  }

  #flush(): void {
    this.#endJoined();
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#waiting = 0;
    this.#socket.cork();
    pieces.forEach((piece, index) => {
      this.#socket.write(piece, index === pieces.length - 1 ? () => this.#wake() : undefined);
    });
    this.#socket.uncork();
    this.#wake();
  }

  #wake(): void {
    if (this.#socket.writableLength < WAITING_BYTES_MAX) this.#room.resolve();
  }
}

/** `onread` of the socket. */
class Reader {
  readonly #arrived: Arrived;
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  readonly #pool: Buffer[] = [];
  #turn = 0;
  #target: Buffer | null = null;
  #filled = 0;
  #stampMs = 0;
  /** Bytes of a cut prefix or small payload at the start of the scratch. */
  #left = 0;

  constructor(arrived: Arrived) {
    this.#arrived = arrived;
    this.callback = this.callback.bind(this);
    this.buffer = this.buffer.bind(this);
  }

  buffer(): Uint8Array {
    return this.#target === null ? this.#scratch.subarray(this.#left) : this.#target.subarray(this.#filled);
  }

  callback(count: number): boolean {
    if (this.#target === null) this.#parse(this.#left + count);
    else {
      this.#filled += count;
      if (this.#filled === this.#target.length) {
        this.#arrived(this.#stampMs, this.#filled);
        this.#target = null;
      }
    }
    return true;
  }

  #parse(end: number): void {
    const scratch = this.#scratch;
    let at = 0;
    while (end - at >= PREFIX_BYTES) {
      const bytes = scratch.readUInt32LE(at + 8);
      let stampMs = 0;
      for (let field = 24; field < PREFIX_BYTES; field += 8) stampMs = scratch.readDoubleLE(at + field);
      if (end - at < PREFIX_BYTES + bytes) {
        if (bytes < JOIN_BYTES_MAX) break;
        this.#stampMs = stampMs;
        this.#target = this.#pooled(bytes);
        this.#filled = scratch.copy(this.#target, 0, at + PREFIX_BYTES, end);
        at = end;
        break;
      }
      const payload = Buffer.allocUnsafe(bytes);
      scratch.copy(payload, 0, at + PREFIX_BYTES, at + PREFIX_BYTES + bytes);
      this.#arrived(stampMs, payload.length);
      at += PREFIX_BYTES + bytes;
    }
    this.#left = end - at;
    if (at > 0 && this.#left > 0) scratch.copyWithin(0, at, end);
  }

  #pooled(bytes: number): Buffer {
    this.#turn = (this.#turn + 1) % POOLED_BUFFERS;
    const pooled = this.#pool[this.#turn];
    if (pooled?.length === bytes) return pooled;
    const fresh = Buffer.allocUnsafeSlow(bytes);
    this.#pool[this.#turn] = fresh;
    return fresh;
  }
}
