/** A sender behind a real HTTP server, and a proxy before it that cuts, stalls and counts. */
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { systemClock } from '../std/clock.js';
import { silentLogger } from '../std/logger.js';
import type { KeepAlive } from './frame-socket.js';
import type { SocketAddress } from './handshake.js';
import type { Dial, LinkPacket } from './link.js';
import { LinkReceiver, type LinkReceiverOptions } from './link-receiver.js';
import { LinkSender, type LinkSenderOptions } from './link-sender.js';
import { acceptLink, type ServedSocket } from './upgrade.js';

export const LINK = { source_handler: 1, source_output: 0, target_handler: 2, target_input: 0 };
export const LINK_PATH = '/v1/sessions/1/handlers/1/outputs/0/links/2.0';
const clock = systemClock();

export function newSender(options: Partial<LinkSenderOptions> & Pick<LinkSenderOptions, 'delivery'>): LinkSender {
  return new LinkSender({ handlerId: 1, clock, ...options });
}

export function newReceiver(
  options: Pick<LinkReceiverOptions, 'delivery' | 'onPacket'> & Partial<LinkReceiverOptions> & { dial: Dial },
): LinkReceiver {
  return new LinkReceiver({ link: LINK, clock, logger: silentLogger, generation: 0, settled: null, ...options });
}

export function bytesPacket(sequence: number, data: Buffer): LinkPacket {
  const payload = { type: 'bytes', data } as const;
  return { kind: 'data', sequence, timestamp: clock.now(), deadline: 0, payload, metadata: {} };
}

export function endPacket(sequence: number): LinkPacket {
  return { kind: 'end', sequence, timestamp: clock.now(), deadline: 0 };
}

export interface LinkServer {
  readonly address: SocketAddress;
  readonly sockets: Set<Socket>;
  close(): Promise<void>;
}

/** Serves `sender` at LINK_PATH on a free port of loopback, or on a Unix socket. */
export function serveLink(find: () => LinkSender, path?: string, keepAlive?: KeepAlive): Promise<LinkServer> {
  return serveUpgrades((served) => acceptLink({ ...served, sender: find() }), { path, keepAlive });
}

export interface ServeOptions {
  readonly path?: string | undefined;
  readonly keepAlive?: KeepAlive | undefined;
  /** PEM: serves https. */
  readonly tls?: { readonly key: string; readonly cert: string };
}

export async function serveUpgrades(
  onUpgrade: (served: ServedSocket) => void,
  options: ServeOptions = {},
): Promise<LinkServer> {
  const { path, keepAlive, tls } = options;
  const sockets = new Set<Socket>();
  const server = tls === undefined ? createHttpServer() : createHttpsServer(tls);
  server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('upgrade', (request, socket, head) => {
    onUpgrade({ socket: socket as Socket, headers: request.headers, head, clock, keepAlive });
  });
  const address = await listen(server, path);
  if (tls === undefined || address.kind === 'unix') {
    return { address, sockets, close: () => closeServer(server, sockets) };
  }
  const url = address.url.replace('http://127.0.0.1', 'https://localhost');
  return { address: { kind: 'http', url }, sockets, close: () => closeServer(server, sockets) };
}

function listen(server: Server | ReturnType<typeof createHttpServer>, path?: string): Promise<SocketAddress> {
  return new Promise((resolve) => {
    if (path !== undefined) server.listen(path, () => resolve({ kind: 'unix', path }));
    else {
      server.listen(0, '127.0.0.1', () => {
        resolve({ kind: 'http', url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
      });
    }
  });
}

function closeServer(server: Server | ReturnType<typeof createHttpServer>, sockets: Set<Socket>): Promise<void> {
  for (const socket of sockets) socket.destroy();
  return new Promise((resolve) => server.close(() => resolve()));
}

export interface Proxy {
  readonly address: SocketAddress;
  connections: number;
  /** Passes nothing on any more and closes nothing: what a pulled cable looks like. */
  stall(): void;
  close(): Promise<void>;
}

/**
 * Passes bytes on to `target`; `cutAfter()` says after how many bytes a new connection is cut (Infinity: never).
 * `delayMs`: how long a byte is on the way in each direction.
 */
export async function proxyTo(target: SocketAddress, cutAfter: () => number, delayMs = 0): Promise<Proxy> {
  const sockets = new Set<Socket>();
  let stalled = false;
  const server = createServer((near) => {
    const far = target.kind === 'unix' ? connect(target.path) : connect(Number(new URL(target.url).port), '127.0.0.1');
    let left = cutAfter();
    proxy.connections += 1;
    const cut = (): void => {
      near.destroy();
      far.destroy();
    };
    const pass = (from: Socket, to: Socket): void => {
      sockets.add(from);
      from.on('error', cut);
      from.on('close', cut);
      const passOn = (chunk: Buffer): void => {
        if (stalled) return;
        left -= chunk.length;
        if (left < 0) {
          to.end(chunk.subarray(0, Math.max(0, left + chunk.length)));
          cut();
        } else if (!to.write(chunk)) {
          from.pause();
          to.once('drain', () => from.resume());
        }
      };
      from.on('data', (chunk) => {
        if (delayMs === 0) passOn(chunk);
        else setTimeout(() => passOn(chunk), delayMs);
      });
    };
    pass(near, far);
    pass(far, near);
  });
  const proxy: Proxy = {
    address: await listen(server),
    connections: 0,
    stall: () => {
      stalled = true;
    },
    close: () => closeServer(server, sockets),
  };
  return proxy;
}
