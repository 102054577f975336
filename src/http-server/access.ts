/** Who may ask: the bearer token, and no web page of another origin. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { OrchestratorError } from '../contracts/errors.js';

export interface BearerOptions {
  readonly token: string | null;
  readonly open: readonly string[];
}

/** An onRequest hook: throws TOKEN_MISSING or TOKEN_INVALID unless the route is open or the token fits. */
export function bearerCheck({ token, open }: BearerOptions) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (token === null || isOpen(open, request)) return;
    reply.header('www-authenticate', 'Bearer');
    const given = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1];
    if (given === undefined) {
      throw new OrchestratorError(
        'TOKEN_MISSING',
        `${request.method} ${pathOf(request)} needs authorization: Bearer TOKEN`,
      );
    }
    if (!sameSecret(given, token)) {
      throw new OrchestratorError('TOKEN_INVALID', 'the bearer token is not the configured one');
    }
    reply.removeHeader('www-authenticate');
  };
}

/** Equal or not in a time that does not tell where two secrets differ, nor how long the right one is. */
export function sameSecret(given: string, wanted: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted));
}

/**
 * Browsers name the page's origin on every POST, PUT and DELETE. Without this, any page that a user opens could post
 * to a server on the user's own loopback, which needs no token.
 */
export async function refuseForeignOrigin(request: FastifyRequest): Promise<void> {
  const { origin, host } = request.headers;
  if (origin === undefined || request.method === 'GET' || request.method === 'HEAD') return;
  if (URL.canParse(origin) && new URL(origin).host === host) return;
  throw new OrchestratorError(
    'REQUEST_INVALID',
    `a page of ${origin} may not send requests to ${host ?? 'this server'}`,
  );
}

function isOpen(open: readonly string[], request: FastifyRequest): boolean {
  const path = pathOf(request);
  return open.some((entry) => {
    const [method, pattern] = entry.includes(' ') ? entry.split(' ', 2) : [request.method, entry];
    if (method !== request.method) return false;
    return pattern!.endsWith('*') ? path.startsWith(pattern!.slice(0, -1)) : path === pattern;
  });
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0]!;
}
