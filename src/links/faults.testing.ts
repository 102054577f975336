/** A link over real sockets whose path can be broken, and the book that its packets are entered in. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Delivery } from '../contracts/packet.js';
import { systemClock } from '../std/clock.js';
import { type Deferred, deferred } from '../std/deferred.js';
import type { KeepAlive } from './frame-socket.js';
import type { SocketAddress } from './handshake.js';
import { firstOf, type LinkPacket } from './link.js';
import type { LinkReceiver } from './link-receiver.js';
import type { LinkSender } from './link-sender.js';
import { Shaper, type ShaperOptions } from './shaper.js';
import {
  bytesPacket,
  endPacket,
  LINK_PATH,
  type LinkServer,
  newReceiver,
  newSender,
  serveLink,
} from './socket-link.testing.js';
import { socketDial } from './upgrade.js';

export type Transport = 'tcp' | 'unix';

/** Enters each sequence as `delivered` or by the reason of its drop, and throws when one comes twice, torn or out of order. */
export class Ledger {
  readonly entries: string[] = [];
  readonly ended: Deferred<void> = deferred();

  take(packet: LinkPacket): void {
    try {
      this.#enter(packet);
    } catch (error) {
      this.ended.reject(error);
      throw error;
    }
  }

  count(entry: string): number {
    return this.entries.filter((one) => one === entry).length;
  }

  #enter(packet: LinkPacket): void {
    if (packet.kind === 'end') {
      this.ended.resolve();
      return;
    }
    const first = firstOf(packet);
    if (first !== this.entries.length) throw new Error(`${first} came where ${this.entries.length} should`);
    if (packet.kind === 'data' && !isContent(packet.payload.type === 'bytes' ? packet.payload.data : null, first)) {
      throw new Error(`the content of ${first} is torn`);
    }
    for (let sequence = first; sequence <= packet.sequence; sequence++) {
      this.entries.push(packet.kind === 'drop' ? packet.reason : packet.kind === 'data' ? 'delivered' : packet.kind);
    }
  }
}

/** Content that tells its sequence. */
export function contentOf(sequence: number, bytes: number): Buffer {
  const data = Buffer.alloc(8 + bytes, sequence & 0xff);
  data.writeDoubleLE(sequence, 0);
  return data;
}

function isContent(data: Buffer | null, sequence: number): boolean {
  return data?.equals(contentOf(sequence, data.length - 8)) ?? false;
}

export interface BreakableOptions {
  readonly delivery: Delivery;
  readonly transport?: Transport;
  readonly shaper?: ShaperOptions;
  readonly keepAlive?: KeepAlive;
}

/** Sender, path and receiver; what arrives is settled at once. */
export class BreakableLink {
  readonly ledger = new Ledger();
  readonly sender: LinkSender;
  readonly shaper: Shaper;
  readonly receiver: LinkReceiver;
  readonly #server: LinkServer;
  readonly #settledUpTo = new Map<number, Deferred<void>>();

  static async open(options: BreakableOptions): Promise<BreakableLink> {
    const { delivery, transport = 'tcp', keepAlive } = options;
    const directory = transport === 'unix' ? mkdtempSync(join(tmpdir(), 'link-')) : null;
    const path = (name: string): string | undefined => (directory === null ? undefined : join(directory, name));
    const server = await serveLink(() => link.sender, path('far'), keepAlive);
    const shaper = new Shaper(options.shaper);
    const near = path('near');
    const address = await shaper.forward(server.address, near === undefined ? {} : { path: near });
    const link: BreakableLink = new BreakableLink(delivery, server, shaper, dialTo(address, keepAlive));
    return link;
  }

  private constructor(delivery: Delivery, server: LinkServer, shaper: Shaper, dial: ReturnType<typeof dialTo>) {
    this.#server = server;
    this.shaper = shaper;
    this.sender = newSender({
      delivery,
      onSettled: (settled) => {
        for (const [sequence, { resolve }] of this.#settledUpTo) if (sequence <= settled) resolve();
      },
    });
    this.receiver = newReceiver({
      delivery,
      dial,
      onPacket: (packet) => {
        this.ledger.take(packet);
        this.receiver.settle(packet.sequence);
      },
    });
  }

  /** Sends `count` packets and the end, as fast as the window allows, or when `pace` says. */
  async send(count: number, bytesOf: (sequence: number) => number, pace?: () => Promise<unknown>): Promise<void> {
    for (let sequence = 0; sequence < count; sequence++) {
      await pace?.();
      await this.sender.room();
      this.sender.send(bytesPacket(sequence, contentOf(sequence, bytesOf(sequence))));
    }
    await this.sender.room();
    this.sender.send(endPacket(count));
  }

  /** The end has come, and its acknowledgement is back. */
  async settled(end: number): Promise<void> {
    await this.ledger.ended.promise;
    if (this.sender.settled >= end) return;
    const waiting = deferred<void>();
    this.#settledUpTo.set(end, waiting);
    await waiting.promise;
  }

  async close(): Promise<void> {
    this.receiver.close();
    this.sender.close();
    await this.shaper.close();
    await this.#server.close();
  }
}

export function dialTo(address: SocketAddress, keepAlive?: KeepAlive) {
  return socketDial({
    address,
    path: LINK_PATH,
    token: null,
    clock: systemClock(),
    ...(keepAlive === undefined ? {} : { keepAlive }),
  });
}
