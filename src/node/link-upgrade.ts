/**
 * Upgrade requests for links and taps, and of programs that join a handler: checked here, then the raw connection goes to
 * the handler host that has the output, or the handler; a host that is being made is waited for. Not a byte of a packet
 * passes through the agent, except over TLS. A refusal is an HTTP answer on the connection.
 * Surprising: whoever reads the connection last before it is handed over must hand over what was read as well.
 */
import type { IncomingMessage } from 'node:http';
import { STATUS_CODES } from 'node:http';
import { connect, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { OrchestratorError, toOrchestratorError } from '../contracts/errors.js';
import { upgradeTargetOf } from '../handler-kit/host-protocol.js';
import { sameSecret } from '../http-server/access.js';
import { PROBLEM_CONTENT_TYPE, RETRY_AFTER_S } from '../http-server/problems.js';
import { checkProtocol } from '../links/handshake.js';
import type { Logger } from '../std/logger.js';
import type { HeldUpgrades } from './held-upgrades.js';
import type { Host } from './session-hosts.js';
import type { SessionManager } from './session-manager.js';

/** How long a refused connection may stay open for its answer to be read, ms. */
const REFUSED_LINGER_MS = 1000;

export interface LinkUpgradeOptions {
  readonly sessions: SessionManager;
  readonly held: HeldUpgrades;
  readonly token: string | null;
  readonly logger: Logger;
  /** Where a request leads; by its address when absent. */
  readonly leadsTo?: (request: IncomingMessage) => UpgradeDestination;
}

export interface UpgradeDestination {
  readonly session_id: number;
  readonly handler_id: number;
  /** As the handler host is to read it. */
  readonly url: string;
}

export function linkUpgrades({ sessions, held, token, logger, leadsTo = byAddress }: LinkUpgradeOptions) {
  return (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const refused = (error: OrchestratorError): void => {
      logger.debug({ code: error.code, url: request.url }, error.message);
      refuse(socket, error);
    };
    socket.on('error', () => socket.destroy());
    try {
      checkBearer(request, token);
      const { session_id, handler_id, url } = leadsTo(request);
      const flat = { url, headers: flatHeaders(request) };
      held.take({
        socket,
        find: () => sessions.servingHost(session_id, handler_id),
        give(host, early) {
          const isGiven = give(flat, socket, Buffer.concat([head, early]), host);
          if (!isGiven)
            refused(new OrchestratorError('LINK_BUSY', `the host of handler ${handler_id} is starting again`));
        },
        refuse: refused,
      });
    } catch (thrown) {
      refused(toOrchestratorError(thrown));
    }
  };
}

/** False when its process has just ended. */
function give(flat: FlatRequest, socket: Duplex, head: Buffer, { supervisor, socketPath }: Host): boolean {
  if (socket instanceof TLSSocket) {
    relay(flat, socket, head, socketPath);
    return true;
  }
  if (!(socket instanceof Socket)) throw new OrchestratorError('LINK_PROTOCOL', 'a link needs a TCP connection');
  socket.setTimeout(0);
  socket.setNoDelay(true);
  return supervisor.takeLink({ ...flat, head: head.toString('base64') }, socket);
}

/**
 * What is encrypted is known to this process only and cannot be handed over: it is passed on to the host's own socket,
 * request and all, and each side is read no faster than the other takes it.
 */
function relay({ url, headers }: FlatRequest, near: TLSSocket, head: Buffer, socketPath: string): void {
  const far = connect(socketPath);
  near.setTimeout(0);
  near.setNoDelay(true);
  far.once('connect', () => {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    far.write([`GET ${url} HTTP/1.1`, ...lines, '', ''].join('\r\n'));
    if (head.length > 0) far.write(head);
    near.pipe(far).pipe(near);
    far.on('close', () => near.destroy());
  });
  near.on('close', () => far.destroy());
  far.on('error', (error) => {
    if (far.bytesWritten > 0) near.destroy();
    else refuse(near, new OrchestratorError('LINK_BUSY', `the host does not answer now (${error.message})`));
  });
}

function checkBearer({ headers, url }: IncomingMessage, token: string | null): void {
  if (token === null) return;
  const given = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
  if (given === undefined) {
    throw new OrchestratorError('TOKEN_MISSING', `GET ${url} needs authorization: Bearer TOKEN`);
  }
  if (!sameSecret(given, token)) {
    throw new OrchestratorError('TOKEN_INVALID', 'the bearer token is not the configured one');
  }
}

function byAddress({ method, url = '', headers }: IncomingMessage): UpgradeDestination {
  const target = method === 'GET' ? upgradeTargetOf(url.split('?', 1)[0]!) : null;
  if (target === null) throw new OrchestratorError('ROUTE_NOT_FOUND', `${method} ${url} is no link of this API`);
  checkProtocol(headers);
  const { session_id, handler_id, target_handler } = target;
  // Usually the receiver dials, for an output here; a sender that dials has an input here.
  return { session_id, handler_id: headers['x-link-role'] === 'sender' ? target_handler : handler_id, url };
}

interface FlatRequest {
  readonly url: string;
  readonly headers: Record<string, string>;
}

/** The bearer token stays here: hosts need not see it. */
function flatHeaders({ headers }: IncomingMessage): Record<string, string> {
  const pairs = Object.entries(headers).filter(([name]) => name !== 'authorization');
  return Object.fromEntries(
    pairs.map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : (value ?? '')]),
  );
}

function refuse(socket: Duplex, error: OrchestratorError): void {
  const body = JSON.stringify(error.toProblem());
  const more = [
    ...(error.status === 503 ? [`retry-after: ${RETRY_AFTER_S}`] : []),
    ...(error.code === 'TOKEN_MISSING' || error.code === 'TOKEN_INVALID' ? ['www-authenticate: Bearer'] : []),
  ];
  const head = [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? 'Error'}`,
    `content-type: ${PROBLEM_CONTENT_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    ...more,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  // Nobody reads it any more: a peer that keeps its side open would keep the agent from closing.
  const timer = setTimeout(() => socket.destroy(), REFUSED_LINGER_MS);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}
