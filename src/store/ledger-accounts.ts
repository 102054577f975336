/**
 * From ledger rows to accounts in which every sequence counts once. What nodes report may be incomplete (a machine died
 * with what it had not told), late, or twice (a sink that moved is sent again what the old one did not acknowledge):
 * - a hole between two stretches of a sink is `settled` up to what a later life of the sink says was settled before it,
 *   and `unreported` beyond: its process died and took along what became of these;
 * - of stretches that overlap the one that begins first counts, and the other only for the rest. The first runs of every
 *   life have one cause each (handler-kit/account.ts), so what is cut off is exact by cause too.
 * Invariant of each sink: next - first = settled + unreported + the sum of its fates. Rows are read one by one, in order.
 */
import type { LedgerFate, SinkFate } from '../contracts/report.js';
import { groupBy } from '../std/group-by.js';

/** A ledger row as the database has it. */
export interface StoredLedgerRow {
  readonly handler_id: number;
  readonly node_id: number;
  readonly incarnation: number;
  readonly fate: LedgerFate;
  readonly at_handler: number | null;
  readonly first_sequence: number;
  readonly last_sequence: number;
  readonly packets: number;
}

export interface SourceAccount {
  readonly handler_id: number;
  /** Lowest sequence told of; 0 unless rows of the beginning are gone. */
  readonly first: number;
  /** One past the highest. */
  readonly next: number;
}

export interface FateCount {
  readonly fate: SinkFate;
  readonly at_handler: number | null;
  readonly packets: number;
}

export interface SinkAccount extends SourceAccount {
  readonly fates: readonly FateCount[];
  readonly settled: number;
  readonly unreported: number;
}

export interface LedgerAccounts {
  /** By handler_id; over all rows, whatever the window. */
  readonly sources: readonly SourceAccount[];
  /** By handler_id; of a window, what was decided in it. */
  readonly sinks: readonly SinkAccount[];
}

export interface LedgerQuery {
  readonly session_id: number;
  /** When the session was made, s since the epoch: an id that the user chose may have had another session before. */
  readonly from?: number | undefined;
  /** Of sinks only what was decided at or after this, s since the epoch. */
  readonly since?: number | undefined;
}

/**
 * `rows`: of sinks, ordered by handler_id, first_sequence, last_sequence, incarnation, node_id. An account begins one past
 * what was decided before the window (`decided`), else with the session's first sequence, else, when rows of the beginning
 * are gone by retention, with its lowest row.
 */
export function sinkAccounts(
  rows: Iterable<StoredLedgerRow>,
  { sources, decided }: { sources: readonly SourceAccount[]; decided: ReadonlyMap<number, number> },
): SinkAccount[] {
  const origin = sources.some(({ first }) => first === 0) ? 0 : null;
  const sinks: SinkFold[] = [];
  let stretch: StoredLedgerRow[] = [];
  const take = () => {
    const first = stretch[0];
    if (first === undefined) return;
    let sink = sinks.at(-1);
    if (sink?.handlerId !== first.handler_id) {
      sink = new SinkFold(first.handler_id, decided.get(first.handler_id) ?? origin);
      sinks.push(sink);
    }
    sink.add(stretch);
    stretch = [];
  };
  for (const row of rows) {
    if (row.fate === 'emitted') continue;
    if (stretch.length > 0 && !isSameStretch(stretch[0]!, row)) take();
    stretch.push(row);
  }
  take();
  // Nothing was decided in the window: what was before says where it begins.
  for (const [handlerId, next] of decided) {
    if (!sinks.some((sink) => sink.handlerId === handlerId)) sinks.push(new SinkFold(handlerId, next));
  }
  return sinks.flatMap((sink) => sink.account()).sort((a, b) => a.handler_id - b.handler_id);
}

function isSameStretch(a: StoredLedgerRow, b: StoredLedgerRow): boolean {
  return (
    a.handler_id === b.handler_id &&
    a.first_sequence === b.first_sequence &&
    a.last_sequence === b.last_sequence &&
    a.incarnation === b.incarnation &&
    a.node_id === b.node_id &&
    (a.fate === 'settled') === (b.fate === 'settled')
  );
}

/** One sink, stretch by stretch. */
class SinkFold {
  readonly handlerId: number;
  readonly #fates = new Map<string, { fate: SinkFate; at_handler: number | null; packets: number }>();
  #first: number | null;
  #next: number;
  /** Everything up to here was settled by some life of this sink. */
  #floor = -1;
  #settled = 0;
  #unreported = 0;

  constructor(handlerId: number, begin: number | null) {
    this.handlerId = handlerId;
    this.#first = begin;
    this.#next = begin ?? 0;
  }

  add(stretch: readonly StoredLedgerRow[]): void {
    const { fate, first_sequence: first, last_sequence: last } = stretch[0]!;
    if (fate === 'settled') {
      // These rows begin at 0, so all of them come before the first hole.
      this.#floor = Math.max(this.#floor, last);
      return;
    }
    if (this.#first === null) this.#first = this.#next = first;
    if (last < this.#next) return;
    if (first > this.#next) this.#hole(this.#next, first - 1);
    const length = last - first + 1;
    this.#count(countsOf(stretch, length), Math.max(0, this.#next - first), length);
    this.#next = last + 1;
  }

  /** Empty when it is not known where it begins. */
  account(): SinkAccount[] {
    if (this.#first === null) return [];
    if (this.#floor >= this.#next) {
      this.#hole(this.#next, this.#floor);
      this.#next = this.#floor + 1;
    }
    return [
      {
        ...{ handler_id: this.handlerId, first: this.#first, next: this.#next },
        ...{ fates: [...this.#fates.values()], settled: this.#settled, unreported: this.#unreported },
      },
    ];
  }

  #hole(from: number, to: number): void {
    const settled = Math.max(0, Math.min(to, this.#floor) - from + 1);
    this.#settled += settled;
    this.#unreported += to - from + 1 - settled;
  }

  /** Counts a stretch of which the first `before` sequences are accounted for already. */
  #count(counts: readonly FateCount[], before: number, length: number): void {
    let cut = before;
    let told = 0;
    for (const { fate, at_handler, packets } of counts) {
      const cutHere = Math.min(cut, packets);
      cut -= cutHere;
      told += packets - cutHere;
      this.#add({ fate, at_handler, packets: packets - cutHere });
    }
    // Rows of one stretch may have travelled in two reports, and one of them is not here (yet).
    this.#unreported += length - before - told;
  }

  #add({ fate, at_handler, packets }: FateCount): void {
    if (packets === 0) return;
    const key = `${fate} ${at_handler ?? ''}`;
    const count = this.#fates.get(key);
    if (count === undefined) this.#fates.set(key, { fate, at_handler, packets });
    else count.packets += packets;
  }
}

/** By cause, a row that is there twice once; together never more than the stretch is long. */
function countsOf(stretch: readonly StoredLedgerRow[], length: number): FateCount[] {
  let left = length;
  return [...groupBy(stretch, ({ fate, at_handler }) => `${fate} ${at_handler ?? ''}`).values()].map((same) => {
    const packets = Math.min(left, Math.max(...same.map((row) => row.packets)));
    left -= packets;
    return { fate: same[0]!.fate as SinkFate, at_handler: same[0]!.at_handler, packets };
  });
}
