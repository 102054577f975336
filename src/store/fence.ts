/** What keeps a coordinator that was overtaken from changing what the newer one has decided. */
import { OrchestratorError } from '../contracts/errors.js';

/** Throws NOT_LEADER when an epoch newer than `own` was handed out; `own` is null for who has none. */
export function checkFence(own: number | null, newest: number): void {
  if (own === null || newest <= own) return;
  const message = `epoch ${newest} was handed out after ${own}: another coordinator leads, and nothing was stored`;
  throw new OrchestratorError('NOT_LEADER', message, { epoch: own, epoch_newest: newest });
}
