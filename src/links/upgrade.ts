/**
 * The handshake of a link: `GET linkPath` with `Upgrade: orchestrator-link/1`, answered 101. The dialling side writes and
 * reads HTTP itself, on a plain socket, because only a socket that one dials oneself can read payloads in place (`onread`).
 * Invariant: a refusal is an ordinary HTTP answer with problem+json, so that curl shows the reason too.
 */
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import type { Clock } from '../std/clock.js';
import { encodeAck, encodePacket } from './codec.js';
import { FrameSocket, KEEP_ALIVE, type KeepAlive } from './frame-socket.js';
import {
  type Dial,
  HANDSHAKE_BYTES_MAX,
  type IncomingChannel,
  type IncomingEvents,
  LINK_HANDSHAKE_MS,
  type LinkAck,
  type LinkHello,
  type OutgoingChannel,
  type OutgoingEvents,
} from './link.js';
import type { LinkSender } from './link-sender.js';

export const LINK_PROTOCOL_NAME = 'orchestrator-link/1';
const END_OF_HEAD = '\r\n\r\n';

export type SocketAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'http'; readonly url: string };

export interface AcceptOptions {
  readonly socket: Socket;
  /** Lower-case names, as node:http gives them. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Bytes that came behind the request. */
  readonly head: Buffer;
  readonly sender: LinkSender;
  readonly clock: Clock;
  readonly keepAlive?: KeepAlive;
}

/** Serving end: answers an upgrade request and gives the connection to `sender`. Refuses with HTTP when it will not. */
export function acceptLink(options: AcceptOptions): void {
  const { socket, headers, sender } = options;
  try {
    if (String(headers.upgrade).toLowerCase() !== LINK_PROTOCOL_NAME) {
      throw new OrchestratorError('LINK_PROTOCOL', `upgrade is ${headers.upgrade}, not ${LINK_PROTOCOL_NAME}`);
    }
    const hello: LinkHello = {
      after: numberHeader(headers, 'x-link-after'),
      received: numberHeader(headers, 'x-link-received'),
      generation: numberHeader(headers, 'x-link-generation'),
    };
    // Read only when the sender knows the channel: what came behind the request may already close it.
    let frames: FrameSocket | null = null;
    sender.attach(hello, (events) => {
      socket.write(switching(sender.settled));
      frames = servingEnd(options, events);
      return sendingEnd(frames, socket, options.clock);
    });
    (frames as FrameSocket | null)?.read(options.head);
  } catch (error) {
    refuseUpgrade(socket, toOrchestratorError(error));
  }
}

function servingEnd({ socket, keepAlive }: AcceptOptions, events: OutgoingEvents): FrameSocket {
  const frames: FrameSocket = new FrameSocket({
    socket,
    keepAlive: keepAlive ?? KEEP_ALIVE,
    onFrame: (frame) => {
      if (frame.kind === 'ack') events.ack(frame.ack);
      else frames.close('a receiver sent a packet');
    },
    onWritable: () => events.writable(),
    onClosed: (reason) => events.closed(reason),
  });
  frames.speak();
  return frames;
}

function sendingEnd(frames: FrameSocket, socket: Socket, clock: Clock): OutgoingChannel {
  let ordinal = 0;
  return {
    transport: socket.remoteAddress === undefined ? 'unix' : 'tcp',
    writable: () => frames.writable(),
    write: (packet) => {
      const pieces = encodePacket(packet, clock.now(), ordinal);
      ordinal += 1;
      frames.write(pieces);
      return pieces.reduce((sum, piece) => sum + piece.length, 0);
    },
    close: (reason) => frames.close(reason),
  };
}

function switching(settled: number): string {
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Connection: Upgrade',
    `Upgrade: ${LINK_PROTOCOL_NAME}`,
    `x-link-settled: ${settled}`,
  ];
  return lines.join('\r\n') + END_OF_HEAD;
}

function numberHeader(headers: AcceptOptions['headers'], name: string): number {
  const text = headers[name];
  const value = text === undefined ? -1 : Number(text);
  if (Number.isSafeInteger(value) && value >= -1) return value;
  throw new OrchestratorError('LINK_PROTOCOL', `${name}: ${String(text)} is not an integer of at least -1`);
}

