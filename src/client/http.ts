/**
 * The one way of this project's processes to ask another over HTTP: one undici Agent with bounded connections, a
 * time-out on every request and a bound on every answer. Invariant: whatever goes wrong comes out as an
 * OrchestratorError: a problem+json answer becomes the error that it was, everything else (refused, reset, silent, not
 * JSON) becomes the caller's `unreachable` code with the address in the message and `context.cause` for programs.
 * Surprising: a request whose kept-alive connection turns out to be closed is sent once more when repeating it is
 * harmless; a peer that closes idle connections is not a peer that is gone.
 */
import type { Readable } from 'node:stream';
import { Agent } from '#vendor/undici.js';
import { type ErrorCode, OrchestratorError } from '../contracts/errors.js';

/** Time that a request may take unless it says otherwise, ms. */
export const REQUEST_TIMEOUT_MS = 10_000;

/** Connections to one peer: polls, commands and streams in parallel, but no flood of a peer that answers slowly. */
export const CONNECTIONS_MAX = 8;

/** Bytes of one answer: a snapshot of 1000 nodes or 100 000 rows of SQL fit, an endless answer does not. */
export const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** Why a peer could not be reached, for programs: a code of the system, `timeout`, or `answer` (it spoke, but nonsense). */
export type UnreachableCause = string;

export interface HttpClientOptions {
  /** `http://host:port` */
  readonly url: string;
  /** Bearer token; null sends none. */
  readonly token: string | null;
  /** PEM certificates that an https peer's must be signed by; the system's when absent. */
  readonly tlsCa?: string | undefined;
  /** Code of connection errors, time-outs and answers that are not ours. */
  readonly unreachable: Extract<ErrorCode, 'NODE_UNREACHABLE' | 'SERVICE_UNREACHABLE'>;
  /** What the peer is, for messages: `node`, `coordinator`. */
  readonly peer: string;
  readonly timeoutMs?: number;
  /** A connection was closed from the other side: a process that ends does that at once, whatever else it does not say. */
  onDisconnect?(): void;
}

export interface RequestOptions {
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is; `headers` say what it is. */
  readonly body?: Buffer | string;
  readonly headers?: Record<string, string>;
  readonly query?: Record<string, string | number | boolean | undefined>;
  readonly timeoutMs?: number;
  /** False: a connection that is closed before the answer is reported at once. */
  readonly repeat?: boolean;
}

export interface StreamOptions extends Pick<RequestOptions, 'query' | 'headers'> {
  /** Ends the stream. */
  readonly signal: AbortSignal;
}

export interface HttpClient {
  readonly url: string;
  /** The JSON of a 2xx answer (undefined when it has no body). */
  request(method: Method, path: string, options?: RequestOptions): Promise<unknown>;
  /** A GET whose 2xx answer does not end: the time-out holds for its head only. */
  stream(path: string, options: StreamOptions): Promise<Readable>;
  close(): Promise<void>;
}

