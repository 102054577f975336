/** Where a running session can be watched, where pictures can be posted to it, and where programs can join it. */
import { inputUrl, nodeUrl, pageUrl, workerUrl } from '../../client/index.js';
import type { NodeView } from '../../contracts/node.js';
import type { SessionPlan } from '../../contracts/plan.js';
import { manifests as externalHandlers } from '../../handlers/external/manifest.js';

/** Type id of render: the handler that has pages. */
const RENDER = 3;

/** Type ids of the external handlers: those that programs join. */
const EXTERNAL: ReadonlySet<number> = new Set(externalHandlers.map((type) => type.handler_type_id));

/** Empty when the session has nothing of the kind. */
export function addressesText(sessionId: number, plan: SessionPlan, nodes: readonly NodeView[]): string {
  const lines: string[] = [];
  for (const handler of plan.handlers) {
    const node = nodes.find((one) => one.node_id === handler.node_id);
    if (node === undefined) continue;
    const url = nodeUrl(node);
    const linked = new Set(
      plan.links.filter((link) => link.target_handler === handler.handler_id).map((link) => link.target_input),
    );
    if (handler.post && !linked.has(0)) {
      lines.push(`post pictures to  ${inputUrl(url, sessionId, handler.handler_id, 0)}`);
    }
    if (EXTERNAL.has(handler.handler_type)) {
      lines.push(`join ${handler.handler_name} at  ${workerUrl(url, sessionId, handler.handler_id)}`);
    }
    if (handler.handler_type !== RENDER) continue;
    lines.push(`watch it at       ${pageUrl(url, sessionId, handler.handler_id, 'index.html')}`);
    lines.push(`boxes             ${pageUrl(url, sessionId, handler.handler_id, 'boxes.json')}`);
  }
  return lines.join('\n');
}
