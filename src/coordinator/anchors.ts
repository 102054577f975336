/** What keeps a handler of a session where it is, whatever room there is elsewhere. */
import type { PlannedHandler } from '../contracts/plan.js';
import { type SessionRecord, sinkIds, sourceIds } from './session-record.js';

/** Null: it may move while frames flow. */
export function anchorWords({ stored, service }: SessionRecord, handler: PlannedHandler): string | null {
  const { plan } = stored;
  if (service === null) return 'its service is not loaded any more';
  if (service.template !== null) return 'a template runs where its file says';
  if (sourceIds(plan).includes(handler.handler_id)) return 'frames come into the session there';
  if (sinkIds(plan).includes(handler.handler_id)) {
    return `frames leave the session there, and what it has written is on ${handler.node_name}`;
  }
  const pins = service.variants.map(
    (one) => one.handlers.find(({ handler_id }) => handler_id === handler.handler_id)?.at,
  );
  if (pins.every((at) => at?.kind === 'source')) return 'its service file pins it to the source node';
  const isHere = pins.every((at) => at?.kind === 'node' && at.node_id === handler.node_id);
  return isHere ? `its service file pins it to ${handler.node_name}` : null;
}
