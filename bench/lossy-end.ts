/**
 * One end of a lossy path, in a process of its own: `source` makes packets at a rate, `sink` takes the time of each.
 * usage: lossy-end.js JSON of EndOptions. Says `ready` (source of a link, sink of posts: it listens), begins on `go`; the
 * sink sends its figures at the end.
 * Both ends read the machine's monotonic clock, so one-way times need no correction.
 */
import { Agent, createServer, request } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { helloOf } from '#src/links/handshake.js';
import type { LinkPacket } from '#src/links/link.js';
import { LinkReceiver } from '#src/links/link-receiver.js';
import { LinkSender } from '#src/links/link-sender.js';
import { OutgoingLanes } from '#src/links/outgoing-lanes.js';
import { acceptLink, groupOf, openLane, type ServedSocket, socketDial, transportOf } from '#src/links/upgrade.js';
import { systemClock } from '#src/std/clock.js';
import { silentLogger } from '#src/std/logger.js';
import { quantile } from '#src/std/quantile.js';

export type LossyTransport = 'post' | 'stream' | 'link';

export interface EndOptions {
  readonly role: 'source' | 'sink';
  readonly transport: LossyTransport;
  /** Where the listening end listens. */
  readonly host: string;
  readonly port: number;
  readonly fps: number;
  readonly packetBytes: number;
  /** Not counted, ms: windows open, a link joins its connections. */
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface EndFigures {
  readonly fps: number;
  readonly p50: number;
  readonly p99: number;
}

const PATH = '/v1/sessions/1/handlers/1/outputs/0/links/2.0';
const LINK = { source_handler: 1, source_output: 0, target_handler: 2, target_input: 0 };
const clock = systemClock();

/** Packets that may wait before a post, the oldest are dropped: as many as a link under `latest` has under way. */
const POST_QUEUE_PACKETS = 20;

const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

function packetOf(packetBytes: number): Buffer {
  const data = Buffer.alloc(packetBytes, 7);
  data.writeDoubleLE(monotonicMs(), 0);
  return data;
}

/** Calls `emit` at the rate for the whole of the measurement; a late turn does not shift those that follow. */
async function emitAll(options: EndOptions, emit: (sequence: number) => void): Promise<void> {
  const beginMs = monotonicMs();
  const count = ((options.warmUpMs + options.measureMs) / 1000) * options.fps;
  for (let sequence = 0; sequence < count; sequence++) {
    await sleep(Math.max(0, beginMs + (sequence * 1000) / options.fps - monotonicMs()));
    emit(sequence);
  }
}

class Sink {
  readonly #options: EndOptions;
  readonly #delaysMs: number[] = [];
  #beginMs = Number.POSITIVE_INFINITY;

  constructor(options: EndOptions) {
    this.#options = options;
  }

  begin(): void {
    this.#beginMs = monotonicMs() + this.#options.warmUpMs;
  }

  take(data: Buffer): void {
    const nowMs = monotonicMs();
    const { measureMs } = this.#options;
    if (nowMs < this.#beginMs || nowMs >= this.#beginMs + measureMs) return;
    this.#delaysMs.push(nowMs - data.readDoubleLE(0));
  }

  figures(): EndFigures {
    const delays = this.#delaysMs;
    const fps = (delays.length / this.#options.measureMs) * 1000;
    return { fps, p50: quantile(delays, 0.5), p99: quantile(delays, 0.99) };
  }
}

/** Serves a link; `stream` says that it has one connection only. */
function serveSender(options: EndOptions, sender: LinkSender): Promise<void> {
  const server = createServer();
  server.on('upgrade', (incoming, socket, head) => {
    const served: ServedSocket = { socket: socket as Socket, headers: incoming.headers, head, clock };
    if (options.transport === 'link') acceptLink({ ...served, sender });
    else acceptOneConnection(served, sender);
  });
  return new Promise((resolve) => server.listen(options.port, options.host, resolve));
}

function acceptOneConnection(served: ServedSocket, sender: LinkSender): void {
  const { socket, headers } = served;
  let begin = (): void => {};
  sender.attach(helloOf(headers), (events) => {
    const lanes = new OutgoingLanes({ transport: transportOf(socket), group: groupOf(headers), clock, events });
    begin = openLane(served, lanes, { 'x-link-settled': sender.settled, 'x-link-stripes': 1 });
    return lanes;
  });
  begin();
}

async function linkSource(options: EndOptions): Promise<(sequence: number) => void> {
  const sender = new LinkSender({ handlerId: 1, delivery: 'latest', clock });
  await serveSender(options, sender);
  return (sequence) => {
    const payload = { type: 'bytes', data: packetOf(options.packetBytes) } as const;
    sender.send({ kind: 'data', sequence, timestamp: clock.now(), deadline: 0, payload, metadata: {} });
  };
}

function linkSink(options: EndOptions, sink: Sink): void {
  const address = { kind: 'http', url: `http://${options.host}:${options.port}` } as const;
  const onPacket = (packet: LinkPacket): void => {
    if (packet.kind === 'data' && packet.payload.type === 'bytes') sink.take(packet.payload.data);
  };
  const dial = socketDial({ address, path: PATH, token: null, clock });
  const common = { clock, logger: silentLogger, generation: 0, settled: null };
  new LinkReceiver({ link: LINK, delivery: 'latest', dial, onPacket, ...common }).start();
}

/** One POST at a time on one connection. */
function postSource(options: EndOptions): (sequence: number) => void {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const waiting: Buffer[] = [];
  let busy = false;
  const next = (): void => {
    const data = waiting.shift();
    busy = data !== undefined;
    if (data === undefined) return;
    const post = request({ host: options.host, port: options.port, method: 'POST', agent }, (response) => {
      response.resume().on('end', next);
    });
    post.on('socket', (socket) => socket.setNoDelay(true));
    post.on('error', next);
    post.end(data);
  };
  return () => {
    waiting.push(packetOf(options.packetBytes));
    if (waiting.length > POST_QUEUE_PACKETS) waiting.shift();
    if (!busy) next();
  };
}

function postSink(options: EndOptions, sink: Sink): Promise<void> {
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      sink.take(Buffer.concat(chunks));
      response.end();
    });
  });
  return new Promise((resolve) => server.listen(options.port, options.host, resolve));
}

const go = (): Promise<void> => new Promise((resolve) => process.once('message', () => resolve()));

async function runSource(options: EndOptions): Promise<void> {
  const emit = options.transport === 'post' ? postSource(options) : await linkSource(options);
  process.send!('ready');
  await go();
  await emitAll(options, emit);
}

async function runSink(options: EndOptions): Promise<void> {
  const sink = new Sink(options);
  if (options.transport === 'post') await postSink(options, sink);
  else linkSink(options, sink);
  process.send!('ready');
  await go();
  sink.begin();
  await sleep(options.warmUpMs + options.measureMs);
  process.send!(sink.figures());
}

process.once('disconnect', () => process.exit(0));
const options = JSON.parse(process.argv[2]!) as EndOptions;
await (options.role === 'source' ? runSource(options) : runSink(options));
