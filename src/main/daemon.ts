/**
 * The life of a daemon process: start, say so, wait for SIGINT, SIGTERM or the end of the parent, close within a bound,
 * exit. Logs are JSON lines on stderr. A second signal ends it at once.
 */
import { type Logger as PinoLogger, pino } from 'pino';
import { type OrchestratorError, toOrchestratorError } from '../contracts/errors.js';

export interface DaemonOptions {
  readonly insecure: boolean;
  /** End when stdin ends: a parent that dies, by whatever cause, takes its daemons with it. */
  readonly untilStdinEnds: boolean;
  readonly logLevel: string;
}

export interface RunningDaemon {
  /** `http://host:port` where it listens. */
  readonly url: string;
  close(): Promise<void>;
}

/** Time for a graceful close before the process exits anyway, ms: handlers drain for 5 s, then stop within 3 s. */
export const CLOSE_TIMEOUT_MS = 10_000;

/** pino satisfies std/logger, with its overloads narrowed. */
export type ProcessLogger = PinoLogger;

export function createLogger(name: string, level: string): ProcessLogger {
  return pino({ name, level, base: { name } }, pino.destination({ dest: 2, sync: true }));
}

export async function runDaemon(
  name: string,
  options: DaemonOptions,
  start: (logger: ProcessLogger) => Promise<RunningDaemon>,
): Promise<void> {
  const logger = createLogger(name, options.logLevel);
  process.on('uncaughtException', (error) => crash(logger, error));
  process.on('unhandledRejection', (error) => crash(logger, error));
  const ended = endOfLife(options.untilStdinEnds);
  const daemon = await start(logger);
  logger.info({ url: daemon.url, pid: process.pid }, `${name} listens on ${daemon.url}`);
  const reason = await ended;
  logger.info({ reason }, `${name} closes`);
  const timer = setTimeout(() => {
    logger.error({ timeout_ms: CLOSE_TIMEOUT_MS }, `${name} did not close in time`);
    process.exit(1);
  }, CLOSE_TIMEOUT_MS);
  await daemon.close();
  clearTimeout(timer);
  process.exit(0);
}

function crash(logger: ProcessLogger, thrown: unknown): void {
  const error: OrchestratorError = toOrchestratorError(thrown);
  logger.error({ code: error.code, stack: thrown instanceof Error ? thrown.stack : undefined }, error.message);
  process.exit(1);
}

function endOfLife(untilStdinEnds: boolean): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        process.once(signal, () => process.exit(1));
        resolve(signal);
      });
    }
    if (!untilStdinEnds) return;
    process.stdin.on('error', () => resolve('parent gone'));
    process.stdin.on('end', () => resolve('parent gone')).resume();
  });
}
