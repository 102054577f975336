/**
 * What the links bench asks of every transport: two ends in two processes, one of which listens. The payload is the same
 * buffer again and again; `stampMs` is the machine's monotonic time at sending (the same clock in all processes), or 0
 * when nobody asks how long it took.
 */

/** Saturation, or one packet each 1/30 s that may be dropped when it is too old. */
export type Pace = 'saturated' | 'paced';

export interface SendingEnd {
  /** Where it listens; empty when it dials. */
  readonly address: string;
  /** Takes one packet. A promise when the next one must wait. */
  send(data: Buffer, stampMs: number, pace: Pace): Promise<unknown> | undefined;
}

export interface ReceivingEnd {
  readonly address: string;
}

export type Arrived = (stampMs: number, bytes: number) => void;

export interface Transport {
  readonly name: string;
  readonly listens: 'sender' | 'receiver';
  /** `address`: where the other end listens; empty when this one does. */
  send(address: string): Promise<SendingEnd>;
  receive(address: string, arrived: Arrived): Promise<ReceivingEnd>;
  /** Both ends in one process. */
  readonly oneProcess?: boolean;
}

/** Monotonic time of the machine, ms. */
export function nowMs(): number {
  const [s, ns] = process.hrtime();
  return s * 1000 + ns / 1e6;
}

/** Bytes a sender of any transport lets wait in its own process: the link's own bound. */
export const WAITING_BYTES_MAX = 2 * 1024 * 1024;

/** Where the stamp lies in the payload of transports that have no header for it. */
export function stamped(data: Buffer, stampMs: number): Buffer {
  data.writeDoubleLE(stampMs, 0);
  return data;
}
