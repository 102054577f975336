/** Why a handler host is not there, in words for people; `name` says which: `session 3 handlers 4, 5`. */
import { OrchestratorError, type Problem } from '../contracts/errors.js';
import type { HostExit } from './host-process.js';

/** Characters of its last line. */
const LAST_LINE_CHARS_MAX = 500;

export function exited(name: string, what: string): OrchestratorError {
  return new OrchestratorError('HOST_EXITED', `${name}: the handler host ${what}`);
}

export function exitProblem(name: string, { code, signal, lastLine }: HostExit): OrchestratorError {
  const how = signal === null ? `with exit code ${code}` : `by ${signal}`;
  return exited(name, `ended ${how}${lastLine === '' ? '' : `: ${lastLine.slice(0, LAST_LINE_CHARS_MAX)}`}`);
}

export function killedByKernel(name: string, memMbMax: number): OrchestratorError {
  return new OrchestratorError('HOST_EXITED', `${name}: over the limit of ${memMbMax} MiB, killed by the kernel`, {
    mem_mb_max: memMbMax,
  });
}

export function overMemory(name: string, memMb: number, memMbMax: number): OrchestratorError {
  const rounded = Math.round(memMb);
  return new OrchestratorError(
    'HOST_EXITED',
    `${name}: ${rounded} MiB resident, over the limit of ${memMbMax} MiB, killed`,
    { mem_mb: rounded, mem_mb_max: memMbMax },
  );
}

export function unanswered(name: string, silentMs: number): OrchestratorError {
  return new OrchestratorError('HOST_EXITED', `${name}: no answer to pings for ${silentMs} ms, killed`);
}

export function notReady(name: string, boundMs: number): OrchestratorError {
  return new OrchestratorError('HANDLER_TIMEOUT', `${name}: not ready within ${boundMs} ms`);
}

/** What a host said of a handler that it could not create. */
export function notCreated(handler_id: number, problem: Problem): OrchestratorError {
  const error = OrchestratorError.fromProblem(problem, 'HANDLER_FAILED', `handler ${handler_id} could not be created`);
  return new OrchestratorError(error.code, error.message, { ...error.context, handler_id });
}
