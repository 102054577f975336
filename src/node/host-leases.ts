/**
 * The shared models that one host holds. What a process held when it ended is kept until the next one has its own, so that
 * a host that is started again does not have its models loaded again.
 */
import { type OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import type { ModelChoice } from '../contracts/model-process.js';
import type { FromHost, ToHost } from '../handler-kit/host-protocol.js';
import type { ModelLease } from './shared-models.js';

/** `onFailed`: the model cannot be served any more. */
export type OpenModel = (
  handler_id: number,
  choice: ModelChoice,
  onFailed: (problem: OrchestratorError) => void,
) => Promise<ModelLease>;

export class HostLeases {
  readonly #open: OpenModel;
  /** Of the present process, by its own numbers. */
  #present = new Map<number, ModelLease>();
  #former: ModelLease[] = [];

  constructor(open: OpenModel) {
    this.#open = open;
  }

  /** The answer for the process that asked; nothing is held when that is not there any more. */
  async open(
    { id, handler_id, choice }: Extract<FromHost, { type: 'model' }>,
    isPresent: () => boolean,
    onFailed: (problem: OrchestratorError) => void,
  ): Promise<ToHost> {
    try {
      const lease = await this.#open(handler_id, choice, onFailed);
      if (isPresent()) this.#present.set(id, lease);
      else lease.release();
      return { type: 'model', id, socketPath: lease.socketPath };
    } catch (error) {
      return { type: 'no_model', id, problem: toOrchestratorError(error).toProblem() };
    }
  }

  /** Whether each model that the present process holds is there for it. */
  get areServed(): boolean {
    return [...this.#present.values()].every((lease) => lease.isServing());
  }

  release(id: number): void {
    this.#present.get(id)?.release();
    this.#present.delete(id);
  }

  /** The present process is gone. */
  ended(): void {
    this.#former.push(...this.#present.values());
    this.#present = new Map();
  }

  /** The next process has its own, or there will be none. */
  releaseFormer(): void {
    for (const lease of this.#former.splice(0)) lease.release();
  }
}
