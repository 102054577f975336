/** Figures of a link or handler over bounded windows; nothing here grows with the number of packets. */
import { quantile } from '../std/quantile.js';
import { type Arrival, STATS_WINDOW } from './link.js';

/** The last `capacity` values, for percentiles. */
export class RecentValues {
  readonly #values: number[] = [];
  #next = 0;

  constructor(readonly capacity: number = STATS_WINDOW) {}

  add(value: number): void {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % this.capacity;
  }

  /** Null when there are none. */
  quantile(q: number): number | null {
    return this.#values.length === 0 ? null : quantile(this.#values, q);
  }

  clear(): void {
    this.#values.length = 0;
    this.#next = 0;
  }
}

/** Round trips and rates that a link's newest figures come from: 16 s of pings, two seconds of frames. */
const RECENT_RTTS = 16;
const RECENT_RATES = 64;

/** A link over one report period. */
export interface LinkPeriod {
  readonly packets: number;
  readonly bytes: number;
  /** Median, ms; null when nothing arrived. */
  readonly latencyMs: number | null;
  /** Shortest round trip, ms: what queued data adds is not the path's. Null when none was measured. */
  readonly rttMs: number | null;
  /** Median rate at which large packets came in, Mbit/s; null when none was large enough to tell. */
  readonly mbitPerS: number | null;
}

export class LinkMeter {
  packets = 0;
  bytes = 0;
  reconnects = 0;
  duplicates = 0;
  readonly latencyMs = new RecentValues();
  readonly rttMs = new RecentValues(RECENT_RTTS);
  readonly mbitPerS = new RecentValues(RECENT_RATES);
  readonly #periodLatencyMs = new RecentValues();
  readonly #periodMbitPerS = new RecentValues();
  #periodRttMs: number | null = null;
  #reportedPackets = 0;
  #reportedBytes = 0;

  add(arrival: Arrival, now: number): void {
    this.packets += 1;
    this.bytes += arrival.bytes ?? 0;
    const latency = (now - arrival.sentAt) * 1000;
    this.latencyMs.add(latency);
    this.#periodLatencyMs.add(latency);
  }

  addRtt(rttMs: number): void {
    this.rttMs.add(rttMs);
    this.#periodRttMs = Math.min(this.#periodRttMs ?? rttMs, rttMs);
  }

  addThroughput(mbitPerS: number): void {
    this.mbitPerS.add(mbitPerS);
    this.#periodMbitPerS.add(mbitPerS);
  }

  period(): LinkPeriod {
    const period = {
      packets: this.packets - this.#reportedPackets,
      bytes: this.bytes - this.#reportedBytes,
      latencyMs: this.#periodLatencyMs.quantile(0.5),
      rttMs: this.#periodRttMs,
      mbitPerS: this.#periodMbitPerS.quantile(0.5),
    };
    this.#reportedPackets = this.packets;
    this.#reportedBytes = this.bytes;
    this.#periodLatencyMs.clear();
    this.#periodMbitPerS.clear();
    this.#periodRttMs = null;
    return period;
  }
}
