/**
 * Main loop of the subprocess: ties a HandlerHost to this process and its IPC channel. Invariants: when the agent is gone
 * the process is gone; nothing that was sent to the agent is lost by an orderly exit.
 */
import type { Socket } from 'node:net';
import { systemClock } from '../std/clock.js';
import { CorrectedClock } from '../std/corrected-clock.js';
import { stderrLogger } from '../std/logger.js';
import type { HandlerManifest } from './define.js';
import { HandlerHost } from './handler-host.js';
import type { FromHost, ToHost } from './host-protocol.js';

/** How long an exit waits for the channel to take the last messages, ms. */
const LAST_MESSAGES_MS = 1000;

export function runHandlerHost(manifests: readonly HandlerManifest[]): void {
  const logger = stderrLogger();
  const channel = agentChannel();
  const clock = new CorrectedClock(systemClock());
  const host = new HandlerHost({ manifests, clock, logger, ...channel });
  process.on('message', (message: ToHost, socket) => {
    if (message.type === 'clock') clock.correct(message.correction);
    else host.receive(message, socket as Socket | undefined);
  });
  process.on('disconnect', () => {
    void host.removeSocket().finally(() => process.exit(0));
  });
  process.on('unhandledRejection', (reason) => host.rejected(reason));
  process.on('uncaughtException', (error) => {
    logger.error({}, error.stack ?? error.message);
    process.exit(1);
  });
  // Ctrl-C reaches the whole process group; the agent decides when its hosts end.
  process.on('SIGINT', () => {});
}

interface AgentChannel {
  send(message: FromHost): void;
  exit(code: number): void;
}

function agentChannel(): AgentChannel {
  let inFlight = 0;
  let exitCode: number | null = null;
  const exitWhenSent = (): void => {
    if (exitCode !== null && inFlight === 0) process.exit(exitCode);
  };
  return {
    send(message) {
      if (!process.connected) return;
      inFlight += 1;
      process.send?.(message, () => {
        inFlight -= 1;
        exitWhenSent();
      });
    },
    exit(code) {
      exitCode ??= code;
      setTimeout(() => process.exit(code), LAST_MESSAGES_MS);
      exitWhenSent();
    },
  };
}
