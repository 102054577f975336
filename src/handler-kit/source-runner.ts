/**
 * Runs one source: numbers what it emits, and applies backpressure (`all`).
 *
 *   ready --run, and its receivers are there--> running --run() returned--> ended (the end packet is out)
 *   ready, running --silence--> silent (no end packet: the session may run again);  any --close--> closed
 *
 * Invariants: sequences are given once and in order. After a restart they continue: under `all` after what is settled
 * everywhere (receivers drop what they already have); under `latest`, where the old frames are gone, after what anybody
 * has received, and what lies between is accounted as `failover`. Under `all` the number of the next packet never jumps
 * while the source runs, because file sources read ahead by number.
 */
import type { HandlerStats } from '../contracts/node.js';
import { payloadBytes } from '../links/codec.js';
import type { LinkDrop, LinkHello, LinkPacket } from '../links/link.js';
import { deferred } from '../std/deferred.js';
import type { SourceControl, SourceHandler } from './define.js';
import { HandlerMeter } from './handler-meter.js';
import { Outputs } from './outputs.js';
import type { RunnerOptions } from './runner.js';

/** A source waits this long for its receivers before its first packet, ms; a camera must not wait for ever. */
export const SOURCE_ATTACH_WAIT_MS = 1000;

export interface SourceRunnerOptions extends RunnerOptions<SourceHandler> {
  /** Highest sequence settled everywhere by an earlier run, -1 at first. */
  readonly resumeAfter: number;
  /** run() threw: the source is broken and its host must be restarted. */
  onFailed(error: unknown): void;
}

export class SourceRunner {
  readonly #options: SourceRunnerOptions;
  readonly meter = new HandlerMeter();
  readonly outputs: Outputs;
  readonly #abort = new AbortController();
  #next: number;
  #running: Promise<void> | null = null;
  #silent = false;
  readonly #aborted = deferred<void>();

  constructor(options: SourceRunnerOptions) {
    this.#options = options;
    const { handlerId, delivery, clock, telemetry } = options;
    this.#next = options.resumeAfter + 1;
    this.#abort.signal.addEventListener('abort', () => this.#aborted.resolve(), { once: true });
    this.outputs = new Outputs({
      handlerId,
      delivery,
      clock,
      settled: options.resumeAfter,
      window: options.window,
      onSettled: () => {},
      onAttached: (hello) => this.#continueAfter(hello),
      onSent: (packet, bytes) => telemetry.event(handlerId, packet.sequence, 'sent', bytes),
      onDropped: (reason) => this.meter.dropped(reason),
    });
  }

  get settled(): number {
    return this.outputs.custody ?? this.outputs.settled;
  }

  get running(): boolean {
    return this.#running !== null && !this.meter.ended && !this.#silent;
  }

  /** Begins to emit; again is no error. */
  run(): void {
    if (this.#running !== null || this.#silent) return;
    const control: SourceControl = {
      nextSequence: () => this.#next,
      emit: (payload, metadata) => this.#emit(payload, metadata),
      signal: this.#abort.signal,
    };
    this.#running = this.#runToEnd(control);
  }

  /** Stops the source; resolves when it has stopped. The stream does not end: it may go on here or in another host. */
  async silence(): Promise<void> {
    this.#silent = true;
    this.#abort.abort();
    await this.#running;
  }

  stats(): HandlerStats {
    return this.meter.stats(0, performance.now());
  }

  async close(): Promise<void> {
    this.#abort.abort();
    this.outputs.close();
    await this.#options.handler.close();
  }

  async #runToEnd(control: SourceControl): Promise<void> {
    try {
      await this.#untilAttached();
      await this.#options.handler.run(control);
      if (!this.#abort.signal.aborted) this.#end();
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#options.onFailed(error);
    }
  }

  async #untilAttached(): Promise<void> {
    await Promise.race([this.outputs.untilAttached(SOURCE_ATTACH_WAIT_MS), this.#aborted.promise]);
    if (this.outputs.count > 0) this.#next = Math.max(this.#next, this.settled + 1);
  }

  async #emit(...[payload, metadata]: Parameters<SourceControl['emit']>): Promise<void> {
    if (this.#abort.signal.aborted || this.meter.ended) return;
    const { clock, delivery, latencyMsMax, handlerId, telemetry, account } = this.#options;
    const sequence = this.#next;
    this.#next = sequence + 1;
    const timestamp = clock.now();
    const deadline = delivery === 'latest' && latencyMsMax !== null ? timestamp + latencyMsMax / 1000 : 0;
    const header = { sequence, timestamp, deadline };
    this.meter.lastSequence = sequence;
    // From 0: whatever lies before was emitted by an earlier process, and is left out where that has told of it.
    account.note('emitted', 0, sequence);
    if ('skip' in payload) {
      this.meter.dropped('error');
      this.outputs.emitAll({ kind: 'drop', ...header, reason: 'error', handler_id: handlerId, detail: payload.skip });
    } else {
      telemetry.event(handlerId, sequence, 'start');
      telemetry.event(handlerId, sequence, 'end');
      const nowMs = clock.monotonicMs();
      this.meter.received += 1;
      this.meter.served({ serviceMs: 0, busyMs: 0, queueMs: 0, nowMs });
      this.meter.sent(payloadBytes(payload));
      const packet: LinkPacket = { kind: 'data', ...header, payload, metadata };
      this.outputs.emitAll(packet);
    }
    await this.#whenRoom();
  }

  /** A turn of the event loop at least: a source that never waits must not keep acknowledgements out. */
  async #whenRoom(): Promise<void> {
    const room = this.outputs.room();
    if (room === undefined) await new Promise<void>((resolve) => setImmediate(resolve));
    else await Promise.race([room, this.#aborted.promise]);
  }

  #continueAfter({ received }: LinkHello): void {
    if (this.#options.delivery === 'all' || received < this.#next || this.meter.ended) return;
    const timestamp = this.#options.clock.now();
    const lost: LinkDrop = {
      kind: 'drop',
      first: this.#next,
      sequence: received,
      timestamp,
      deadline: 0,
      reason: 'failover',
      handler_id: this.#options.handlerId,
    };
    this.#next = received + 1;
    this.#options.account.note('emitted', 0, received);
    this.outputs.emitAll(lost);
  }

  #end(): void {
    if (this.meter.ended) return;
    this.meter.ended = true;
    this.#options.account.note('emitted', 0, this.#next - 1);
    this.outputs.emitAll({ kind: 'end', sequence: this.#next, timestamp: this.#options.clock.now(), deadline: 0 });
  }
}
