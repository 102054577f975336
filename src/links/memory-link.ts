/**
 * Links without a socket: the way between handlers of one host (packets pass by reference), and the twin that tests cut
 * and delay. Sender and receiver are the same objects as over sockets; only the channel between them differs.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { Clock } from '../std/clock.js';
import type { Dial, IncomingChannel, IncomingEvents, LinkHello, OutgoingChannel, OutgoingEvents } from './link.js';
import type { LinkSender } from './link-sender.js';

export interface MemoryDialOptions {
  /** The sender to connect to; undefined while there is none (its host is down). */
  find(): LinkSender | undefined;
  readonly clock: Clock;
  /**
   * Tests: when what is in flight arrives (in order); in the next microtask when absent, so that it was sent before it is
   * received. What has not run when the link is cut is lost.
   */
  schedule?(deliver: () => void): void;
  /** Tests: the way to cut the connection that has just been made. */
  onConnection?(cut: () => void): void;
}

/** A dial that connects to a sender in this process. */
export function memoryDial(options: MemoryDialOptions): Dial {
  return (hello, events) => new MemoryConnection(options, hello, events);
}

class MemoryConnection implements IncomingChannel {
  readonly transport = 'in_host';
  readonly #options: MemoryDialOptions;
  readonly #incoming: IncomingEvents;
  #outgoing: OutgoingEvents | null = null;
  #alive = true;

  constructor(options: MemoryDialOptions, hello: LinkHello, incoming: IncomingEvents) {
    this.#options = options;
    this.#incoming = incoming;
    queueMicrotask(() => this.#handshake(hello));
  }

  ack(ack: { settled: number; received: number }): void {
    this.#later(() => this.#outgoing?.ack(ack));
  }

  close(reason: string): void {
    this.#end(reason);
  }

  #handshake(hello: LinkHello): void {
    if (!this.#alive) return;
    try {
      const sender = this.#options.find();
      if (sender === undefined) throw new OrchestratorError('HANDLER_NOT_FOUND', 'no handler there');
      sender.attach(hello, (outgoing) => {
        this.#outgoing = outgoing;
        const settled = sender.settled;
        this.#later(() => this.#incoming.open(settled));
        return this.#sendingEnd();
      });
      this.#options.onConnection?.(() => this.#end('cut'));
    } catch (error) {
      this.#end((error as Error).message);
    }
  }

  #sendingEnd(): OutgoingChannel {
    return {
      transport: 'in_host',
      writable: () => true,
      write: (packet) => {
        const sentAt = this.#options.clock.now();
        this.#later(() => this.#incoming.packet(packet, { bytes: null, sentAt }));
        return null;
      },
      close: (reason) => this.#end(reason),
    };
  }

  #later(deliver: () => void): void {
    const { schedule = queueMicrotask } = this.#options;
    schedule(() => {
      if (this.#alive) deliver();
    });
  }

  #end(reason: string): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#outgoing?.closed(reason);
    this.#incoming.closed(reason);
  }
}
