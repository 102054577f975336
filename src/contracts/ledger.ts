/** What may be done with ledger rows without changing any sum: pure, used where they are made and where they wait. */
import { groupBy } from '../std/group-by.js';
import type { LedgerRow } from './report.js';

/** Makes `run` part of the run before it, when that is of the same account, ended the same way and lies beside it. */
export function extendRun(before: LedgerRow | undefined, run: LedgerRow): boolean {
  if (before === undefined || before.last_sequence + 1 !== run.first_sequence) return false;
  if (accountKey(before) !== accountKey(run) || causeKey(before) !== causeKey(run)) return false;
  if (before.packets !== lengthOf(before) || run.packets !== lengthOf(run)) return false;
  before.last_sequence = run.last_sequence;
  before.packets += run.packets;
  before.timestamp = run.timestamp;
  return true;
}

/**
 * Fewer rows that say less: stretches of one account that lie side by side become one, with a row per cause. How many
 * ended how is kept, which of the stretch did is not.
 */
export function coarsen(rows: readonly LedgerRow[]): LedgerRow[] {
  const accounts = groupBy(rows, accountKey);
  return [...accounts.values()].flatMap((account) => {
    const sorted = account.toSorted((a, b) => a.first_sequence - b.first_sequence);
    const stretches: LedgerRow[][] = [];
    let last = Number.NaN;
    for (const row of sorted) {
      const joins = row.first_sequence <= last + 1;
      if (joins) stretches.at(-1)!.push(row);
      else stretches.push([row]);
      last = joins ? Math.max(last, row.last_sequence) : row.last_sequence;
    }
    return stretches.flatMap(asOneStretch);
  });
}

function asOneStretch(rows: readonly LedgerRow[]): LedgerRow[] {
  const first_sequence = rows[0]!.first_sequence;
  const last_sequence = Math.max(...rows.map((row) => row.last_sequence));
  const timestamp = Math.max(...rows.map((row) => row.timestamp));
  return [...groupBy(rows, causeKey).values()].map((same) => ({
    ...same[0]!,
    ...{ timestamp, first_sequence, last_sequence },
    packets: same.reduce((sum, { packets }) => sum + packets, 0),
  }));
}

/** Whose account: one life of one source or sink. What an earlier life settled is a statement of its own. */
export function accountKey({ session_id, handler_id, incarnation, fate }: LedgerRow): string {
  const role = fate === 'emitted' || fate === 'settled' ? fate : 'sink';
  return `${session_id} ${handler_id} ${incarnation} ${role}`;
}

function causeKey({ fate, at_handler }: LedgerRow): string {
  return `${fate} ${at_handler ?? ''}`;
}

function lengthOf({ first_sequence, last_sequence }: LedgerRow): number {
  return last_sequence - first_sequence + 1;
}
