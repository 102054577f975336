/** Waiting for a session: until frames may flow, until its stream has ended. Polls, as observed state comes by heartbeat. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CoordinatorClient } from '../client/index.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { SessionView } from '../contracts/session.js';

const POLL_MS = 150;

/** A first start converts models, which takes up to a minute on two cores; the handler's own bound is on its node, ms. */
export const RUNNING_TIMEOUT_MS = 120_000;

export interface WaitOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly onView?: (session: SessionView) => void;
}

/** The session once `done` holds. Throws HANDLER_FAILED when it failed, HANDLER_TIMEOUT at the bound. */
export async function awaitSession(
  client: CoordinatorClient,
  sessionId: number,
  done: (session: SessionView) => boolean,
  { timeoutMs = RUNNING_TIMEOUT_MS, signal, onView }: WaitOptions = {},
): Promise<SessionView> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal?.throwIfAborted();
    const session = await client.session(sessionId);
    onView?.(session);
    if (done(session)) return session;
    if (session.observed === 'failed') {
      const message = `session ${sessionId} failed: ${session.problem ?? 'no reason was given'}`;
      throw new OrchestratorError('HANDLER_FAILED', message, { session_id: sessionId });
    }
    if (performance.now() > deadline) {
      const state = `${session.observed}${session.problem === undefined ? '' : ` (${session.problem})`}`;
      const message = `session ${sessionId} is still ${state} after ${timeoutMs} ms`;
      throw new OrchestratorError('HANDLER_TIMEOUT', message, { session_id: sessionId });
    }
    await sleep(POLL_MS, undefined, { signal });
  }
}

export function awaitRunning(
  client: CoordinatorClient,
  sessionId: number,
  options?: WaitOptions,
): Promise<SessionView> {
  return awaitSession(client, sessionId, ({ observed }) => observed === 'running' || observed === 'stopped', options);
}
