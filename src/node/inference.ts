/** How the models of a handler are run: by its own host, or by processes that it shares with other handlers. */
import type { ResolvedBlueprint } from '../contracts/blueprint.js';
import type { ObservedHandler } from '../contracts/node.js';
import type { SharedModelView } from './shared-models.js';
import type { Threads } from './threads.js';

/** Empty for a handler without models. */
export type Inference = Pick<ObservedHandler, 'threads' | 'threads_why' | 'shared_models'>;

export interface InferenceLook {
  readonly session_id: number;
  readonly handler_id: number;
  readonly resolved: ResolvedBlueprint;
  /** Of the models that its host loads itself; null where it loads none. */
  readonly threads: Threads | null;
  readonly models: readonly SharedModelView[];
}

export function inferenceOf({ session_id, handler_id, resolved, threads, models }: InferenceLook): Inference {
  const found = resolved.handlers.get(handler_id);
  if (found?.type.share === undefined) return {};
  if (found.handler.share !== true) {
    return threads === null ? {} : { threads: threads.count, threads_why: threads.why };
  }
  const isHolder = (one: { session_id: number; handler_id: number }) =>
    one.session_id === session_id && one.handler_id === handler_id;
  const held = models.filter(({ holders }) => holders.some(isHolder));
  return {
    shared_models: held.map(({ model, pid, threads: own, restarts, holders }) => ({
      ...{ model, pid, threads: own.count, threads_why: own.why, restarts },
      handlers: holders.length,
    })),
  };
}

/** The most that one of its inferences has; null where it has none. */
export function threadsMax({ threads, shared_models = [] }: Inference): number | null {
  const counts = [...(threads === undefined ? [] : [threads]), ...shared_models.map((model) => model.threads)];
  return counts.length === 0 ? null : Math.max(...counts);
}
