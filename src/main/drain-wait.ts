/** Waiting for a node to be empty of what can move. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CoordinatorClient } from '../client/index.js';
import type { NodeDrain } from '../contracts/drain.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { NodeView } from '../contracts/node.js';
import { RUNNING_TIMEOUT_MS } from './session-wait.js';

const POLL_MS = 150;

export type DrainingNode = NodeView & { readonly drain: NodeDrain };

/** The node once it is drained. Throws NODE_NOT_FOUND, HANDLER_TIMEOUT when nothing has moved for the bound of one start. */
export async function awaitDrained(
  client: CoordinatorClient,
  nodeId: number,
  onView: (node: DrainingNode) => void = () => {},
): Promise<DrainingNode> {
  let since = performance.now();
  let moved = 0;
  for (;;) {
    const node = (await client.nodes()).find(({ node_id }) => node_id === nodeId);
    if (node === undefined || node.drain === null) {
      throw new OrchestratorError('NODE_NOT_FOUND', `node ${nodeId} is not drained any more`, { node_id: nodeId });
    }
    const { drain } = node;
    onView({ ...node, drain });
    if (drain.state === 'drained') return { ...node, drain };
    if (drain.moved_handlers > moved) since = performance.now();
    moved = drain.moved_handlers;
    if (performance.now() - since > RUNNING_TIMEOUT_MS) {
      const message = `${node.node_name}: ${drain.left} handlers are still to move, none has for ${RUNNING_TIMEOUT_MS} ms`;
      throw new OrchestratorError('HANDLER_TIMEOUT', message, { node_id: nodeId });
    }
    await sleep(POLL_MS);
  }
}
