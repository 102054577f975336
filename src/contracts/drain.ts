/** How far the emptying of a node before maintenance is, and the words for it. */
import Type, { type Static } from '#vendor/typebox.js';

const StaysSchema = Type.Object({
  session_id: Type.Integer(),
  handler_id: Type.Integer(),
  handler_name: Type.String(),
  reason: Type.String({ description: 'Why it does not move' }),
});

/** draining -> drained (what can move has); back to draining when a handler came free. */
export const NodeDrainSchema = Type.Object({
  since: Type.Number({ description: 's since the epoch' }),
  state: Type.Enum(['draining', 'drained']),
  left: Type.Integer({ description: 'Handlers that are still to move' }),
  stays: Type.Array(StaysSchema, { description: 'Handlers that cannot move now' }),
  moved_handlers: Type.Integer({ description: 'Since the drain, or the start of the coordinator after it' }),
  moved_sessions: Type.Integer(),
  lost: Type.Integer({ description: 'Sequences of moved sessions that ended as drops meanwhile' }),
  duplicated: Type.Integer({ description: 'Sequences that their sinks took twice meanwhile' }),
  uncounted: Type.Array(Type.Integer(), {
    description: 'session_ids whose sinks began anew meanwhile; `orchestrator loss` tells of them',
  }),
});
export type NodeDrain = Static<typeof NodeDrainSchema>;

/** `moved 3 handlers of 2 sessions: 0 lost, 0 duplicated; stays: capture of session 1 (frames come into the session there)` */
export function drainWords({ moved_handlers, moved_sessions, lost, duplicated, uncounted, stays }: NodeDrain): string {
  const count = (number: number, word: string) => `${number} ${word}${number === 1 ? '' : 's'}`;
  const moved = `moved ${count(moved_handlers, 'handler')} of ${count(moved_sessions, 'session')}`;
  const counted = uncounted.length < moved_sessions ? `: ${lost} lost, ${duplicated} duplicated` : '';
  const rest = uncounted.length === 0 ? '' : `; not counted, because their sinks began anew: ${uncounted.join(', ')}`;
  const stay = stays.map((one) => `${one.handler_name} of session ${one.session_id} (${one.reason})`).join(', ');
  return `${moved}${counted}${rest}${stay === '' ? '' : `; stays: ${stay}`}`;
}
