/**
 * Words shared by both ends of a link: what flows on it, the handshake, the interfaces that keep sender and receiver
 * apart from the transport under them (socket or memory), and every bound of the data plane with its reason.
 *
 * Invariant of every link: it carries each sequence exactly once and in order, as a data packet or inside a run of
 * markers. So a hole in the numbers can only mean that a handler host died, and the receiver accounts it as `failover`.
 */
import { LATEST_WINDOW_PACKETS } from '../contracts/limits.js';
import type { DataPacket, DropPacket, EndPacket, Packet } from '../contracts/packet.js';

/** Drop markers of consecutive sequences with one cause travel as one run: `first` (default `sequence`) to `sequence`. */
export type LinkDrop = DropPacket & { readonly first?: number };

/** The handler gave no output for `first`..`sequence`; nothing was lost, but whoever waits for them need not. */
export interface SkipPacket {
  readonly kind: 'skip';
  readonly sequence: number;
  readonly first?: number;
  readonly timestamp: number;
  readonly deadline: number;
}

export type LinkPacket = DataPacket | LinkDrop | SkipPacket | EndPacket;

/** The first sequence that a packet or run of markers accounts for. */
export function firstOf(packet: LinkPacket | Packet): number {
  return 'first' in packet && packet.first !== undefined ? packet.first : packet.sequence;
}

/** What the receiving end says of itself when it connects. -1 = nothing yet. */
export interface LinkHello {
  /** `all`: highest sequence whose outputs are settled to the last sink. `latest`: highest received. Resend what follows. */
  readonly after: number;
  /** Highest sequence received; lower ones that come again are dropped. */
  readonly received: number;
  /** Generation of the receiver's plan: a host that was replaced cannot take the link back. */
  readonly generation: number;
}

/** Cumulative, from receiver to sender. `settled` may be forgotten; both may run ahead of what was sent (joins). */
export interface LinkAck {
  readonly settled: number;
  readonly received: number;
}

export type LinkTransport = 'tcp' | 'unix' | 'in_host';

/** How a packet arrived. */
export interface Arrival {
  /** Bytes on the wire; null when it was passed by reference. */
  readonly bytes: number | null;
  /** Sender's clock when it was written, s. */
  readonly sentAt: number;
  /** Gives the payload's memory back for the next packets; only when nobody holds any of it. It need not be called. */
  readonly release?: (() => void) | undefined;
}

/** A live connection as the sender sees it. */
export interface OutgoingChannel {
  readonly transport: LinkTransport;
  /** False while enough waits inside this process already; `OutgoingEvents.writable` follows. */
  writable(): boolean;
  /** Bytes on the wire, null by reference. Throws when the packet has no valid form on the wire. */
  write(packet: LinkPacket): number | null;
  close(reason: string): void;
}

export interface OutgoingEvents {
  ack(ack: LinkAck): void;
  writable(): void;
  /** The other end says nothing to what it was sent. */
  silent?(): void;
  closed(reason: string): void;
}

/** A connection as the receiver sees it, from the moment of dialling. */
export interface IncomingChannel {
  readonly transport: LinkTransport;
  ack(ack: LinkAck): void;
  close(reason: string): void;
}

export interface IncomingEvents {
  /** The handshake is through. `settled`: what the sender knows the target (any earlier host of it) to have settled. */
  open(settled: number): void;
  packet(packet: LinkPacket, arrival: Arrival): void;
  /** A round trip to the sender, ms; behind queued data it is longer than the path's own. */
  rtt?(rttMs: number): void;
  /** The rate at which a large packet came in, Mbit/s. */
  throughput?(mbitPerS: number): void;
  /** Comes exactly once, also when the connection never opened. Never called from inside the dial itself. */
  closed(reason: string): void;
}

/** Connects to the sending end. */
export type Dial = (hello: LinkHello, events: IncomingEvents) => IncomingChannel;

const KiB = 1024;

/** Runs of markers that one sender keeps under `latest` while nobody takes them; beyond it causes are merged, counts kept. */
export const MARKER_RUNS_MAX = 1024;

/** Bytes that may wait in a socket's user-space buffer before the sender holds back: two raw 640x480 frames keep it busy. */
export const SOCKET_BUFFER_BYTES = 2048 * KiB;

/** Scratch for reads of headers and small packets, bytes; payloads with more than this to come are read in place. */
export const READ_SCRATCH_BYTES = 64 * KiB;

/**
 * A receiver acknowledges when so much has come since it last did, or after the time below: a quarter of the smaller
 * window, and half of what a sender lets wait, so that it never stands still for want of an acknowledgement.
 */
export const ACK_PACKETS = LATEST_WINDOW_PACKETS / 4;
export const ACK_BYTES = SOCKET_BUFFER_BYTES / 2;

/** An acknowledgement waits for company this long, ms: each one costs both ends a system call and wakes the sender. */
export const ACK_DELAY_MS = 2;

/** Each end says something at least this often, ms. */
export const LINK_PING_MS = 1000;

/** A peer that was silent for this long is taken for dead (its machine or the path is gone), ms: five pings. */
export const LINK_DEAD_MS = 5000;

/** The upgrade must be answered within this, ms; hosts that are busy loading models answer late. */
export const LINK_HANDSHAKE_MS = 5000;

/** Longest answer to an upgrade request that is read, bytes. */
export const HANDSHAKE_BYTES_MAX = 16 * KiB;

/** First and longest pause before a receiver dials again, ms: news at once, no storm while a machine is away. */
export const RECONNECT_BASE_MS = 20;
export const RECONNECT_MAX_MS = 1000;

/** Values that percentiles of a link or handler are taken from. */
export const STATS_WINDOW = 512;
