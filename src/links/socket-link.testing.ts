/** A sender behind a real HTTP server, and a path to it that can be long, cut and silent. */
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { systemClock } from '../std/clock.js';
import { silentLogger } from '../std/logger.js';
import type { KeepAlive } from './frame-socket.js';
import type { SocketAddress } from './handshake.js';
import type { Dial, LinkPacket } from './link.js';
import { LinkReceiver, type LinkReceiverOptions } from './link-receiver.js';
import { LinkSender, type LinkSenderOptions } from './link-sender.js';
import { type CutAfterBytes, Shaper } from './shaper.js';
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

export interface Path {
  readonly address: SocketAddress;
  readonly shaper: Shaper;
  close(): Promise<void>;
}

/** A way to `target` on which a new connection is cut after `cutAfter()` bytes in either direction. */
export async function pathTo(target: SocketAddress, cutAfter?: () => number, delayMs = 0): Promise<Path> {
  const cutAfterBytes = (): CutAfterBytes => {
    const bytes = cutAfter!();
    return { in: bytes, out: bytes };
  };
  const shaper = new Shaper({ delayMs, ...(cutAfter === undefined ? {} : { cutAfterBytes }) });
  return { address: await shaper.forward(target), shaper, close: () => shaper.close() };
}