/** Answers an upgrade request with a problem, and closes. */
export function refuseUpgrade(socket: Socket, error: OrchestratorError): void {
  const body = JSON.stringify(error.toProblem());
  const lines = [
    `HTTP/1.1 ${error.status} ${error.code}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.on('error', () => socket.destroy());
  socket.end(lines.join('\r\n') + END_OF_HEAD + body);
}

export interface SocketDialOptions {
  readonly address: SocketAddress;
  /** linkPath of the link. */
  readonly path: string;
  /** Bearer token; null when none is configured. */
  readonly token: string | null;
  readonly keepAlive?: KeepAlive;
}

/** Dialling end. Plain sockets read in place; over TLS bytes come as 'data'. */
export function socketDial(options: SocketDialOptions): Dial {
  return (hello, events) => new DialledConnection(options, hello, events);
}

class DialledConnection implements IncomingChannel {
  readonly transport: 'tcp' | 'unix';
  readonly #events: IncomingEvents;
  readonly #frames: FrameSocket;
  readonly #timer: NodeJS.Timeout;
  #answer: Buffer | null = Buffer.alloc(0);
  #refusal: string | null = null;
  /** Packets that came on this connection. */
  #carried = 0;

  constructor(options: SocketDialOptions, hello: LinkHello, events: IncomingEvents) {
    this.transport = options.address.kind === 'unix' ? 'unix' : 'tcp';
    this.#events = events;
    const socket = this.#dial(options.address);
    this.#frames = new FrameSocket({
      socket,
      keepAlive: options.keepAlive ?? KEEP_ALIVE,
      onFrame: (frame) => {
        if (frame.kind === 'packet') {
          this.#carried += 1;
          events.packet(frame.packet, { bytes: frame.bytes, sentAt: frame.sentAt });
        } else this.#frames.close('a sender sent an acknowledgement');
      },
      onClosed: (reason) => {
        clearTimeout(this.#timer);
        queueMicrotask(() => events.closed(this.#refusal ?? reason));
      },
    });
    this.#timer = setTimeout(() => this.#frames.close('the upgrade was not answered in time'), LINK_HANDSHAKE_MS);
    socket.write(request(options, hello));
  }

  ack(ack: LinkAck): void {
    this.#frames.write([encodeAck(ack, this.#carried)]);
  }

  close(reason: string): void {
    this.#frames.close(reason);
  }

  #dial(address: SocketAddress): Socket {
    // The first buffer is asked for inside connect(), before there is a decoder; it takes (part of) the answer.
    const first = Buffer.allocUnsafeSlow(HANDSHAKE_BYTES_MAX);
    const onread = {
      buffer: () => this.#frames?.decoder.readTarget() ?? first,
      callback: (count: number, target: Uint8Array) => {
        this.#frames.ingest(() => {
          if (this.#answer !== null) this.#readAnswer(Buffer.from(target.buffer, target.byteOffset, count));
          else this.#frames.decoder.filled(count, target);
        });
        return true;
      },
    };
    if (address.kind === 'unix') return connect({ path: address.path, onread });
    const url = new URL(address.url);
    const host = url.hostname.replace(/^\[|\]$/g, '');
    if (url.protocol !== 'https:') return connect({ host, port: Number(url.port || 80), onread });
    const socket = connectTls({
      host,
      port: Number(url.port || 443),
      ...(isIP(host) === 0 ? { servername: host } : {}),
    });
    socket.on('data', (chunk: Buffer) => {
      this.#frames.ingest(() => {
        if (this.#answer !== null) this.#readAnswer(chunk);
        else this.#frames.decoder.push(chunk);
      });
    });
    return socket;
  }

  #readAnswer(chunk: Buffer): void {
    const answer = Buffer.concat([this.#answer!, chunk]);
    this.#answer = answer;
    const end = answer.indexOf(END_OF_HEAD);
    if (end < 0) {
      if (answer.length > HANDSHAKE_BYTES_MAX) throw new OrchestratorError('LINK_PROTOCOL', 'endless answer');
      return;
    }
    const head = answer.toString('latin1', 0, end);
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
    if (status !== 101) {
      this.#refused(status, answer.subarray(end + END_OF_HEAD.length), head);
      return;
    }
    clearTimeout(this.#timer);
    this.#answer = null;
    this.#frames.speak();
    const settled = Number(/^x-link-settled: (-?\d+)\r?$/im.exec(head)?.[1] ?? -1);
    this.#events.open(Number.isSafeInteger(settled) ? settled : -1);
    this.#frames.decoder.push(answer.subarray(end + END_OF_HEAD.length));
  }

  /** The body says why; it is waited for as long as the answer's length promises, or until the peer closes. */
  #refused(status: number, body: Buffer, head: string): void {
    const status_ = Number.isNaN(status) ? 'an answer that is not HTTP' : `status ${status}`;
    this.#refusal = `refused with ${status_}: ${detailOf(body)}`;
    const length = Number(/^content-length: (\d+)\r?$/im.exec(head)?.[1] ?? 0);
    if (body.length >= Math.min(length, HANDSHAKE_BYTES_MAX)) this.#frames.close(this.#refusal);
  }
}

function detailOf(body: Buffer): string {
  try {
    const problem: unknown = JSON.parse(body.toString('utf8'));
    if (typeof problem === 'object' && problem !== null && 'detail' in problem) return String(problem.detail);
  } catch {
    // Not JSON (a proxy's page): shown as it is.
  }
  return body.toString('utf8', 0, 200);
}

function request({ address, path, token }: SocketDialOptions, hello: LinkHello): string {
  const lines = [
    `GET ${path} HTTP/1.1`,
    `host: ${address.kind === 'unix' ? 'localhost' : new URL(address.url).host}`,
    'connection: Upgrade',
    `upgrade: ${LINK_PROTOCOL_NAME}`,
    `x-link-after: ${hello.after}`,
    `x-link-received: ${hello.received}`,
    `x-link-generation: ${hello.generation}`,
    ...(token === null ? [] : [`authorization: Bearer ${token}`]),
  ];
  return lines.join('\r\n') + END_OF_HEAD;
}
