/** Waiting for a definition to have rolled through its sessions: the event that the coordinator promises for it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CoordinatorClient } from '../client/index.js';
import type { ApplyRequest, ApplyResult } from '../contracts/apply.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { OrchestratorEvent } from '../contracts/event.js';
import { RUNNING_TIMEOUT_MS } from './session-wait.js';

const POLL_MS = 100;

/**
 * Begins, tells `onBegun` what will change, and answers how it ended. Throws what `applyService` throws, APPLY_REFUSED when
 * it was given up at a session, HANDLER_TIMEOUT when nothing has happened for as long as a session may take to start.
 */
export async function applyAndWait(
  client: CoordinatorClient,
  definition: ApplyRequest['definition'],
  onBegun: (result: ApplyResult) => void,
): Promise<OrchestratorEvent> {
  let after = (await client.events({ limit: 1 })).at(-1)?.timestamp ?? 0;
  const result = await client.applyService({ definition, dry_run: false });
  onBegun(result);
  let deadline = performance.now() + RUNNING_TIMEOUT_MS;
  for (;;) {
    const events = await client.events({ after });
    const end = events.find(
      ({ kind, message }) => kind.startsWith('service.appl') && message.startsWith(result.service_name),
    );
    if (end?.kind === 'service.applied') return end;
    if (end !== undefined) throw new OrchestratorError('APPLY_REFUSED', end.message);
    if (events.length > 0) deadline = performance.now() + RUNNING_TIMEOUT_MS;
    after = events.at(-1)?.timestamp ?? after;
    if (performance.now() > deadline) {
      throw new OrchestratorError(
        'HANDLER_TIMEOUT',
        `nothing has happened for ${RUNNING_TIMEOUT_MS} ms; see \`events\``,
      );
    }
    await sleep(POLL_MS);
  }
}
