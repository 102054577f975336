/**
 * The connection of a worker: a program in any language that has joined a handler to answer its packets. The program
 * dials, with the same handshake as a link's and the same frames: data packets (and in the end the end) go to it, one
 * answer for each packet comes back (data, skip or drop, of the same sequence), pings and pongs go both ways.
 * There are no acks: an answer is one. Invariant: `onClosed` comes exactly once, and no answer after it.
 */
import { OrchestratorError } from '../contracts/errors.js';
import type { DataPacket, EndPacket } from '../contracts/packet.js';
import type { Clock } from '../std/clock.js';
import { FrameSocket, KEEP_ALIVE, type KeepAlive, type PeerFrame } from './frame-socket.js';
import { switchingText } from './handshake.js';
import { firstOf, type LinkDrop, type SkipPacket } from './link.js';
import type { ServedSocket } from './upgrade.js';

/** An accepted request with `Upgrade: orchestrator-link/1`. */
export type WorkerUpgrade = Pick<ServedSocket, 'socket' | 'headers' | 'head'>;

export type WorkerAnswer = DataPacket | LinkDrop | SkipPacket;

export interface WorkerLinkOptions {
  readonly upgrade: WorkerUpgrade;
  readonly clock: Clock;
  readonly keepAlive?: KeepAlive | undefined;
  /** What it throws closes the connection. */
  onAnswer(answer: WorkerAnswer): void;
  onClosed(reason: string): void;
}

export class WorkerLink {
  readonly #options: WorkerLinkOptions;
  readonly #frames: FrameSocket;
  #ordinal = 0;

  /** Answers the handshake. */
  constructor(options: WorkerLinkOptions) {
    this.#options = options;
    const { socket } = options.upgrade;
    socket.write(switchingText({}));
    this.#frames = new FrameSocket({
      socket,
      keepAlive: options.keepAlive ?? KEEP_ALIVE,
      onFrame: (frame) => options.onAnswer(answerOf(frame)),
      onClosed: (reason) => options.onClosed(reason),
    });
    this.#frames.speak();
  }

  /** Begins to read; not before the owner knows this link, because what came behind the request may already close it. */
  read(): void {
    this.#frames.read(this.#options.upgrade.head);
  }

  /** Throws LINK_PROTOCOL when the packet has no valid form on the wire. */
  write(packet: DataPacket | EndPacket): void {
    this.#frames.packet(packet, this.#options.clock.now(), this.#ordinal);
    this.#ordinal += 1;
  }

  close(reason: string): void {
    this.#frames.close(reason);
  }
}

function answerOf(frame: PeerFrame): WorkerAnswer {
  if (frame.kind !== 'packet') throw malformed('a program sent an acknowledgement; its answers are enough');
  const { packet } = frame;
  if (packet.kind === 'end') throw malformed('a program sent an end; it leaves by closing the connection');
  if (firstOf(packet) !== packet.sequence) throw malformed('a program answered a run; each packet has its own answer');
  return packet;
}

function malformed(message: string): OrchestratorError {
  return new OrchestratorError('LINK_PROTOCOL', message);
}
