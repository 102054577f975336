/**
 * What is known of the network between every two nodes, per direction: what running links show in passing, and what
 * probes measured. What is not measured, or not lately, comes from heartbeats and node files (link-figures.ts).
 * Of the last readings the shortest round trip counts, because queues, stalls and busy agents only ever add; and the
 * highest rate, because other traffic and a connection that is still feeling its way only ever take.
 * Invariant: a fixed number of readings per pair, however long the cluster runs.
 */
import type { ObservedSession } from '../contracts/node.js';
import type { MeasuredBy } from '../contracts/plan.js';
import type { Clock } from '../std/clock.js';

/**
 * Readings that are looked back on. A link tells with each heartbeat, already over its last pings and frames: 8 s of two
 * links. A probe is the best of several tries already, and comes every few minutes: a path that became longer must be
 * believed after three.
 */
const WINDOW: Readonly<Record<MeasuredBy, number>> = { link: 16, probe: 3 };

/** Readings of a link count this long after the link has gone, s: a probe takes its place within a few rounds. */
const LINK_FRESH_S = 60;

export interface LinkReading {
  readonly rttMs: number | null;
  readonly mbitPerS: number | null;
}

/** A row of link_info. */
export interface StoredReading {
  readonly timestamp: number;
  readonly session_id: number | null;
  readonly source_node: number;
  readonly target_node: number;
  readonly rtt_ms: number | null;
  readonly mbit_per_s: number | null;
}

export interface Measured {
  readonly value: number;
  readonly by: MeasuredBy;
  /** Of the newest reading, s. */
  readonly ageS: number;
}

export interface LinkTableOptions {
  readonly clock: Clock;
  /** Probes older than this do not count, s: they come the more seldom the more nodes there are. */
  probeFreshS(): number;
}

type Quantity = 'rtt' | 'mbit';
type Readings = Record<Quantity, { readonly value: number; readonly atMs: number }[]>;

export class LinkTable {
  readonly #options: LinkTableOptions;
  readonly #pairs = new Map<string, Record<MeasuredBy, Readings>>();

  constructor(options: LinkTableOptions) {
    this.#options = options;
  }

  /** What the links into `node` show; it told so with its heartbeat. */
  observe(node: number, sessions: Iterable<ObservedSession>): void {
    for (const { handlers } of sessions) {
      for (const { source_node, connected, transport, rtt_ms, mbit_per_s } of handlers.flatMap((one) => one.links)) {
        if (!connected || transport !== 'tcp' || source_node === node) continue;
        this.add('link', source_node, node, { rttMs: rtt_ms, mbitPerS: mbit_per_s });
      }
    }
  }

  /** `ageMs`: how long ago it was measured. */
  add(by: MeasuredBy, source: number, target: number, { rttMs, mbitPerS }: LinkReading, ageMs = 0): void {
    const key = `${source}>${target}`;
    const pair = this.#pairs.get(key) ?? { link: { rtt: [], mbit: [] }, probe: { rtt: [], mbit: [] } };
    this.#pairs.set(key, pair);
    const atMs = this.#options.clock.monotonicMs() - ageMs;
    const keep = (quantity: Quantity, value: number | null) => {
      if (value === null) return;
      const readings = pair[by][quantity];
      readings.push({ value, atMs });
      if (readings.length > WINDOW[by]) readings.shift();
    };
    keep('rtt', rttMs);
    keep('mbit', mbitPerS);
  }

  /** What was measured before this coordinator was started, oldest first; a probe has no session. */
  restore(rows: readonly StoredReading[], nowS: number): void {
    for (const { timestamp, session_id, source_node, target_node, rtt_ms, mbit_per_s } of rows) {
      if (source_node === target_node) continue;
      const ageMs = Math.max(0, (nowS - timestamp) * 1000);
      const by = session_id === null ? 'probe' : 'link';
      this.add(by, source_node, target_node, { rttMs: rtt_ms, mbitPerS: mbit_per_s }, ageMs);
    }
  }

  /** Round trip, ms. */
  rtt(source: number, target: number): Measured | null {
    return this.#measured(source, target, 'rtt');
  }

  /** Rate from source to target, Mbit/s. */
  mbit(source: number, target: number): Measured | null {
    return this.#measured(source, target, 'mbit');
  }

  #measured(source: number, target: number, quantity: Quantity): Measured | null {
    const pair = this.#pairs.get(`${source}>${target}`);
    if (pair === undefined) return null;
    const nowMs = this.#options.clock.monotonicMs();
    for (const by of ['link', 'probe'] as const) {
      const freshMs = 1000 * (by === 'link' ? LINK_FRESH_S : this.#options.probeFreshS());
      const fresh = pair[by][quantity].filter((one) => nowMs - one.atMs <= freshMs);
      if (fresh.length === 0) continue;
      const values = fresh.map((one) => one.value);
      const value = quantity === 'rtt' ? Math.min(...values) : Math.max(...values);
      return { value, by, ageS: (nowMs - fresh.at(-1)!.atMs) / 1000 };
    }
    return null;
  }
}
