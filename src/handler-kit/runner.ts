/**
 * Runs one handler that has inputs: takes joined sets in order, one at a time (or as many as the handler's `concurrency`),
 * and puts the outcome of every sequence, in order, on every output link (or, at a sink, into the ledger).
 *
 *   running --the end came through--> ended;  any --close--> closed
 *
 * Invariants: an error of the handler costs the packet, never the stream; each sequence gets one outcome; under `all` a
 * sequence is settled towards the inputs only when every output link says that it is settled to the last sink (a sink:
 * when it was processed), so a killed host loses nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { OrchestratorError } from '../contracts/errors.js';
import type { HandlerStats } from '../contracts/node.js';
import type { DataPacket, Delivery, DropReason, Payload } from '../contracts/packet.js';
import { payloadBytes } from '../links/codec.js';
import { type Arrival, firstOf, type LinkDrop, type LinkPacket, type SkipPacket } from '../links/link.js';
import type { LinkReceiver } from '../links/link-receiver.js';
import { sequencesOf } from '../links/link-sender.js';
import type { Clock } from '../std/clock.js';
import { type Deferred, deferred } from '../std/deferred.js';
import type { Logger } from '../std/logger.js';
import type { Account } from './account.js';
import type { Deadlines } from './deadlines.js';
import { type HandlerManifest, PacketDropped, type ProcessingHandler, type ProcessResult } from './define.js';
import { HandlerMeter } from './handler-meter.js';
import { type Finish, InOrder } from './in-order.js';
import { InputMemory } from './input-memory.js';
import { Join, type JoinedSet, type Outcome } from './join.js';
import { type LinkWindow, Outputs } from './outputs.js';
import type { Telemetry } from './telemetry.js';

/** A handler's message in a drop marker, characters. */
const ERROR_DETAIL_CHARS_MAX = 300;

export interface RunnerOptions<H> {
  readonly handlerId: number;
  readonly manifest: HandlerManifest;
  readonly handler: H;
  readonly delivery: Delivery;
  /** What the session allows from a packet's timestamp to its end, ms; under `latest` its life. null = for ever. */
  readonly latencyMsMax: number | null;
  /** Emulated speed, (0, 1]. */
  readonly speed: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  /** Kept by a source (what it emitted) and by a handler where packets end (what became of each). */
  readonly account: Account;
  readonly window?: LinkWindow;
  /** Kept up with what is at work. */
  readonly deadlines?: Deadlines;
}

export class HandlerRunner {
  readonly #options: RunnerOptions<ProcessingHandler>;
  readonly #join: Join;
  readonly #receivers: (LinkReceiver | undefined)[] = [];
  readonly #memory: InputMemory | null;
  readonly meter = new HandlerMeter();
  readonly outputs: Outputs;
  /** Every sequence at or below it has its outcome. */
  #handled: number;
  #settled: number;
  #begun = false;
  /** Sequence of the end, once it came through. */
  #ended: number | null = null;
  /** Sets inside process(), oldest first, with their sequences. */
  readonly #current = new Map<Deferred<ProcessResult>, number>();
  readonly #inOrder: InOrder;
  #wake = deferred<void>();
  readonly #closing = new AbortController();
  #activeMs = performance.now();
  /** When the last set was through, monotonic ms. */
  #throughMs = 0;

