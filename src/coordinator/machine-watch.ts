/**
 * Whether the machine behind a question that stays unanswered is there at all: its kernel takes connections, or refuses
 * them, however busy its agent is. Tried twice, because one lost SYN is sent again only after a second and would look
 * like a dead machine; the second try begins before the first is over.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeClient } from '../client/node-client.js';
import { OrchestratorError } from '../contracts/errors.js';
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
  const stopping = new AbortController();
  const { signal } = stopping;
  const early = new AbortController();
  const tryAt = async (delayMs: number) => {
    if (delayMs > 0) await sleep(delayMs, undefined, { signal });
    return client.reachable(connectTimeoutMs);
  };
  const gone = new Promise<never>((_, reject) => {
    const look = async () => {
      await sleep(suspectMs, undefined, { signal: AbortSignal.any([signal, early.signal]) }).catch(() => {});
      if (signal.aborted) return;
      const tries = Array.from({ length: TRIES }, (_, index) => tryAt(index * TRY_PERIOD_MS));
      await Promise.any(tries.map(async (one) => (await one) || Promise.reject()));
      stopping.abort();
    };
    look().catch(() => {
      const message = `no answer, and ${TRIES} connections were not taken within ${connectTimeoutMs} ms each`;
      if (!signal.aborted) reject(new OrchestratorError('NODE_UNREACHABLE', message, { cause: 'gone' }));
    });
  });
  // Nobody may be waiting any more when it rejects.
  gone.catch(() => {});
  return { gone, look: () => early.abort(), stop: () => stopping.abort() };
}
