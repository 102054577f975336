/** What passes between a store and its thread or its query process. */
import { type ErrorCode, OrchestratorError } from '../../contracts/errors.js';

export interface ThreadOptions {
  readonly kind: 'state' | 'telemetry';
  readonly path: string;
  readonly busyTimeoutMs: number;
}

export interface Call {
  readonly id: number;
  readonly method: string;
  readonly argument: unknown;
}

export type Answer =
  | { readonly type: 'ready' }
  /** The database cannot be opened; the thread ends. */
  | { readonly type: 'unusable'; readonly error: ErrorText }
  | { readonly type: 'result'; readonly id: number; readonly value: unknown }
  | { readonly type: 'error'; readonly id: number; readonly error: ErrorText };

/** An OrchestratorError without its class, which messages do not carry. */
export interface ErrorText {
  readonly code: ErrorCode;
  readonly message: string;
  readonly context: Record<string, unknown>;
}

export function errorText({ code, message, context }: OrchestratorError): ErrorText {
  return { code, message, context };
}

export function errorOf({ code, message, context }: ErrorText): OrchestratorError {
  return new OrchestratorError(code, message, context);
}
