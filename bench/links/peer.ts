/**
 * One end of one transport in a process of its own: says where it listens, sends when it is told to, and at each mark
 * tells what it has sent or received and which CPU time it has used so far.
 */
import { nowMs, type Pace, type SendingEnd } from './transport.js';
import { TRANSPORTS } from './transports.js';

export type ToPeer =
  | { readonly type: 'open'; readonly transport: string; readonly end: 'send' | 'receive'; readonly address: string }
  | { readonly type: 'run'; readonly bytes: number; readonly pace: Pace }
  | { readonly type: 'halt' }
  | { readonly type: 'mark' };

export interface Mark {
  readonly type: 'mark';
  readonly atMs: number;
  readonly cpuMs: number;
  readonly sent: number;
  readonly received: number;
  /** One-way times since the last mark, ms; only when the flow is paced. */
  readonly latenciesMs: readonly number[];
}

export type FromPeer =
  | { readonly type: 'opened'; readonly address: string }
  | { readonly type: 'halted' }
  /** A handler host's report; only its cost matters here. */
  | { readonly type: 'report' }
  | Mark;

const FRAME_MS = 1000 / 30;
/** Packets sent before the event loop gets a turn, where the transport itself asks for none. */
const BURST = 256;
/** One-way times kept between two marks. */
const LATENCIES_MAX = 10_000;

class Peer {
  #end: SendingEnd | null = null;
  #running = false;
  #stopped: Promise<void> = Promise.resolve();
  #sent = 0;
  #received = 0;
  #latenciesMs: number[] = [];

  async take(message: ToPeer): Promise<FromPeer | null> {
    switch (message.type) {
      case 'open':
        return { type: 'opened', address: await this.#open(message) };
      case 'run':
        this.#running = true;
        this.#stopped = this.#run(Buffer.alloc(message.bytes, 7), message.pace);
        return null;
      case 'halt':
        this.#running = false;
        await this.#stopped;
        return { type: 'halted' };
      case 'mark':
        return this.#mark();
    }
  }

  async #open({ transport: name, end, address }: Extract<ToPeer, { type: 'open' }>): Promise<string> {
    const transport = TRANSPORTS.find((one) => one.name === name)!;
    if (end === 'send' || transport.oneProcess === true) this.#end = await transport.send(address);
    if (end === 'send' && transport.oneProcess !== true) return this.#end!.address;
    const opened = await transport.receive(address, (stampMs) => {
      this.#received += 1;
      if (stampMs > 0 && this.#latenciesMs.length < LATENCIES_MAX) this.#latenciesMs.push(nowMs() - stampMs);
    });
    return opened.address;
  }

  async #run(data: Buffer, pace: Pace): Promise<void> {
    if (pace === 'paced') await this.#pace(data);
    else await this.#saturate(data);
  }

  async #saturate(data: Buffer): Promise<void> {
    const end = this.#end!;
    while (this.#running) {
      let wait: Promise<unknown> | undefined;
      for (let count = 0; count < BURST && wait === undefined; count++) {
        wait = end.send(data, 0, 'saturated');
        this.#sent += 1;
      }
      await (wait ?? new Promise((resolve) => setImmediate(resolve)));
    }
  }

  async #pace(data: Buffer): Promise<void> {
    for (let dueMs = nowMs(); this.#running; dueMs += FRAME_MS) {
      await new Promise((resolve) => setTimeout(resolve, dueMs - nowMs()));
      await this.#end!.send(data, nowMs(), 'paced');
      this.#sent += 1;
    }
  }

  #mark(): Mark {
    const { user, system } = process.cpuUsage();
    const latenciesMs = this.#latenciesMs;
    this.#latenciesMs = [];
    const counts = { sent: this.#sent, received: this.#received };
    return { type: 'mark', atMs: nowMs(), cpuMs: (user + system) / 1000, ...counts, latenciesMs };
  }
}

const peer = new Peer();
process.on('message', async (message: ToPeer) => {
  const answer = await peer.take(message);
  if (answer !== null) process.send!(answer);
});
process.on('disconnect', () => process.exit(0));