  constructor(options: RunnerOptions<ProcessingHandler>) {
    this.#options = options;
    const { handlerId, manifest, handler, delivery, clock } = options;
    this.startsAfter = handler.committed ?? null;
    this.#handled = this.#settled = this.startsAfter ?? -1;
    this.#inOrder = new InOrder(handler.concurrency ?? 1);
    this.#memory = handler.letsGoOfInputs === true ? new InputMemory() : null;
    this.#join = new Join({
      inputs: manifest.inputs.length,
      handlerId,
      delivery,
      clock,
      onDropped: (reason) => this.meter.dropped(reason),
    });
    this.outputs = new Outputs({
      handlerId,
      delivery,
      clock,
      settled: -1,
      window: options.window,
      onSettled: () => this.#updateSettled(),
      onSent: (packet, bytes) => options.telemetry.event(handlerId, packet.sequence, 'sent', bytes),
      onDropped: (reason) => this.meter.dropped(reason),
    });
    this.#join.raiseFloor(this.#handled);
    if (this.startsAfter !== null) options.account.settled(this.startsAfter);
    void this.#loop();
  }

  /** Packets end here: nothing is linked to it. */
  get #sink(): boolean {
    return this.outputs.count === 0;
  }

  /** Highest sequence settled at this handler and, over links that deliver `all`, everywhere behind it. */
  get settled(): number {
    return this.#settled;
  }

  /** Where the input links begin: known for sinks with durable output, otherwise their first packet tells. */
  readonly startsAfter: number | null;

  /** Highest sequence that this handler or those behind it have seen. */
  get last(): number {
    return Math.max(this.#handled, this.outputs.last, this.outputs.peersReceived);
  }

  get readySets(): number {
    return this.#join.readySets;
  }

  /** Not inside process(). */
  get resting(): boolean {
    return this.#current.size === 0;
  }

  /** Oldest sequence inside process(); null: none, or the handler bounds that itself. */
  get atWork(): number | null {
    if (this.#options.handler.hasOwnTimeout === true) return null;
    const [oldest = null] = this.#current.values();
    return oldest;
  }

  /** Nothing waits and nothing is being processed. */
  get idle(): boolean {
    return this.#join.idle && this.resting;
  }

  /** When something last arrived or was finished, monotonic ms. */
  get activeMs(): number {
    return this.#activeMs;
  }

  /** The receiving end that feeds an input; it is told what is settled. */
  setInput(index: number, receiver: LinkReceiver | undefined): void {
    this.#receivers[index] = receiver;
    this.#join.setDelivery(index, receiver?.delivery ?? this.#options.delivery);
    if (receiver !== undefined) this.#tellSettled(receiver);
  }

  /** The next packet of an input. `arrival` is null for packets that no link carried. */
  accept(index: number, packet: LinkPacket, arrival: Arrival | null): void {
    if (packet.kind === 'data' && arrival !== null) {
      this.#options.telemetry.event(this.#options.handlerId, packet.sequence, 'recv', arrival.bytes);
      this.#memory?.arrived(packet, arrival);
    }
    this.#activeMs = performance.now();
    this.#join.accept(index, packet);
    this.#wake.resolve();
  }

  /** An earlier host of this handler had settled everything up to `sequence`. */
  raiseFloor(sequence: number): void {
    this.#handled = Math.max(this.#handled, sequence);
    if (this.#sink) this.#options.account.settled(sequence);
    this.#settle(sequence);
  }

  /** A rejection that nobody handled came up: when one packet is at work here, it ends as an error. */
  failCurrent(error: unknown): boolean {
    if (this.#current.size !== 1) return false;
    for (const current of this.#current.keys()) current.reject(error);
    return true;
  }

  stats(): HandlerStats {
    return this.meter.stats(this.#join.waiting, performance.now());
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closing.abort();
    this.#wake.resolve();
    this.outputs.close();
    await this.#options.handler.close();
  }

  async #loop(): Promise<void> {
    while (!this.#closed) {
      const outcome = this.#join.take();
      if (outcome === undefined) {
        this.#wake = deferred();
        await this.#wake.promise;
        continue;
      }
      await this.#inOrder.add(this.#begin(outcome));
    }
  }

  async #begin(outcome: Outcome): Promise<Finish> {
    const finish = outcome.kind === 'set' ? await this.#processSet(outcome) : () => this.#passOn(outcome);
    return async () => {
      if (this.#closed) return;
      this.#accountForBeginning(outcome);
      await finish();
      if (this.#closed) return;
      this.#handled = Math.max(this.#handled, outcome.sequence);
      this.meter.lastSequence = outcome.sequence;
      this.#updateSettled();
      this.#activeMs = performance.now();
      const room = this.outputs.room();
      if (room !== undefined) await room;
    };
  }

  /**
   * Under `all` whoever feeds a sink keeps what is not settled here, so what lies before the first sequence of this
   * process was settled by an earlier one, maybe on a machine that died before it reported that.
   */
  #accountForBeginning(first: Outcome): void {
    if (this.#begun) return;
    this.#begun = true;
    const { account, delivery } = this.#options;
    const isFedByAll = this.#receivers.length > 0 && this.#receivers.every((one) => one?.delivery === 'all');
    if (!this.#sink || delivery !== 'all' || !isFedByAll) return;
    account.settled((first.kind === 'set' ? first.sequence : firstOf(first)) - 1);
  }

  #passOn(outcome: Exclude<Outcome, JoinedSet>): void | Promise<void> {
    return outcome.kind === 'end' ? this.#end(outcome) : this.#passMarker(outcome);
  }

  async #processSet(set: JoinedSet): Promise<Finish> {
    const { clock, telemetry, handlerId } = this.#options;
    const first = set.packets[0]!;
    this.meter.received += 1;
    if (first.deadline > 0 && clock.now() > first.deadline) {
      return () => this.#dropSet(first, 'late');
    }
    telemetry.event(handlerId, set.sequence, 'start');
    const startMs = clock.monotonicMs();
    this.#options.deadlines?.begin(first.deadline);
    const result = await this.#process(set.packets);
    this.#options.deadlines?.end(first.deadline);
    const busyMs = clock.monotonicMs() - startMs;
    await this.#slowDown(busyMs);
    return () => {
      telemetry.event(handlerId, set.sequence, 'end');
      if (result instanceof Error) return this.#dropSet(first, reasonOf(result), result);
      this.#served(set, startMs, busyMs);
      if (this.#sink) {
        this.meter.delivered((clock.now() - first.timestamp) * 1000, this.#options.latencyMsMax);
        this.#options.account.note('delivered', set.sequence, set.sequence);
      }
      this.#emit(first, result);
      this.#memory?.processed(set.packets, result.outputs);
    };
  }

  /** Where several sets are at work, the time of one counts from when the one before it was through: until then it waited. */
  #served(set: JoinedSet, beganMs: number, busyMs: number): void {
    const nowMs = this.#options.clock.monotonicMs();
    const startMs = Math.max(beganMs, this.#throughMs);
    const serviceMs = nowMs - startMs;
    this.#throughMs = nowMs;
    this.meter.served({ serviceMs, busyMs: Math.min(busyMs, serviceMs), queueMs: startMs - set.readyMs, nowMs });
  }

  /** The handler's result, or the error that its packet ends with. */
  async #process(packets: readonly DataPacket[]): Promise<ProcessResult | Error> {
    const current = deferred<ProcessResult>();
    this.#current.set(current, packets[0]!.sequence);
    try {
      const result = this.#options.handler.process(packets);
      if (result instanceof Promise) {
        result.then(current.resolve, current.reject);
        return this.#checked(await current.promise);
      }
      return this.#checked(result);
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    } finally {
      this.#current.delete(current);
      current.promise.catch(() => {});
    }
  }

  #checked(result: ProcessResult): ProcessResult {
    this.#options.manifest.outputs.forEach(({ name, emits }, index) => {
      const payload = result.outputs[index];
      if (payload === undefined) throw new Error(`no result for output ${index} (${name})`);
      if (payload !== null && payload.type !== emits) {
        throw new Error(`output ${index} (${name}) emits ${emits}, not ${payload.type}`);
      }
    });
    return result;
  }

  async #slowDown(busyMs: number): Promise<void> {
    const waitMs = busyMs * (1 / this.#options.speed - 1);
    if (waitMs <= 0) return;
    await sleep(waitMs, undefined, { signal: this.#closing.signal }).catch(() => {});
  }

  #emit(first: DataPacket, result: ProcessResult): void {
    const { sequence, timestamp, deadline } = first;
    const metadata = result.metadata === undefined ? first.metadata : { ...first.metadata, ...result.metadata };
    const header = { sequence, timestamp, deadline };
    for (const payload of result.outputs) if (payload != null) this.meter.sent(payloadBytes(payload));
    this.outputs.emit((output) => {
      const payload: Payload | null | undefined = result.outputs[output];
      return payload == null ? { kind: 'skip', ...header } : { kind: 'data', ...header, payload, metadata };
    });
  }

  #dropSet(first: DataPacket, reason: DropReason, error?: Error): void {
    const { sequence, timestamp, deadline } = first;
    const { handlerId, logger } = this.#options;
    this.meter.dropped(reason);
    const marker: LinkDrop = { kind: 'drop', sequence, timestamp, deadline, reason, handler_id: handlerId };
    if (error !== undefined && reason === 'error') {
      logger.warn({ handler_id: handlerId, sequence, error: error.message }, 'a packet was dropped by an error');
    }
    const detail = error?.message.slice(0, ERROR_DETAIL_CHARS_MAX);
    this.#passMarker(detail === undefined ? marker : { ...marker, detail });
  }

  #passMarker(marker: LinkDrop | SkipPacket): void {
    this.outputs.emitAll(marker);
    if (!this.#sink) return;
    const { account } = this.#options;
    const cause = marker.kind === 'skip' ? 'skipped' : `${marker.reason} ${marker.handler_id}`;
    this.meter.dropSeen(cause, sequencesOf(marker));
    if (marker.kind === 'skip') account.note('skipped', firstOf(marker), marker.sequence);
    else account.note(marker.reason, firstOf(marker), marker.sequence, marker.handler_id);
    if (marker.kind === 'drop') this.#tellDropped(marker);
  }

  #tellDropped({ first, ...marker }: LinkDrop): void {
    const { handler, handlerId, logger } = this.#options;
    try {
      for (let sequence = first ?? marker.sequence; sequence <= marker.sequence; sequence++) {
        handler.dropped?.({ ...marker, sequence });
      }
    } catch (error) {
      logger.error({ handler_id: handlerId, error: (error as Error).message }, 'dropped() failed');
    }
  }

  async #end(end: Extract<Outcome, { kind: 'end' }>): Promise<void> {
    const { handler, handlerId, logger } = this.#options;
    try {
      await handler.ended?.(end);
    } catch (error) {
      logger.error({ handler_id: handlerId, error: (error as Error).message }, 'ended() failed');
    }
    this.meter.ended = true;
    this.#ended = end.sequence;
    this.outputs.emitAll(end);
  }

  /** What is in the custody of nobody behind this handler; the end only when every link, also a `latest` one, has it. */
  #updateSettled(): void {
    const { outputs } = this;
    const inCustody = outputs.custody ?? this.#handled;
    const ended = this.#ended;
    const endIsUnderWay = ended !== null && outputs.count > 0 && outputs.settled < ended;
    this.#settle(endIsUnderWay ? Math.min(inCustody, ended - 1) : inCustody);
  }

  #settle(sequence: number): void {
    if (sequence <= this.#settled) return;
    this.#settled = sequence;
    this.#join.raiseFloor(sequence);
    for (const receiver of this.#receivers) if (receiver !== undefined) this.#tellSettled(receiver);
  }

  /** Under `latest` only the end waits for those behind. */
  #tellSettled(receiver: LinkReceiver): void {
    const hasEnded = this.#ended !== null && this.#settled >= this.#ended;
    if (receiver.delivery === 'all' || hasEnded) receiver.settle(this.#settled);
  }
}

/** A packet that waited too long for a shared model is late like any other; one that its process took along went with it. */
function reasonOf(error: Error): DropReason {
  if (error instanceof PacketDropped) return error.reason;
  const code = error instanceof OrchestratorError ? error.code : null;
  return code === 'DEADLINE_PASSED' ? 'late' : code === 'MODEL_EXITED' ? 'failover' : 'error';
}
