/** Any failure of a request as an answer: an error of the catalogue, in the shape that the route's peers understand. */
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { OrchestratorError, type Problem, toOrchestratorError } from '../contracts/errors.js';
import type { ReferenceAnswer } from '../contracts/report.js';
import type { Logger } from '../std/logger.js';

export const PROBLEM_CONTENT_TYPE = 'application/problem+json';

/** Seconds after which a peer may try again what was refused for lack of room. */
export const RETRY_AFTER_S = 1;

export interface ErrorAnswerOptions {
  readonly logger: Logger;
  /** The server's bound on a body, bytes, for the message. */
  readonly bodyLimit: number;
}

/** Answers `thrown`. Faults of the program itself are logged with their stack and told without details. */
export function sendError(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  options: ErrorAnswerOptions,
): FastifyReply {
  const error = httpError(thrown, request, options);
  if (error.status >= 500) {
    options.logger.error({ err: thrown, code: error.code, method: request.method, url: request.url }, error.message);
  } else {
    options.logger.debug({ code: error.code, method: request.method, url: request.url }, error.message);
  }
  if (error.status === 429 || error.status === 503) reply.header('retry-after', String(RETRY_AFTER_S));
  reply.code(error.status);
  if (request.routeOptions?.config?.answers === 'reference') {
    return reply.type('application/json').send(JSON.stringify(referenceFailure(error)));
  }
  return reply.type(PROBLEM_CONTENT_TYPE).send(JSON.stringify(problemOf(error)));
}

/** The problem body of an error; a fault of the program keeps its message for the log. */
export function problemOf(error: OrchestratorError): Problem {
  return { ...error.toProblem(), detail: publicMessage(error) };
}

/** What a reference peer reads. */
export function referenceFailure(error: OrchestratorError): ReferenceAnswer {
  return { result: 'Failed', reason: publicMessage(error), code: error.code };
}

/** Bytes that are not HTTP never reach a route; they get the same shape of answer and the connection is closed. */
export function answerMalformedHttp(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const timedOut = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  const detail = timedOut ? 'the request did not arrive in time' : `not an HTTP request (${error.code ?? 'unknown'})`;
  const body = JSON.stringify(new OrchestratorError('REQUEST_INVALID', detail).toProblem());
  socket.end(
    `HTTP/1.1 ${timedOut ? '408 Request Timeout' : '400 Bad Request'}\r\ncontent-type: ${PROBLEM_CONTENT_TYPE}\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

function publicMessage(error: OrchestratorError): string {
  return error.code === 'INTERNAL' ? 'the program met a fault of its own; its log has the details' : error.message;
}

function httpError(thrown: unknown, request: FastifyRequest, options: ErrorAnswerOptions): OrchestratorError {
  if (thrown instanceof OrchestratorError) return thrown;
  const { code, statusCode, message } = thrown as { code?: string; statusCode?: number; message?: string };
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    const bound = request.routeOptions?.bodyLimit ?? options.bodyLimit;
    const given = request.headers['content-length'];
    return new OrchestratorError(
      'REQUEST_TOO_LARGE',
      `the body is ${given === undefined ? 'larger than' : `${given} bytes, over`} the bound of ${bound} bytes`,
      { bytes_max: bound },
    );
  }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    const given = request.headers['content-type'] ?? 'none';
    return new OrchestratorError('REQUEST_INVALID', `content-type ${given} is not accepted; send application/json`);
  }
  // What Fastify itself refuses (bad JSON, bad URL, wrong content-length) carries a 4xx status.
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new OrchestratorError('REQUEST_INVALID', message ?? 'the request is malformed', {}, { cause: thrown });
  }
  return toOrchestratorError(thrown);
}
