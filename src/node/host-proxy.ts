/**
 * Posted packets and pages of handlers, streamed to and from the host's Unix socket. Invariant: neither side is read
 * faster than the other takes it, and when either goes away so does the other.
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { Transform } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { OrchestratorError } from '../contracts/errors.js';
import { POST_PACKET_BYTES_MAX } from '../contracts/limits.js';

/** Until the head of the host's answer, ms; what follows (a live page) may take for ever. */
const ANSWER_TIMEOUT_MS = 30_000;

/** They belong to one connection and not to the request (RFC 9110, 7.6.1), or are for the agent alone. */
const NOT_FORWARDED = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'te', 'trailer', 'upgrade', 'expect'],
  'authorization',
]);

export interface ProxyOptions {
  readonly socketPath: string;
  /** For messages. */
  readonly what: string;
}

/** Answers `request` with what the host answers; throws while there is nothing of it yet. */
export async function proxyToHost(request: FastifyRequest, reply: FastifyReply, options: ProxyOptions): Promise<void> {
  const { raw } = request;
  // What is refused here has a body that nobody reads to its end.
  reply.header('connection', 'close');
  checkLength(raw);
  const upstream = httpRequest({
    socketPath: options.socketPath,
    path: raw.url,
    method: raw.method,
    // One connection for one request; but if the host were the one to close it, the end of a short body could meet a
    // closed connection, and its answer would be lost with EPIPE.
    headers: { ...forwarded(raw), connection: 'keep-alive' },
    agent: false,
  });
  const abandoned = () => upstream.destroy();
  reply.raw.once('close', abandoned);
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const fail = (error: Error) => reject(error instanceof OrchestratorError ? error : gone(error, options));
    const timer = setTimeout(() => upstream.destroy(late(options)), ANSWER_TIMEOUT_MS);
    upstream.once('close', () => clearTimeout(timer));
    upstream.once('response', (response) => {
      clearTimeout(timer);
      resolve(response);
    });
    upstream.on('error', fail);
    const bounded = limited(POST_PACKET_BYTES_MAX);
    bounded.on('error', (error) => upstream.destroy(error));
    raw.once('error', abandoned);
    raw.pipe(bounded).pipe(upstream);
  });
  reply.removeHeader('connection');
  reply.hijack();
  answer.on('error', () => reply.raw.destroy());
  answer.on('aborted', () => reply.raw.destroy());
  reply.raw.writeHead(answer.statusCode ?? 502, forwarded(answer));
  reply.raw.flushHeaders();
  answer.pipe(reply.raw);
}

function checkLength({ headers }: IncomingMessage): void {
  const length = Number(headers['content-length'] ?? 0);
  if (length > POST_PACKET_BYTES_MAX) throw tooLarge(`${length} bytes, over`);
}

function tooLarge(size: string): OrchestratorError {
  const message = `the body is ${size} the bound of ${POST_PACKET_BYTES_MAX} bytes of a posted packet`;
  return new OrchestratorError('REQUEST_TOO_LARGE', message, { bytes_max: POST_PACKET_BYTES_MAX });
}

/** For bodies that do not say their length. */
function limited(bytesMax: number): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > bytesMax) done(tooLarge('larger than'));
      else done(null, chunk);
    },
  });
}

function forwarded({ headers }: IncomingMessage): Record<string, string | string[]> {
  const pairs = Object.entries(headers).filter(([name, value]) => value !== undefined && !NOT_FORWARDED.has(name));
  return Object.fromEntries(pairs) as Record<string, string | string[]>;
}

function gone(error: Error, { what }: ProxyOptions): OrchestratorError {
  return new OrchestratorError(
    'LINK_BUSY',
    `${what}: its host does not answer now (${error.message})`,
    {},
    { cause: error },
  );
}

function late({ what }: ProxyOptions): OrchestratorError {
  return new OrchestratorError('HANDLER_TIMEOUT', `${what}: its host did not answer within ${ANSWER_TIMEOUT_MS} ms`);
}
