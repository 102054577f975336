/** The ledger of a session in the words that `orchestrator loss` and `demo` print. */
import type { Loss, LossDrop, SinkLoss } from '../../contracts/loss.js';
import { groupBy } from '../../std/group-by.js';

const REASONS = ['late', 'queue', 'join', 'error', 'failover'] as const;

/** `sent 9000 = delivered 8961 + late 30 (recognize) + queue 9 (detect) + failover 0, sequences 0-8999`: a line per sink. */
export function lossText(loss: Loss): string {
  if (loss.sinks.length === 0) return 'no sink';
  return loss.sinks
    .map((sink) => `${loss.sinks.length > 1 ? `${sink.handler_name}: ` : ''}${sinkText(sink, loss.ended)}`)
    .join('\n');
}

function sinkText(sink: SinkLoss, ended: boolean): string {
  const { sent, delivered, delivered_by_settlement, skipped, in_flight, first_sequence, next_sequence } = sink;
  const known = delivered_by_settlement === 0 ? '' : ` (${delivered_by_settlement} by settlement)`;
  const parts = [`delivered ${delivered}${known}`];
  if (skipped > 0) parts.push(`skipped ${skipped}`);
  const byReason = groupBy(sink.drops, (drop) => drop.reason);
  for (const reason of REASONS) {
    const drops = byReason.get(reason) ?? [];
    if (drops.length > 0 || reason === 'failover') parts.push(dropText(reason, drops));
  }
  if (in_flight > 0) parts.push(`in flight ${ended ? 'at the end ' : ''}${in_flight}`);
  const sequences = sent === 0 ? '' : `, sequences ${first_sequence}-${next_sequence - 1}`;
  return `sent ${sent} = ${parts.join(' + ')}${sequences}`;
}

function dropText(reason: string, drops: readonly LossDrop[]): string {
  const total = drops.reduce((sum, { packets }) => sum + packets, 0);
  const places = drops.map((drop) => {
    const place = drop.handler_id === null ? 'not reported' : (drop.handler_name ?? String(drop.handler_id));
    return drops.length === 1 ? place : `${place} ${drop.packets}`;
  });
  return `${reason} ${total}${places.length === 0 ? '' : ` (${places.join(', ')})`}`;
}
