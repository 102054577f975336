/**
 * The HTTP server that coordinator, collector and node agent share: Fastify with TypeBox schemas, one way of checking
 * the bearer token, one shape of error. Invariant: every answer that is not a success is problem+json (RFC 9457) with a
 * code of the catalogue, also for requests that never reach a route; only routes with `config: {answers: 'reference'}`
 * answer `{"result": "Failed", reason, code}` instead, as the reference's peers expect.
 * Surprising: requests are checked with contracts/schema.ts and not with ajv, so that a fault reads the same whether it
 * came from a file or over HTTP, and nothing is removed or coerced in a body.
 */
import { isIP } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerDefault } from 'fastify';
import { type FastifyBaseLogger, type FastifyInstance, type FastifySchemaCompiler, fastify } from 'fastify';
import type { TSchema } from '#vendor/typebox.js';
import { Value } from '#vendor/typebox.js';
import { OrchestratorError } from '../contracts/errors.js';
import { CONTROL_BODY_BYTES_MAX } from '../contracts/limits.js';
import { schemaFaults } from '../contracts/schema.js';
import type { Logger } from '../std/logger.js';
import { bearerCheck, refuseForeignOrigin } from './access.js';
import { answerMalformedHttp, problemOf, sendError } from './problems.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Shape of a failure on this route; `problem` when absent. */
    answers?: 'problem' | 'reference';
  }
}

/** A Fastify instance whose route schemas are TypeBox types. */
export type HttpServer = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/**
 * Time until the whole of a request must have arrived, ms: 16 MiB over a 2 Mbit/s edge link take 67 s. An upgraded
 * connection (a link) is no longer a request and is not cut.
 */
export const REQUEST_RECEIVE_TIMEOUT_MS = 120_000;

export interface HttpServerOptions {
  /** The bearer token that requests must carry; null: none is needed. */
  readonly token: string | null;
  /** Routes that need no token: a path (`/v1/health`), a path with its method (`GET /metrics`), or a prefix (`/web/*`). */
  readonly open?: readonly string[];
  /** Largest request body, bytes; a route may set its own `bodyLimit`. */
  readonly bodyLimit?: number;
  readonly requestTimeoutMs?: number;
  /** PEM; with it the server speaks https, and nothing else. */
  readonly tls?: TlsIdentity | null;
  readonly logger: Logger;
}

export interface TlsIdentity {
  readonly cert: string;
  readonly key: string;
}

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { logger, bodyLimit = CONTROL_BODY_BYTES_MAX } = options;
  const tls = options.tls ?? null;
  const app: HttpServer = fastify({
    // The two kinds of server differ in nothing that this code uses.
    ...((tls === null ? {} : { https: tls }) as object),
    bodyLimit,
    requestTimeout: options.requestTimeoutMs ?? REQUEST_RECEIVE_TIMEOUT_MS,
    trustProxy: false,
    clientErrorHandler: answerMalformedHttp,
    frameworkErrors: (error, request, reply) => sendError(error, request, reply, { logger, bodyLimit }),
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.setValidatorCompiler(checkRequestPart as FastifySchemaCompiler<TSchema>);
  // Response schemas document the API; leaving fields out because a schema does not list them would hide faults.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  app.addHook('onRequest', refuseForeignOrigin);
  app.addHook('onRequest', bearerCheck({ token: options.token, open: options.open ?? [] }));
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply, { logger, bodyLimit }));
  app.setNotFoundHandler((request, reply) => {
    const error = new OrchestratorError('ROUTE_NOT_FOUND', `${request.method} ${request.url} is not in this API`);
    return reply
      .code(error.status)
      .type('application/problem+json')
      .send(JSON.stringify(problemOf(error)));
  });
  return app;
}

export interface ListenOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly token: string | null;
  /** True: listening off loopback without a token is what the operator wants. */
  readonly insecure?: boolean;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  /** `http://host:port`, for log lines and for clients on this machine. */
  readonly url: string;
}

/** Binds the server. Throws TOKEN_REQUIRED, ADDRESS_IN_USE, or CONFIG_INVALID for an address that cannot be bound. */
export async function listen(app: HttpServer, options: ListenOptions): Promise<ListenAddress> {
  const { host, port, token, insecure = false } = options;
  if (token === null && !insecure && !isLoopback(host)) {
    throw new OrchestratorError(
      'TOKEN_REQUIRED',
      `${host}:${port} can be reached from other machines: set [security] token or ORCHESTRATOR_TOKEN, or say --insecure`,
      { host, port },
    );
  }
  try {
    await app.listen({ host, port });
  } catch (error) {
    throw bindError(error, host, port);
  }
  const bound = app.server.address();
  if (bound === null || typeof bound === 'string')
    throw new OrchestratorError('INTERNAL', 'the server has no TCP port');
  const shown = isIP(host) === 6 ? `[${host}]` : host;
  const scheme = app.server instanceof TlsServer ? 'https' : 'http';
  return { host, port: bound.port, url: `${scheme}://${shown}:${bound.port}` };
}

/** Whether only this machine can reach `host`: 127.0.0.0/8, ::1 or localhost. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function bindError(error: unknown, host: string, port: number): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  const options = { cause: error };
  if (code === 'EADDRINUSE') {
    return new OrchestratorError(
      'ADDRESS_IN_USE',
      `${host}:${port} is taken by another process`,
      { host, port },
      options,
    );
  }
  if (code === 'EADDRNOTAVAIL' || code === 'EACCES' || code === 'ENOTFOUND') {
    const why = code === 'EACCES' ? 'needs more rights' : 'is not an address of this machine';
    return new OrchestratorError('CONFIG_INVALID', `${host}:${port} ${why} (${code})`, { host, port }, options);
  }
  return error;
}

const PART_NAMES: Record<string, string> = {
  body: 'body',
  querystring: 'query',
  query: 'query',
  params: 'path',
  headers: 'headers',
};

/** Defaults are filled in everywhere; text becomes numbers and booleans only where HTTP knows nothing but text. */
function checkRequestPart({ schema, httpPart = 'body' }: { schema: TSchema; httpPart?: string }) {
  return (value: unknown): { value: unknown } | { error: Error } => {
    const typed = httpPart === 'body' ? value : Value.Convert(schema, value);
    const filled = Value.Default(schema, typed);
    const faults = schemaFaults(schema, filled);
    if (faults.length === 0) return { value: filled };
    const message = `${PART_NAMES[httpPart] ?? httpPart}: ${faults.slice(0, 5).join('; ')}`;
    return { error: new OrchestratorError('REQUEST_INVALID', message, { faults: faults.slice(0, 20) }) };
  };
}
