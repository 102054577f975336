/** Waiting for the end of a move: the event that the coordinator promises for every move that was begun. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CoordinatorClient } from '../client/index.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { OrchestratorEvent } from '../contracts/event.js';
import { RUNNING_TIMEOUT_MS } from './session-wait.js';

const POLL_MS = 100;

/** How the newest move of the session ended. Throws MOVE_REFUSED when it was given up, HANDLER_TIMEOUT at the bound. */
export async function awaitMoved(client: CoordinatorClient, sessionId: number): Promise<OrchestratorEvent> {
  const deadline = performance.now() + RUNNING_TIMEOUT_MS;
  for (;;) {
    const events = await client.events({ session_id: sessionId });
    const begun = events.findLastIndex((event) => event.kind === 'session.moving');
    const end = events.slice(begun + 1).find(({ kind }) => kind === 'session.moved' || kind === 'session.move_failed');
    if (end?.kind === 'session.moved') return end;
    if (end !== undefined) throw new OrchestratorError('MOVE_REFUSED', end.message, { session_id: sessionId });
    if (performance.now() > deadline) {
      const message = `session ${sessionId} is still moving after ${RUNNING_TIMEOUT_MS} ms`;
      throw new OrchestratorError('HANDLER_TIMEOUT', message, { session_id: sessionId });
    }
    await sleep(POLL_MS);
  }
}
