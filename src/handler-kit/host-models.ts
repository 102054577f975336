/** The host's side of shared models: asks the agent for one, and tells it when it is not needed any more. */
import { OrchestratorError } from '../contracts/errors.js';
import type { ModelChoice } from '../contracts/model-process.js';
import { type Deferred, deferred } from '../std/deferred.js';
import type { FromHost, ToHost } from './host-protocol.js';

export type ModelAnswer = Extract<ToHost, { type: 'model' | 'no_model' }>;

export interface OpenedModel {
  readonly socketPath: string;
  release(): void;
}

export class HostModels {
  readonly #send: (message: FromHost) => void;
  readonly #asked = new Map<number, Deferred<OpenedModel>>();
  #nextId = 1;

  constructor(send: (message: FromHost) => void) {
    this.#send = send;
  }

  /** Resolves when it is loaded, which the agent bounds; throws why it cannot be. */
  open(handler_id: number, choice: ModelChoice): Promise<OpenedModel> {
    const id = this.#nextId++;
    const opened = deferred<OpenedModel>();
    this.#asked.set(id, opened);
    this.#send({ type: 'model', id, handler_id, choice });
    return opened.promise;
  }

  take(answer: ModelAnswer): void {
    const { id } = answer;
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (answer.type === 'model') {
      asked?.resolve({
        socketPath: answer.socketPath,
        release: () => this.#send({ type: 'model_released', id }),
      });
    } else asked?.reject(OrchestratorError.fromProblem(answer.problem, 'MODEL_EXITED', 'a model could not be shared'));
  }
}
