/** Figures of one handler: what its status shows, and what it needed in the current report period. All bounded. */
import type { HandlerStats } from '../contracts/node.js';
import type { DropReason } from '../contracts/packet.js';
import { RecentValues } from '../links/link-meter.js';

/** Seconds over which fps is counted. */
const FPS_WINDOW_S = 5;

/** First packets of a process that are in no profile. */
export const WARM_UP_PACKETS = 1;

/** Events per second over the last FPS_WINDOW_S, in buckets of a second. */
class Rate {
  readonly #counts = new Array<number>(FPS_WINDOW_S + 1).fill(0);
  #second = 0;
  #firstMs: number | null = null;

  add(nowMs: number): void {
    this.#firstMs ??= nowMs;
    this.#advance(nowMs);
    this.#counts[this.#second % this.#counts.length]! += 1;
  }

  perSecond(nowMs: number): number {
    if (this.#firstMs === null) return 0;
    this.#advance(nowMs);
    const total = this.#counts.reduce((sum, count) => sum + count, 0);
    const covered = FPS_WINDOW_S + (nowMs / 1000 - Math.floor(nowMs / 1000));
    return total / Math.max(1, Math.min(covered, (nowMs - this.#firstMs) / 1000));
  }

  #advance(nowMs: number): void {
    const second = Math.floor(nowMs / 1000);
    const steps = Math.min(this.#counts.length, second - this.#second);
    for (let step = 0; step < steps; step++) this.#counts[(second - step) % this.#counts.length] = 0;
    this.#second = Math.max(this.#second, second);
  }
}

/** Sums of one handler since the last profile sample. */
export interface ProfilePeriod {
  readonly packets: number;
  readonly serviceMs: number;
  readonly busyMs: number;
  readonly serviceMsP95: number;
  readonly queueMs: number;
  readonly outBytes: number;
  readonly emitted: number;
}

interface Sums {
  packets: number;
  serviceMs: number;
  busyMs: number;
  queueMs: number;
  outBytes: number;
  emitted: number;
}

const noSums = (): Sums => ({ packets: 0, serviceMs: 0, busyMs: 0, queueMs: 0, outBytes: 0, emitted: 0 });

export class HandlerMeter {
  received = 0;
  processed = 0;
  emitted = 0;
  busyMs = 0;
  serviceMs = 0;
  late = 0;
  lastSequence: number | null = null;
  ended = false;
  readonly #dropped: Record<string, number> = {};
  readonly #dropsSeen: Record<string, number> = {};
  readonly #rate = new Rate();
  readonly #serviceMs = new RecentValues();
  readonly #queueMs = new RecentValues();
  readonly #endToEndMs = new RecentValues();
  readonly #periodServiceMs = new RecentValues();
  #sums = noSums();

  dropped(reason: DropReason): void {
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + 1;
  }

  dropSeen(cause: string, count: number): void {
    this.#dropsSeen[cause] = (this.#dropsSeen[cause] ?? 0) + count;
  }

  /** One packet (or joined set) is through. `busyMs` is the handler's own time, `serviceMs` what it took altogether. */
  served(figures: { serviceMs: number; busyMs: number; queueMs: number; nowMs: number }): void {
    this.processed += 1;
    this.busyMs += figures.busyMs;
    this.serviceMs += figures.serviceMs;
    this.#rate.add(figures.nowMs);
    this.#serviceMs.add(figures.serviceMs);
    this.#queueMs.add(figures.queueMs);
    // Cold code and a model's first run: what the next packets need is not like that.
    if (this.processed <= WARM_UP_PACKETS) return;
    this.#periodServiceMs.add(figures.serviceMs);
    this.#sums.packets += 1;
    this.#sums.serviceMs += figures.serviceMs;
    this.#sums.busyMs += figures.busyMs;
    this.#sums.queueMs += figures.queueMs;
  }

  sent(bytes: number): void {
    this.emitted += 1;
    this.#sums.emitted += 1;
    this.#sums.outBytes += bytes;
  }

  /** A packet has come to its end; `latencyMsMax`: what the session allows, null when anything. */
  delivered(endToEndMs: number, latencyMsMax: number | null): void {
    this.#endToEndMs.add(endToEndMs);
    if (latencyMsMax !== null && endToEndMs > latencyMsMax) this.late += 1;
  }

  /** Sums since the last call; null when nothing was processed. */
  period(): ProfilePeriod | null {
    const sums = this.#sums;
    if (sums.packets === 0) return null;
    const period = { ...sums, serviceMsP95: this.#periodServiceMs.quantile(0.95) ?? 0 };
    this.#sums = noSums();
    this.#periodServiceMs.clear();
    return period;
  }

  stats(queue: number, nowMs: number): HandlerStats {
    return {
      received: this.received,
      processed: this.processed,
      emitted: this.emitted,
      dropped: { ...this.#dropped },
      fps: this.#rate.perSecond(nowMs),
      queue,
      service_ms_total: this.serviceMs,
      service_ms_p50: this.#serviceMs.quantile(0.5),
      service_ms_p95: this.#serviceMs.quantile(0.95),
      queue_ms_p50: this.#queueMs.quantile(0.5),
      queue_ms_p95: this.#queueMs.quantile(0.95),
      end_to_end_ms_p50: this.#endToEndMs.quantile(0.5),
      end_to_end_ms_p95: this.#endToEndMs.quantile(0.95),
      late: this.late,
      last_sequence: this.lastSequence,
      drops_seen: { ...this.#dropsSeen },
      ended: this.ended,
    };
  }
}
