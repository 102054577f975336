/** Of the independent check: where a plan has a handler, and whether it may be there. No code of the planners. */
import type { FleetAlternative, FleetHandler, FleetNode, FleetPlanned, FleetSession } from '../../contracts/fleet.js';

/** Plans have their places in the order of the service's handlers, mostly. */
export const placeOf = (
  placement: FleetPlanned['placement'],
  { handler_id }: FleetHandler,
  at: number,
): FleetPlanned['placement'][number] | undefined =>
  placement[at]?.handler_id === handler_id ? placement[at] : placement.find((one) => one.handler_id === handler_id);

/** Why the handler may not be there, whatever else is; null when it may. */
export function misplaced(
  handler: FleetHandler,
  alternative: FleetAlternative,
  node: FleetNode,
  session: FleetSession,
): string | null {
  if (!node.up) return 'node is lost';
  const before = session.previous?.find((one) => one.handler_id === handler.handler_id);
  if (node.drained && before?.node_id !== node.node_id) return 'node is drained';
  if (node.handler_types !== null && !node.handler_types.includes(handler.handler_type))
    return 'handler type is not installed';
  const { at, require } = handler;
  if (at?.kind === 'source' && node.node_id !== session.source_node) return 'not on the source node';
  if (at?.kind === 'node' && node.node_id !== at.node_id) return `not on node ${at.node_id}`;
  for (const label of [at?.kind === 'label' ? at.label : undefined, require.label, session.stay]) {
    if (label !== undefined && !node.labels.includes(label)) return `node lacks label ${label}`;
  }
  return (alternative.cost.gpu_ms > 0 || require.gpu === true) && node.gpus === 0 ? 'node has no gpu' : null;
}
