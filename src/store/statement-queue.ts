/** People's statements take turns: one at a time, and a bound on those that wait. */
import { OrchestratorError } from '../contracts/errors.js';
import { SQL_WAITING_MAX } from './store.js';

export class StatementQueue {
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** Throws SQL_REFUSED when too many wait. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting > SQL_WAITING_MAX) {
      throw new OrchestratorError('SQL_REFUSED', `${SQL_WAITING_MAX} statements are waiting already; try again later`);
    }
    this.#waiting += 1;
    const turn = this.#tail.then(work);
    this.#tail = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.#waiting -= 1;
    }
  }
}
