/** Both ends of one transport, each in its own process, kept for the whole bench so that every round finds them warm. */
import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { quantile } from '#src/std/quantile.js';
import type { FromPeer, Mark, ToPeer } from './peer.js';
import type { Pace, Transport } from './transport.js';

const ENTRY = fileURLToPath(new URL('./peer.js', import.meta.url));
/** A figure is taken this long after a flow has begun, ms. */
const WARM_MS = 120;
const SATURATED_MS = 350;
/** 27 packets at 30 fps. */
const PACED_MS = 900;

class PeerProcess {
  readonly #child: ChildProcess;

  constructor() {
    this.#child = fork(ENTRY, [], { serialization: 'advanced' });
  }

  tell(message: ToPeer): void {
    this.#child.send(message);
  }

  /** Its answer; reports that come meanwhile are thrown away. */
  ask<T extends FromPeer['type']>(message: ToPeer, type: T): Promise<Extract<FromPeer, { type: T }>> {
    return new Promise((resolve, reject) => {
      const ended = (code: number | null): void => reject(new Error(`a peer ended with ${code}`));
      const take = (answer: FromPeer): void => {
        if (answer.type !== type) return;
        this.#child.off('message', take);
        this.#child.off('exit', ended);
        resolve(answer as Extract<FromPeer, { type: T }>);
      };
      this.#child.on('message', take);
      this.#child.once('exit', ended);
      this.tell(message);
    });
  }

  /** Without its parent it exits by itself. */
  close(): void {
    if (this.#child.connected) this.#child.disconnect();
  }
}

export class Pair {
  readonly #transport: Transport;
  readonly #sender = new PeerProcess();
  readonly #receiver: PeerProcess;

  constructor(transport: Transport) {
    this.#transport = transport;
    this.#receiver = transport.oneProcess === true ? this.#sender : new PeerProcess();
  }

  async open(): Promise<void> {
    const { name: transport, listens } = this.#transport;
    const open = (peer: PeerProcess, end: 'send' | 'receive', address: string) =>
      peer.ask({ type: 'open', transport, end, address }, 'opened');
    if (this.#sender === this.#receiver) await open(this.#sender, 'send', '');
    else if (listens === 'sender')
      await open(this.#receiver, 'receive', (await open(this.#sender, 'send', '')).address);
    else await open(this.#sender, 'send', (await open(this.#receiver, 'receive', '')).address);
  }

  /** Packets per second, and CPU of both ends per packet. */
  async saturate(bytes: number): Promise<{ packets: number; cpu: number }> {
    const { before, after } = await this.#flow(bytes, 'saturated', SATURATED_MS);
    const received = after.receiver.received - before.receiver.received;
    const sent = after.sender.sent - before.sender.sent;
    const cpuOf = (end: 'sender' | 'receiver') => after[end].cpuMs - before[end].cpuMs;
    const seconds = (after.receiver.atMs - before.receiver.atMs) / 1000;
    const together = this.#sender === this.#receiver;
    return {
      packets: received / seconds,
      cpu: cpuOf('receiver') / received + (together ? 0 : cpuOf('sender') / sent),
    };
  }

  /** One way at 30 fps, ms. */
  async pace(bytes: number): Promise<{ p50: number; p99: number }> {
    const { after } = await this.#flow(bytes, 'paced', PACED_MS);
    const { latenciesMs } = after.receiver;
    return { p50: quantile(latenciesMs, 0.5), p99: quantile(latenciesMs, 0.99) };
  }

  close(): void {
    this.#sender.close();
    this.#receiver.close();
  }

  async #flow(bytes: number, pace: Pace, ms: number) {
    this.#sender.tell({ type: 'run', bytes, pace });
    await sleep(WARM_MS);
    const before = await this.#mark();
    await sleep(ms);
    const after = await this.#mark();
    await this.#sender.ask({ type: 'halt' }, 'halted');
    return { before, after };
  }

  async #mark(): Promise<{ sender: Mark; receiver: Mark }> {
    const sender = this.#sender.ask({ type: 'mark' }, 'mark');
    if (this.#sender === this.#receiver) return { sender: await sender, receiver: await sender };
    const receiver = this.#receiver.ask({ type: 'mark' }, 'mark');
    return { sender: await sender, receiver: await receiver };
  }
}
