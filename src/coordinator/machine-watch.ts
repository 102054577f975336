/**
 * Whether the machine behind a question that stays unanswered is there at all: its kernel takes connections however busy
 * its agent is. Tried twice, because one lost SYN is sent again only after a second and would look like a dead machine.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeClient } from '../client/node-client.js';
import { OrchestratorError } from '../contracts/errors.js';
import type { CoordinatorBounds } from './options.js';

const TRIES = 2;

export interface MachineWatch {
  /** Rejects with NODE_UNREACHABLE, cause `gone`, when no connection was taken; never resolves. */
  readonly gone: Promise<never>;
  /** The question was answered, or is no longer waited for. */
  stop(): void;
}

export function watchMachine(
  client: Pick<NodeClient, 'reachable'>,
  { suspectMs, connectTimeoutMs }: Pick<CoordinatorBounds, 'suspectMs' | 'connectTimeoutMs'>,
): MachineWatch {
  const stopping = new AbortController();
  const { signal } = stopping;
  const gone = new Promise<never>((_, reject) => {
    const look = async () => {
      await sleep(suspectMs, undefined, { signal });
      for (let tried = 0; tried < TRIES; tried++) {
        if ((await client.reachable(connectTimeoutMs)) || signal.aborted) return;
      }
      const message = `no answer within ${suspectMs} ms, and ${TRIES} connections were not taken within ${connectTimeoutMs} ms each`;
      reject(new OrchestratorError('NODE_UNREACHABLE', message, { cause: 'gone' }));
    };
    look().catch(() => {}); // stopped
  });
  // Nobody may be waiting any more when it rejects.
  gone.catch(() => {});
  return { gone, stop: () => stopping.abort() };
}
