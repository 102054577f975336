/**
 * Model processes: one loaded model that serves several handlers of a node. These are the messages between the node agent
 * and such a process, over the IPC channel of fork(). Tensors do not pass here: handler hosts connect to its Unix socket.
 */
import type { Problem } from './errors.js';

/** Which model; handlers that ask for the same one are served by one process. */
export interface ModelChoice {
  /** Name in the catalogue of the node, or of an imported model. */
  readonly model: string;
  /** Of an imported model of several nets: the one that is not the first. */
  readonly part?: string | undefined;
  readonly gpu: boolean | 'auto';
}

export interface ModelProcessConfig extends ModelChoice {
  readonly cacheDir: string;
  /** Unix socket that it listens on. */
  readonly socketPath: string;
  /** Of one inference. */
  readonly threads: number;
  /** Pictures of one inference, where the model takes several. */
  readonly batchMax: number;
  /** How long an inference may wait for more pictures to share it with, ms. */
  readonly batchWaitMs: number;
}

export type ToModelProcess =
  | { readonly type: 'open'; readonly config: ModelProcessConfig }
  | { readonly type: 'ping'; readonly id: number }
  /** Close and exit 0. */
  | { readonly type: 'stop' };

/** What a process did for one handler. */
export interface ModelUser {
  readonly session_id: number;
  readonly handler_id: number;
  /** CPU time of its inferences since the handler connected, ms. */
  readonly cpu_ms: number;
}

export interface ModelProcessStatus {
  /** Requests that wait for their inference. */
  readonly waiting: number;
  /** Since the process started. */
  readonly runs: number;
  readonly pictures: number;
  /** Requests whose deadline passed while they waited. */
  readonly late: number;
  readonly users: readonly ModelUser[];
}

export type FromModelProcess =
  /** The model is loaded and the socket listens. */
  | { readonly type: 'ready'; readonly provider: 'cpu' | 'cuda'; readonly batches: boolean }
  /** It cannot be loaded; the process exits after it. */
  | { readonly type: 'failed'; readonly problem: Problem }
  | { readonly type: 'progress'; readonly message: string }
  | { readonly type: 'pong'; readonly id: number; readonly status: ModelProcessStatus };
