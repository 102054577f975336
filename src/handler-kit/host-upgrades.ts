/**
 * Upgrade requests as a handler host gets them, from the agent or on its own Unix socket: programs that join a handler and
 * taps are taken here, the rest are links. Invariant: whatever is not taken is refused with HTTP.
 */
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import { refuseUpgrade } from '../links/handshake.js';
import { acceptLink, type ServedSocket } from '../links/upgrade.js';
import type { HostedHandler } from './host-handler.js';
import type { HostLinks } from './host-links.js';
import { upgradeTargetOf } from './host-protocol.js';

export interface UpgradeOptions {
  /** Without query. */
  readonly path: string;
  readonly served: ServedSocket;
  readonly sessionId: number | undefined;
  readonly handlers: ReadonlyMap<number, HostedHandler>;
  readonly links: Pick<HostLinks, 'accept'>;
}

export function acceptUpgrade({ path, served, sessionId, handlers, links }: UpgradeOptions): void {
  const target = upgradeTargetOf(path);
  try {
    if (target === null || target.kind === 'link') {
      links.accept(path, served.headers, served.socket, served.head);
      return;
    }
    const hosted = target.session_id === sessionId ? handlers.get(target.handler_id) : undefined;
    if (hosted === undefined) throw new OrchestratorError('HANDLER_NOT_FOUND', `no handler of this host is at ${path}`);
    if (target.kind === 'worker') joinHandler(hosted, served);
    else tapOutput(hosted, target.output, served);
  } catch (error) {
    refuseUpgrade(served.socket, toOrchestratorError(error));
  }
}

function joinHandler({ handler, handlerId }: HostedHandler, { socket, headers, head }: ServedSocket): void {
  if (handler.kind !== 'processing' || handler.join === undefined) {
    const message = `handler ${handlerId} takes no program: its type has code of its own`;
    throw new OrchestratorError('REQUEST_INVALID', message, { handler_id: handlerId });
  }
  handler.join({ socket, headers, head });
}

function tapOutput({ handlerId, manifest, runner }: HostedHandler, output: number, served: ServedSocket): void {
  if (manifest.outputs[output] === undefined) {
    throw new OrchestratorError('HANDLER_NOT_FOUND', `handler ${handlerId} has no output ${output}`);
  }
  acceptLink({ ...served, sender: runner.outputs.tap(output) });
}
