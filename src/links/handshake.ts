/**
 * The HTTP of a link's handshake: `GET linkPath` with `Upgrade: orchestrator-link/1`, answered 101. Both sides write and
 * read it themselves: the dialling one because only a socket that one dials oneself can read payloads in place
 * (`onread`), the serving one because the socket was handed over by another process.
 * Invariant: a refusal is an ordinary HTTP answer with problem+json, so that curl shows the reason too.
 */
import type { Socket } from 'node:net';
import { OrchestratorError } from '../contracts/errors.js';
import { HANDSHAKE_BYTES_MAX, type LinkHello } from './link.js';

export const LINK_PROTOCOL_NAME = 'orchestrator-link/1';
const END_OF_HEAD = '\r\n\r\n';

/** Number() alone would take an empty text for 0. */
const INTEGER = /^-?\d+$/;

export type SocketAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'http'; readonly url: string };

/** Lower-case names, as node:http gives them. */
export type LinkHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** Headers that this side writes. */
export type OwnHeaders = Readonly<Record<string, string | number>>;

export interface UpgradeRequest {
  readonly address: SocketAddress;
  /** linkPath of the link. */
  readonly path: string;
  /** Bearer token; null when none is configured. */
  readonly token: string | null;
  readonly headers: OwnHeaders;
}

export function requestText({ address, path, token, headers }: UpgradeRequest): string {
  return headText(`GET ${path} HTTP/1.1`, {
    host: address.kind === 'unix' ? 'localhost' : new URL(address.url).host,
    connection: 'Upgrade',
    upgrade: LINK_PROTOCOL_NAME,
    ...headers,
    ...(token === null ? {} : { authorization: `Bearer ${token}` }),
  });
}

export function switchingText(headers: OwnHeaders): string {
  return headText('HTTP/1.1 101 Switching Protocols', {
    connection: 'Upgrade',
    upgrade: LINK_PROTOCOL_NAME,
    ...headers,
  });
}

function headText(first: string, headers: OwnHeaders): string {
  return [first, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)].join('\r\n') + END_OF_HEAD;
}

/** Throws LINK_PROTOCOL when the request asks for another protocol than this one. */
export function checkProtocol(headers: LinkHeaders): void {
  const offered = String(headers.upgrade)
    .split(',')
    .map((name) => name.trim().toLowerCase());
  if (offered.includes(LINK_PROTOCOL_NAME)) return;
  throw new OrchestratorError('LINK_PROTOCOL', `upgrade is ${headers.upgrade}, not ${LINK_PROTOCOL_NAME}`);
}

/** An integer of at least -1 (which it is when absent), or LINK_PROTOCOL. */
export function numberHeader(headers: LinkHeaders, name: string): number {
  const text = headers[name];
  const value = text === undefined ? -1 : INTEGER.test(String(text)) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value) && value >= -1) return value;
  throw new OrchestratorError('LINK_PROTOCOL', `${name}: ${String(text)} is not an integer of at least -1`);
}

/** What a receiver says of itself, in its request when it dials and in its answer when it is dialled. */
export function helloHeaders({ after, received, generation }: LinkHello): OwnHeaders {
  return { 'x-link-after': after, 'x-link-received': received, 'x-link-generation': generation };
}

export function helloOf(headers: LinkHeaders): LinkHello {
  return {
    after: numberHeader(headers, 'x-link-after'),
    received: numberHeader(headers, 'x-link-received'),
    generation: numberHeader(headers, 'x-link-generation'),
  };
}

/** Answers an upgrade request with a problem, and closes. */
export function refuseUpgrade(socket: Socket, error: OrchestratorError): void {
  const body = JSON.stringify(error.toProblem());
  const head = headText(`HTTP/1.1 ${error.status} ${error.code}`, {
    'content-type': 'application/problem+json',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  });
  socket.on('error', () => socket.destroy());
  socket.end(head + body);
}

/** The answer to an upgrade request, gathered from chunks. */
export type UpgradeAnswer =
  | { readonly kind: 'open'; readonly headers: LinkHeaders; readonly rest: Buffer }
  /** `complete`: the peer has said all that it promised to say. */
  | { readonly kind: 'refused'; readonly reason: string; readonly complete: boolean };

export class AnswerReader {
  #bytes: Buffer = Buffer.alloc(0);

  /** Undefined until the head is there. Throws LINK_PROTOCOL when it does not end. */
  push(chunk: Buffer): UpgradeAnswer | undefined {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    const end = this.#bytes.indexOf(END_OF_HEAD);
    if (end < 0) {
      if (this.#bytes.length > HANDSHAKE_BYTES_MAX) throw new OrchestratorError('LINK_PROTOCOL', 'endless answer');
      return undefined;
    }
    const head = this.#bytes.toString('latin1', 0, end);
    const rest = this.#bytes.subarray(end + END_OF_HEAD.length);
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
    const headers = headersOf(head);
    if (status === 101) return { kind: 'open', headers, rest };
    const shown = Number.isNaN(status) ? 'an answer that is not HTTP' : `status ${status}`;
    const promised = Math.min(Number(headers['content-length'] ?? 0) || 0, HANDSHAKE_BYTES_MAX);
    return { kind: 'refused', reason: `refused with ${shown}: ${detailOf(rest)}`, complete: rest.length >= promised };
  }
}

function headersOf(head: string): LinkHeaders {
  const lines = head.split('\r\n').slice(1);
  return Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, Math.max(0, colon)).trim().toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
}

function detailOf(body: Buffer): string {
  try {
    const problem: unknown = JSON.parse(body.toString('utf8'));
    if (typeof problem === 'object' && problem !== null && 'detail' in problem) return String(problem.detail);
  } catch {
    // Not JSON (a proxy's page): shown as it is.
  }
  return body.toString('utf8', 0, 200);
}
