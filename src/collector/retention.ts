/** Deletes what is over its bounds, every now and then, one run at a time. */
import type { Clock } from '../std/clock.js';
import type { Logger } from '../std/logger.js';
import type { TelemetryRetention, TelemetryStore } from '../store/store.js';

/** Often enough that a run deletes a small share of a day's rows. */
export const RETENTION_PERIOD_MS = 5 * 60_000;

export interface RetentionOptions {
  readonly store: TelemetryStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly retention: TelemetryRetention;
  readonly periodMs?: number;
}

/**
 * The first run starts at once: a collector that was away for a day has a day to delete. `stop` does not wait for a run:
 * that can take minutes, and closing the store ends it between two chunks.
 */
export function startRetention(options: RetentionOptions): { stop(): void } {
  const { store, clock, logger, retention, periodMs = RETENTION_PERIOD_MS } = options;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  const run = async (): Promise<void> => {
    try {
      const rows = await store.prune(clock.now(), retention);
      if (rows > 0) logger.info({ rows }, 'deleted rows over their retention');
    } catch (error) {
      if (!stopped) logger.warn({ err: error }, 'rows over their retention could not be deleted; tried again later');
    }
    if (!stopped) schedule();
  };
  const schedule = (): void => {
    timer = setTimeout(() => void run(), periodMs).unref();
  };
  void run();
  return {
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
