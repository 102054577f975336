/** The ledger of a session as people ask for it. Pure: accounts and the plan in, one sum per sink out. */
import type { Loss, LossDrop, SinkLoss } from '../contracts/loss.js';
import type { SessionPlan } from '../contracts/plan.js';
import type { StoredSession } from '../contracts/session.js';
import type { LedgerAccounts, SinkAccount, SourceAccount } from '../store/ledger-accounts.js';
import { sinkIds } from './session-record.js';

export interface LossOptions {
  readonly stored: Pick<StoredSession, 'session_id' | 'plan' | 'ended'>;
  readonly accounts: LedgerAccounts;
  /** s since the epoch. */
  readonly now: number;
  readonly since: number | null;
}

export function sessionLoss({ stored, accounts, now, since }: LossOptions): Loss {
  const { plan, session_id, ended } = stored;
  const known = new Map(accounts.sinks.map((sink) => [sink.handler_id, sink]));
  const planned = sinkIds(plan);
  const earlier = [...known.keys()].filter((id) => !planned.includes(id));
  const sinks = [...planned, ...earlier].map((id) => {
    const sources = sourcesOf(id, plan, accounts.sources);
    return sinkLoss(plan, known.get(id) ?? nothingYet(id, sources), planned.includes(id) ? sources : []);
  });
  return { session_id, timestamp: now, since, ended: ended !== null, sinks };
}

/** `sources`: those that still feed it; a sink that the plan has no more gets nothing more. */
function sinkLoss(plan: SessionPlan, account: SinkAccount, sources: readonly SourceAccount[]): SinkLoss {
  const nameOf = (id: number) => plan.handlers.find((one) => one.handler_id === id)?.handler_name ?? `handler ${id}`;
  const { handler_id, first, fates, settled, unreported } = account;
  // Reports of a sink may be here before those of its source.
  const next = Math.max(account.next, ...sources.map((source) => source.next));
  const total = (fate: string) =>
    fates.filter((one) => one.fate === fate).reduce((sum, { packets }) => sum + packets, 0);
  const drops: LossDrop[] = fates.flatMap(({ fate, at_handler, packets }) => {
    if (fate === 'delivered' || fate === 'skipped') return [];
    const handler_name = at_handler === null ? null : nameOf(at_handler);
    return [{ reason: fate, handler_id: at_handler, handler_name, packets }];
  });
  if (unreported > 0) drops.push({ reason: 'failover', handler_id: null, handler_name: null, packets: unreported });
  return {
    ...{ handler_id, handler_name: nameOf(handler_id), first_sequence: first, next_sequence: next },
    sent: next - first,
    delivered: total('delivered') + settled,
    delivered_by_settlement: settled,
    skipped: total('skipped'),
    drops,
    in_flight: next - account.next,
  };
}

function nothingYet(handler_id: number, sources: readonly SourceAccount[]): SinkAccount {
  const first = sources.length === 0 ? 0 : Math.min(...sources.map((source) => source.first));
  return { handler_id, first, next: first, fates: [], settled: 0, unreported: 0 };
}

/** The accounts of those from which a way leads to this handler. */
function sourcesOf(id: number, plan: SessionPlan, sources: readonly SourceAccount[]): SourceAccount[] {
  const feeding = new Set([id]);
  for (const reached of feeding) {
    for (const link of plan.links) if (link.target_handler === reached) feeding.add(link.source_handler);
  }
  return sources.filter((source) => feeding.has(source.handler_id));
}
