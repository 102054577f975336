/**
 * A connection that this side dials: sends the upgrade request, reads its answer, and is a FrameSocket from then on.
 * Plain sockets read payloads straight into the buffer that their packet will own; over TLS bytes come as 'data'.
 */
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { FrameSocket, type FrameSocketOptions, KEEP_ALIVE, type KeepAlive } from './frame-socket.js';
import { AnswerReader, type LinkHeaders, requestText, type UpgradeRequest } from './handshake.js';
import { HANDSHAKE_BYTES_MAX, LINK_HANDSHAKE_MS } from './link.js';
import { ThroughputProbe } from './throughput.js';

/** What becomes of the frames of one connection. */
export type LaneEvents = Omit<FrameSocketOptions, 'socket' | 'keepAlive'>;

export interface DialOptions extends UpgradeRequest {
  readonly keepAlive?: KeepAlive | undefined;
  /** PEM certificates that an `https:` peer must be signed by; the system's when absent. */
  readonly tlsCa?: string | undefined;
  readonly events: LaneEvents;
  /** The peer has switched protocols; frames follow. */
  onOpen(headers: LinkHeaders): void;
  /** Rate at which a large packet came in, Mbit/s. */
  onThroughput?(mbitPerS: number): void;
}

/** `events.closed` says why the peer refused, if it did. Throws nothing: whatever goes wrong closes the connection. */
export function dialSocket(options: DialOptions): FrameSocket {
  return new DialledSocket(options).frames;
}

/** What connections join, once they are open. */
export interface Lanes {
  add(open: (events: LaneEvents) => FrameSocket): FrameSocket;
}

export interface LaneDialOptions extends Omit<DialOptions, 'events' | 'onOpen'> {
  /** Open; `join` gives it to its lanes, which must happen before this returns. */
  onOpen(headers: LinkHeaders, join: (lanes: Lanes) => void): void;
  /** It never opened. */
  onFailed(reason: string): void;
}

/** Dials a connection that has no taker before it is open. */
export function dialLane(options: LaneDialOptions): FrameSocket {
  let taker: LaneEvents | null = null;
  const frames = dialSocket({
    ...options,
    events: {
      onFrame: (frame) => taker?.onFrame(frame),
      onWritable: () => taker?.onWritable?.(),
      onRtt: (rttMs) => taker?.onRtt?.(rttMs),
      onClosed: (reason) => (taker === null ? options.onFailed(reason) : taker.onClosed(reason)),
    },
    onOpen: (headers) =>
      options.onOpen(headers, (lanes) => {
        lanes.add((events) => {
          taker = events;
          return frames;
        });
      }),
  });
  return frames;
}

class DialledSocket {
  readonly frames: FrameSocket;
  readonly #options: DialOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #throughput: ThroughputProbe | null;
  #answer: AnswerReader | null = new AnswerReader();
  #refusal: string | null = null;

  constructor(options: DialOptions) {
    this.#options = options;
    const { events, onThroughput } = options;
    this.#throughput = onThroughput === undefined ? null : new ThroughputProbe(onThroughput);
    const socket = this.#dial();
    this.frames = new FrameSocket({
      ...events,
      socket,
      keepAlive: options.keepAlive ?? KEEP_ALIVE,
      onClosed: (reason) => {
        clearTimeout(this.#timer);
        events.onClosed(this.#refusal ?? reason);
      },
    });
    this.#timer = setTimeout(() => this.frames.close('the upgrade was not answered in time'), LINK_HANDSHAKE_MS);
    socket.write(requestText(options));
  }

  #dial(): Socket {
    const { address, tlsCa } = this.#options;
    // The first buffer is asked for inside connect(), before there is a decoder; it takes (part of) the answer.
    const first = Buffer.allocUnsafeSlow(HANDSHAKE_BYTES_MAX);
    const onread = {
      buffer: () => this.frames?.decoder.readTarget() ?? first,
      callback: (count: number, target: Uint8Array) => {
        this.frames.ingest(() => {
          if (this.#answer !== null) this.#readAnswer(Buffer.from(target.buffer, target.byteOffset, count));
          else this.#read(count, () => this.frames.decoder.filled(count, target));
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
      ...(tlsCa === undefined ? {} : { ca: tlsCa }),
    });
    socket.on('data', (chunk: Buffer) => {
      this.frames.ingest(() => {
        if (this.#answer !== null) this.#readAnswer(chunk);
        else this.#read(chunk.length, () => this.frames.decoder.push(chunk));
      });
    });
    return socket;
  }

  #read(count: number, feed: () => void): void {
    if (this.#throughput === null) feed();
    else this.#throughput.read(count, this.frames.decoder, feed);
  }

  #readAnswer(chunk: Buffer): void {
    const answer = this.#answer!.push(chunk);
    if (answer === undefined) return;
    if (answer.kind === 'refused') {
      this.#refusal = answer.reason;
      if (answer.complete) this.frames.close(answer.reason);
      return;
    }
    clearTimeout(this.#timer);
    this.#answer = null;
    this.frames.speak();
    this.#options.onOpen(answer.headers);
    this.frames.decoder.push(answer.rest);
  }
}
