/** Ctrl-C as an AbortSignal: the first asks for an orderly end, the second ends at once. */

/** Exit code of a program that a signal ended: 128 + SIGINT. */
export const INTERRUPTED = 130;

/** How often a program that npm started looks whether npm is still there, ms. */
const PARENT_PERIOD_MS = 500;

/**
 * `npx orchestrator up &` and `kill` of that reach npm and the shell between, which end without a word to this process.
 * Only under npm: a program that a shell starts and outlives on purpose goes on.
 */
function whenNpmEnds(then: () => void): NodeJS.Timeout | undefined {
  if (process.env.npm_execpath === undefined) return undefined;
  const parent = process.ppid;
  return setInterval(() => process.ppid !== parent && then(), PARENT_PERIOD_MS).unref();
}

export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T | 'interrupted'> {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(INTERRUPTED);
    controller.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  const watch = whenNpmEnds(() => controller.abort());
  try {
    return await work(controller.signal);
  } catch (error) {
    if (controller.signal.aborted) return 'interrupted';
    throw error;
  } finally {
    clearInterval(watch);
    process.removeListener('SIGINT', onSignal).removeListener('SIGTERM', onSignal);
  }
}
