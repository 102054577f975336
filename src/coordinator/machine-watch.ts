/**
 * Whether the machine behind a question that stays unanswered is there at all: its kernel takes connections, or refuses
 * them, however busy its agent is. Tried twice, because one lost SYN is sent again only after a second and would look
 * like a dead machine; the second try begins before the first is over.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeClient } from '../client/node-client.js';
import { OrchestratorError } from '../contracts/errors.js';
import { deferred } from '../std/deferred.js';
import type { CoordinatorBounds } from './options.js';

const TRIES = 2;
/** From one try to the next, ms: what loses one SYN (a burst, a queue that is full) should be over for the other. */
const TRY_PERIOD_MS = 100;

export interface MachineWatch {
  /** Rejects with NODE_UNREACHABLE, cause `gone`, when no connection was taken; never resolves. */
  readonly gone: Promise<never>;
  /** There is a reason to look now. */
  look(): void;
  /** The question was answered, or is no longer waited for. */
  stop(): void;
}

export function watchMachine(
  client: Pick<NodeClient, 'reachable'>,
  { suspectMs, connectTimeoutMs }: Pick<CoordinatorBounds, 'suspectMs' | 'connectTimeoutMs'>,
): MachineWatch {
  const { promise: gone, reject } = deferred<never>();
  // Nobody may be waiting any more when it rejects.
  gone.catch(() => {});
  let looks = false;
  let stopped = false;
  const stop = () => {
    stopped = true;
    clearTimeout(timer);
  };
  const tryAt = async (delayMs: number): Promise<void> => {
    if (delayMs > 0) await sleep(delayMs);
    if (!stopped && !(await client.reachable(connectTimeoutMs))) throw new Error('no connection was taken');
  };
  const look = () => {
    if (looks || stopped) return;
    looks = true;
    clearTimeout(timer);
    const tries = Array.from({ length: TRIES }, (_, index) => tryAt(index * TRY_PERIOD_MS));
    Promise.any(tries).then(stop, () => {
      const message = `no answer, and ${TRIES} connections were not taken within ${connectTimeoutMs} ms each`;
      if (!stopped) reject(new OrchestratorError('NODE_UNREACHABLE', message, { cause: 'gone' }));
    });
  };
  // Nothing but a timer, because nearly every question is answered before it is over.
  const timer = setTimeout(look, suspectMs);
  return { gone, look, stop };
}
