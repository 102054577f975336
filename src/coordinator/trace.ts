/**
 * Where the milliseconds of packets went. Pure: events of packets and the plan in, the way of each packet out.
 * A way is walked backwards from the sink: the newest arrival before the start of a handler is the input that came last,
 * so at a join the walk follows what the handler waited for. Its steps have no gap between them and sum to the end-to-end
 * time exactly: compute (start to end), send (end to sent), link (sent to recv), queue (recv to start).
 * The surprise: an event does not say on which link it happened. A `sent` and a `recv` of one sequence belong together
 * when they have the same size on the wire (by reference: none); among several, the newest before the arrival.
 */
import type { Percentiles, Trace, TracedPacket, TraceStep } from '../contracts/trace.js';
import { quantile } from '../std/quantile.js';

/** What the plan says; names are for people. */
export interface TracePlan {
  readonly handlers: readonly {
    readonly handler_id: number;
    readonly handler_name: string;
    readonly node_name: string;
  }[];
  readonly links: readonly { readonly source_handler: number; readonly target_handler: number }[];
  readonly sinks: readonly number[];
}

/** A row of packet_info; `timestamp` in s. */
export interface PacketEvent {
  readonly handler_id: number;
  readonly sequence: number;
  readonly event: 'start' | 'end' | 'sent' | 'recv';
  readonly timestamp: number;
  readonly size: number | null;
}

export interface TraceOptions {
  readonly session_id: number;
  readonly plan: TracePlan;
  readonly events: Iterable<PacketEvent>;
  readonly since: number | null;
  readonly slowest: number;
  readonly truncated: boolean;
}

/** An arrival may seem to precede its departure by this, s: many times the error of corrected clocks, less than a resend. */
const CLOCK_ERROR_S_MAX = 0.25;

interface Moment {
  readonly at: number;
  readonly size: number | null;
}

type HandlerEvents = Readonly<Record<PacketEvent['event'], Moment[]>>;
/** Of one sequence, by handler. */
type PacketEvents = Map<number, HandlerEvents>;

/** One step of a way before names: it lasts from the end of the one before to `endsAt`. */
interface WayStep {
  readonly kind: TraceStep['kind'];
  readonly handlerId: number;
  readonly endsAt: number;
}

interface Way {
  readonly sequence: number;
  readonly sink: number;
  readonly startsAt: number;
  readonly steps: readonly WayStep[];
}

/** A way with times that never run backwards. */
interface TimedWay extends Way {
  readonly ms: readonly number[];
  readonly endToEndMs: number;
  /** The largest step back that was taken for 0, ms. */
  readonly correctedMs: number;
}

export function traceSession(options: TraceOptions): Trace {
  const { plan, since, session_id, truncated } = options;
  const packets = bySequence(options.events);
  const ways: TimedWay[] = [];
  let incomplete = 0;
  for (const [sequence, events] of packets) {
    const found = plan.sinks.flatMap((sink) => wayTo(sink, sequence, events, plan) ?? []);
    if (found.length < plan.sinks.length) incomplete += 1;
    for (const way of found) if (since === null || way.steps.at(-1)!.endsAt >= since) ways.push(timed(way));
  }
  const sequences = ways.map((way) => way.sequence);
  const corrected = ways.filter((way) => way.correctedMs > 0);
  return {
    ...{ session_id, since, packets: new Set(sequences).size, incomplete, truncated },
    first_sequence: sequences.length === 0 ? null : sequences.reduce((a, b) => Math.min(a, b)),
    last_sequence: sequences.length === 0 ? null : sequences.reduce((a, b) => Math.max(a, b)),
    corrected: { packets: corrected.length, ms_max: corrected.reduce((max, way) => Math.max(max, way.correctedMs), 0) },
    end_to_end: percentiles(ways.map((way) => way.endToEndMs)),
    handlers: handlerFigures(plan, packets),
    links: linkFigures(plan, ways),
    slowest: slowest(ways, options.slowest, plan),
  };
}

function bySequence(events: Iterable<PacketEvent>): Map<number, PacketEvents> {
  const packets = new Map<number, PacketEvents>();
  for (const { handler_id, sequence, event, timestamp, size } of events) {
    const packet = packets.get(sequence) ?? new Map<number, HandlerEvents>();
    packets.set(sequence, packet);
    const handler = packet.get(handler_id) ?? { start: [], end: [], sent: [], recv: [] };
    packet.set(handler_id, handler);
    handler[event].push({ at: timestamp, size });
  }
  return packets;
}

/** Undefined when something of it is not there. */
function wayTo(sink: number, sequence: number, events: PacketEvents, plan: TracePlan): Way | undefined {
  const steps: WayStep[] = [];
  let handlerId = sink;
  let end = newest(events.get(sink)?.end, Number.POSITIVE_INFINITY);
  for (let hop = 0; end !== undefined && hop < plan.handlers.length; hop++) {
    const own = events.get(handlerId)!;
    const start = newest(own.start, end.at);
    if (start === undefined) return undefined;
    steps.push({ kind: 'compute', handlerId, endsAt: end.at });
    const sources = plan.links.filter((link) => link.target_handler === handlerId).map((link) => link.source_handler);
    const recv = newest(own.recv, start.at);
    if (recv !== undefined) steps.push({ kind: 'queue', handlerId, endsAt: start.at });
    // What begins the chain: a source, or a handler that packets are posted to.
    if (sources.length === 0) return { sequence, sink, startsAt: (recv ?? start).at, steps: steps.reverse() };
    if (recv === undefined) return undefined;
    const sender = senderOf(recv, sources, events);
    if (sender === undefined) return undefined;
    steps.push({ kind: 'link', handlerId, endsAt: recv.at });
    steps.push({ kind: 'send', handlerId: sender.handlerId, endsAt: sender.sent.at });
    handlerId = sender.handlerId;
    end = newest(events.get(handlerId)?.end, sender.sent.at);
  }
  return undefined;
}

