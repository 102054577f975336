/**
 * Frames over one connected socket, either end: cuts bytes into frames, corks what is written in one turn of the event
 * loop, says a ping each second, answers the peer's, and takes a silent peer for dead. `closed` comes exactly once.
 * The surprise: a process that was itself blocked (a long synchronous inference) does not accuse its peer; it looks again
 * after it has had the chance to read.
 */
import type { Socket } from 'node:net';
import type { LinkFrame } from './codec.js';
import { FrameDecoder } from './decoder.js';
import { FrameWriter } from './frame-writer.js';
import type { LinkAck, LinkPacket } from './link.js';
import { LINK_DEAD_MS, LINK_PING_MS, SOCKET_BUFFER_BYTES } from './link.js';

/** How often to speak and when a silent peer is dead, ms. */
export interface KeepAlive {
  readonly pingMs: number;
  readonly deadMs: number;
}

export const KEEP_ALIVE: KeepAlive = { pingMs: LINK_PING_MS, deadMs: LINK_DEAD_MS };

/** Pings and pongs are answered here. */
export type PeerFrame = Exclude<LinkFrame, { readonly kind: 'ping' | 'pong' }>;

export interface FrameSocketOptions {
  readonly socket: Socket;
  readonly keepAlive: KeepAlive;
  onFrame(frame: PeerFrame): void;
  onWritable?(): void;
  /** A round trip of a ping, ms; behind queued data it is longer than the path's own. */
  onRtt?(rttMs: number): void;
  onClosed(reason: string): void;
}

/** Pings at the beginning, and the time between them, ms: the quickest of five is the path's, whatever waits in a process. */
const GREETING_PINGS = 5;
const GREETING_PING_MS = 100;

export class FrameSocket {
  readonly #options: FrameSocketOptions;
  readonly #socket: Socket;
  readonly decoder: FrameDecoder;
  readonly #writer = new FrameWriter();
  #flushDue = false;
  #heldBack = false;
  #closed = false;
  #speaking = false;
  #heardMs = performance.now();
  #lookedMs = performance.now();
  readonly #pings: NodeJS.Timeout;
  #greeting: NodeJS.Timeout | undefined;

  constructor(options: FrameSocketOptions) {
    this.#options = options;
    this.#socket = options.socket;
    this.decoder = new FrameDecoder((frame) => this.#take(frame));
    this.#socket.setNoDelay(true);
    this.#socket.setTimeout(0);
    this.#socket.on('error', (error) => this.close(error.message));
    this.#socket.on('end', () => this.close('the peer closed the connection'));
    this.#socket.on('close', () => this.close('the connection was closed'));
    this.#pings = setInterval(() => this.#lookAtPeer(), options.keepAlive.pingMs);
  }

  /** The handshake is through: pings may be written, and a few are at once, so that the round trip is known early. */
  speak(): void {
    this.#speaking = true;
    this.#greet(GREETING_PINGS);
  }

  /** Bytes that wait in this process. */
  get waitingBytes(): number {
    return this.#socket.writableLength + this.#writer.bytes;
  }

  /** For sockets in 'data' mode: begins to read, with what was read along with the handshake first. */
  read(head: Buffer): void {
    this.#socket.on('data', (chunk: Buffer) => this.ingest(() => this.decoder.push(chunk)));
    if (head.length > 0) this.ingest(() => this.decoder.push(head));
  }

  /** Runs `feed`, which gives the decoder bytes; bytes that are not the protocol close the connection. */
  ingest(feed: () => void): void {
    if (this.#closed) return;
    this.#heardMs = performance.now();
    try {
      feed();
    } catch (error) {
      this.close((error as Error).message);
    }
  }

  writable(): boolean {
    const free = this.waitingBytes < SOCKET_BUFFER_BYTES;
    this.#heldBack ||= !free;
    return free;
  }

  /** Takes a packet; it leaves at the end of this turn. Returns its bytes; throws LINK_PROTOCOL when it has no form. */
  packet(packet: LinkPacket, sentAt: number, ordinal: number): number {
    if (this.#closed) return 0;
    const bytes = this.#writer.packet(packet, sentAt, ordinal);
    this.#flushLater();
    return bytes;
  }

  /** `carried`: packets that came on this connection. */
  ack(ack: LinkAck, carried: number): void {
    if (this.#closed) return;
    this.#writer.ack(ack, carried);
    this.#flushLater();
  }

  close(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#pings);
    clearTimeout(this.#greeting);
    this.#socket.destroy();
    this.#options.onClosed(reason);
  }

  #flushLater(): void {
    if (this.#flushDue) return;
    this.#flushDue = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#flushDue = false;
    if (this.#closed) return;
    const { pieces, slabs } = this.#writer.take();
    const last = pieces.length - 1;
    this.#socket.cork();
    for (let index = 0; index < last; index++) this.#socket.write(pieces[index]!);
    // The callback of the turn's last write tells when the buffer has drained far enough to go on.
    this.#socket.write(pieces[last]!, (error) => {
      if (error != null) return;
      this.#writer.recycle(slabs);
      this.#drained();
    });
    this.#socket.uncork();
  }

  #drained(): void {
    if (!this.#heldBack || this.#closed || this.#socket.writableLength >= SOCKET_BUFFER_BYTES) return;
    this.#heldBack = false;
    this.#options.onWritable?.();
  }

  #lookAtPeer(): void {
    const { pingMs, deadMs } = this.#options.keepAlive;
    const now = performance.now();
    const blocked = now - this.#lookedMs > 2 * pingMs;
    this.#lookedMs = now;
    if (!blocked && now - this.#heardMs > deadMs) {
      this.close(`no word from the peer for ${Math.round(now - this.#heardMs)} ms`);
    } else if (this.#speaking) {
      this.#ping();
    }
  }

  #greet(pings: number): void {
    if (this.#closed) return;
    this.#ping();
    if (pings > 1) this.#greeting = setTimeout(() => this.#greet(pings - 1), GREETING_PING_MS);
  }

  #ping(): void {
    this.#writer.ping(performance.now() / 1000);
    this.#flushLater();
  }

  #take(frame: LinkFrame): void {
    if (this.#closed) return;
    if (frame.kind === 'ping') {
      this.#writer.pong(frame.sentAt);
      this.#flushLater();
    } else if (frame.kind === 'pong') this.#options.onRtt?.(Math.max(0, performance.now() - frame.echoed * 1000));
    else this.#options.onFrame(frame);
  }
}