export function createHttpClient(options: HttpClientOptions): HttpClient {
  const url = options.url.replace(/\/+$/, '');
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new OrchestratorError('CONFIG_INVALID', `${JSON.stringify(options.url)} is not an http(s) address`);
  }
  const timeoutMs = options.timeoutMs ?? REQUEST_TIMEOUT_MS;
  const agent = new Agent({
    connections: CONNECTIONS_MAX,
    pipelining: 1,
    connect: { timeout: timeoutMs, ...(options.tlsCa === undefined ? {} : { ca: options.tlsCa }) },
    headersTimeout: 0, // the signal of each request is exact; undici's own timers tick in whole seconds
    bodyTimeout: 0,
    maxResponseSize: ANSWER_BYTES_MAX,
  });
  if (options.onDisconnect !== undefined) agent.on('disconnect', () => options.onDisconnect?.());
  const auth = options.token === null ? {} : { authorization: `Bearer ${options.token}` };

  async function send(method: Method, path: string, given: RequestOptions): Promise<unknown> {
    const limitMs = given.timeoutMs ?? timeoutMs;
    const signal = AbortSignal.timeout(limitMs);
    try {
      const answer = await agent.request({
        origin: url,
        path: withQuery(path, given.query),
        method,
        signal,
        headers: {
          ...auth,
          accept: 'application/json',
          ...(given.json === undefined ? {} : { 'content-type': 'application/json' }),
          ...given.headers,
        },
        body: given.json === undefined ? given.body : JSON.stringify(given.json),
      });
      const text = await answer.body.text();
      return readAnswer(text, answer.statusCode, `${method} ${url}${path}`, options);
    } catch (error) {
      throw unreachable(error, options, url, limitMs);
    }
  }

  return {
    url,
    async request(method, path, given = {}) {
      try {
        return await send(method, path, given);
      } catch (error) {
        const harmless = method !== 'POST' && given.repeat !== false;
        if (!harmless || !isClosedConnection(error)) throw error;
        return send(method, path, given);
      }
    },
    async stream(path, { signal, query, headers }) {
      // The time-out is disarmed once the head is there; `signal` alone ends the stream then.
      const head = new AbortController();
      const timer = setTimeout(() => head.abort(new DOMException('no answer in time', 'TimeoutError')), timeoutMs);
      try {
        const answer = await agent.request({
          origin: url,
          path: withQuery(path, query),
          method: 'GET',
          signal: AbortSignal.any([signal, head.signal]),
          headers: { ...auth, ...headers },
        });
        if (answer.statusCode >= 300) {
          readAnswer(await answer.body.text(), answer.statusCode, `GET ${url}${path}`, options);
        }
        return answer.body;
      } catch (error) {
        throw unreachable(error, options, url, timeoutMs);
      } finally {
        clearTimeout(timer);
      }
    },
    close: () => agent.destroy(),
  };
}

/** `context.cause` of an error that says that a peer could not be reached; undefined for every other error. */
export function unreachableCause(error: unknown): UnreachableCause | undefined {
  if (!(error instanceof OrchestratorError)) return undefined;
  if (error.code !== 'NODE_UNREACHABLE' && error.code !== 'SERVICE_UNREACHABLE') return undefined;
  return typeof error.context.cause === 'string' ? error.context.cause : undefined;
}

function isClosedConnection(error: unknown): boolean {
  return ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'].includes(unreachableCause(error) ?? '');
}

function withQuery(path: string, query: RequestOptions['query']): string {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
  if (given.length === 0) return path;
  return `${path}?${new URLSearchParams(given.map(([name, value]): [string, string] => [name, String(value)]))}`;
}

function readAnswer(text: string, status: number, request: string, options: HttpClientOptions): unknown {
  const ok = status >= 200 && status < 300;
  if (ok && text === '') return undefined;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  if (ok && body !== undefined) return body;
  const message = `${request}: the ${options.peer} answered ${status}${ok ? ' with something that is not JSON' : ''}`;
  const error = OrchestratorError.fromProblem(asProblem(body), options.unreachable, message);
  if (error.code !== options.unreachable) throw error;
  throw new OrchestratorError(error.code, error.message, { ...error.context, status, cause: 'answer' });
}

/** The reference-compatible `POST /` answers `{"result": "Failed", reason, code}`. */
function asProblem(body: unknown): unknown {
  if (typeof body === 'object' && body !== null && 'reason' in body && 'code' in body) {
    return { code: body.code, detail: body.reason };
  }
  return body;
}

function unreachable(error: unknown, { unreachable: code, peer }: HttpClientOptions, url: string, timeoutMs: number) {
  if (error instanceof OrchestratorError) return error;
  const cause = causeOf(error);
  const why = cause === 'timeout' ? `does not answer within ${timeoutMs} ms` : `cannot be reached (${cause})`;
  return new OrchestratorError(code, `${peer} at ${url} ${why}`, { url, cause }, { cause: error });
}

function causeOf(error: unknown): UnreachableCause {
  const { name, code, cause } = error as { name?: string; code?: string; cause?: { code?: string } };
  if (name === 'TimeoutError' || code === 'UND_ERR_CONNECT_TIMEOUT') return 'timeout';
  // localhost tries ::1 and 127.0.0.1: both refusals come in one AggregateError, which carries the code.
  return code && typeof code === 'string' ? code : (cause?.code ?? name ?? 'unknown');
}
