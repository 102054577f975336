/**
 * How many threads one inference gets on this node. What the operator set wins. Otherwise the cores are divided by the
 * inferences that may run at the same time, because threads that share a core only disturb each other; and a model that
 * needs little gets one, because handing out its work would take as long as doing it. Pure.
 */

/** Inferences shorter than this stay on one thread, ms: a 128 px face detector takes 1.9 ms on one thread, 1.4 on two. */
export const THREADS_PAY_MS = 5;

/** More win little: each doubling takes a model from 1 to about 0.57 of its time, and other sessions come. */
export const THREADS_MAX = 4;

export interface ThreadsChoice {
  /** [node] threads; null: not set. */
  readonly setting: number | null;
  readonly cores: number;
  /** Handlers with work of their own on this node, and shared models; the one in question included. */
  readonly inferences: number;
  /** Declared need of its handler type per packet, at the speed of this node, ms. */
  readonly cpuMs: number;
}

/** Of one inference, and why so many, for people. */
export interface Threads {
  readonly count: number;
  readonly why: string;
}

export function chooseThreads({ setting, cores, inferences, cpuMs }: ThreadsChoice): Threads {
  if (setting !== null) return { count: setting, why: 'set by [node] threads' };
  if (cpuMs < THREADS_PAY_MS) {
    return { count: 1, why: `a packet needs ${cpuMs.toFixed(1)} ms, and less than ${THREADS_PAY_MS} do not pay more` };
  }
  const sharing = Math.max(1, inferences);
  const whole = Math.max(1, Math.floor(cores / sharing));
  const bound = whole > THREADS_MAX ? `, at most ${THREADS_MAX}` : '';
  return {
    count: Math.min(THREADS_MAX, whole),
    why: `${plural(cores, 'core')} for ${plural(sharing, 'inference')} at a time${bound}`,
  };
}

const plural = (count: number, word: string): string => `${count} ${word}${count === 1 ? '' : 's'}`;