/** Of those that sent as many bytes: the newest before the arrival, else what the clocks show as sent just after it. */
function senderOf(recv: Moment, sources: readonly number[], events: PacketEvents) {
  let best: { readonly handlerId: number; readonly sent: Moment } | undefined;
  for (const handlerId of new Set(sources)) {
    for (const sent of events.get(handlerId)?.sent ?? []) {
      if (sent.size !== recv.size || sent.at > recv.at + CLOCK_ERROR_S_MAX) continue;
      if (best === undefined || isCloser(sent.at - recv.at, best.sent.at - recv.at)) best = { handlerId, sent };
    }
  }
  return best;
}

/** Of two departures relative to the arrival: one before it beats one after it; then the nearer one. */
function isCloser(one: number, other: number): boolean {
  return one > 0 === other > 0 ? Math.abs(one) < Math.abs(other) : one <= 0;
}

/** The newest of these at or before `limit`. */
function newest(moments: readonly Moment[] | undefined, limit: number): Moment | undefined {
  let found: Moment | undefined;
  for (const moment of moments ?? []) {
    if (moment.at <= limit && (found === undefined || moment.at > found.at)) found = moment;
  }
  return found;
}

function timed(way: Way): TimedWay {
  let at = way.startsAt;
  let correctedMs = 0;
  const ms = way.steps.map(({ endsAt }) => {
    correctedMs = Math.max(correctedMs, (at - endsAt) * 1000);
    const took = Math.max(0, endsAt - at) * 1000;
    at = Math.max(at, endsAt);
    return took;
  });
  return { ...way, ms, endToEndMs: ms.reduce((sum, value) => sum + value, 0), correctedMs };
}

function slowest(ways: readonly TimedWay[], count: number, plan: TracePlan): TracedPacket[] {
  const names = new Map(plan.handlers.map((one) => [one.handler_id, one.handler_name]));
  const sorted = ways.toSorted((a, b) => b.endToEndMs - a.endToEndMs || a.sequence - b.sequence);
  return sorted.slice(0, count).map(({ sequence, sink, startsAt, steps, ms, endToEndMs }) => ({
    ...{ sequence, sink, started_at: startsAt, end_to_end_ms: endToEndMs },
    bottleneck: ms.indexOf(Math.max(...ms)),
    steps: steps.map(({ kind, handlerId }, index) => ({
      ...{ kind, handler_id: handlerId, handler_name: names.get(handlerId) ?? String(handlerId), ms: ms[index]! },
    })),
  }));
}

/** Over every packet that the handler has finished, whether or not it reached the sink. */
function handlerFigures(plan: TracePlan, packets: ReadonlyMap<number, PacketEvents>): Trace['handlers'] {
  return plan.handlers.map(({ handler_id, handler_name, node_name }) => {
    const queue: number[] = [];
    const compute: number[] = [];
    for (const events of packets.values()) {
      const own = events.get(handler_id);
      const end = newest(own?.end, Number.POSITIVE_INFINITY);
      const start = end === undefined ? undefined : newest(own?.start, end.at);
      if (start === undefined) continue;
      compute.push((end!.at - start.at) * 1000);
      const recv = newest(own?.recv, start.at);
      if (recv !== undefined) queue.push((start.at - recv.at) * 1000);
    }
    const figures = { queue: percentiles(queue), compute: percentiles(compute) };
    return { handler_id, handler_name, node_name, packets: compute.length, ...figures };
  });
}

function linkFigures(plan: TracePlan, ways: readonly TimedWay[]): Trace['links'] {
  const names = new Map(plan.handlers.map((one) => [one.handler_id, one.handler_name]));
  const taken = new Map<string, { source: number; target: number; send: number[]; link: number[] }>();
  for (const { steps, ms } of ways) {
    steps.forEach(({ kind, handlerId: target }, index) => {
      if (kind !== 'link') return;
      const source = steps[index - 1]!.handlerId;
      const key = `${source} ${target}`;
      const figures = taken.get(key) ?? { source, target, send: [], link: [] };
      taken.set(key, figures);
      figures.send.push(ms[index - 1]!);
      figures.link.push(ms[index]!);
    });
  }
  const sorted = [...taken.values()].sort((a, b) => a.source - b.source || a.target - b.target);
  return sorted.map(({ source, target, send, link }) => ({
    ...{ source_handler: source, target_handler: target, packets: link.length },
    ...{ source_name: names.get(source) ?? String(source), target_name: names.get(target) ?? String(target) },
    ...{ send: percentiles(send)!, link: percentiles(link)! },
  }));
}

function percentiles(values: readonly number[]): Percentiles | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  return { p50: quantile(sorted, 0.5), p95: quantile(sorted, 0.95), p99: quantile(sorted, 0.99) };
}
