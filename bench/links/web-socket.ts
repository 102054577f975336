/** ws without compression, and dialled by the receiver like our link: a server need not mask what it sends. */
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { deferred } from '#src/std/deferred.js';
import { type SendingEnd, stamped, type Transport, WAITING_BYTES_MAX } from './transport.js';

const options = { perMessageDeflate: false, maxPayload: 0 };

export const webSocket: Transport = {
  name: 'ws',
  listens: 'sender',
  async send(): Promise<SendingEnd> {
    const server = new WebSocketServer({ ...options, host: '127.0.0.1', port: 0 });
    await new Promise<void>((resolve) => server.once('listening', resolve));
    const connected = deferred<WebSocket>();
    let socket: WebSocket | null = null;
    server.on('connection', (one) => {
      socket = one;
      connected.resolve(one);
    });
    return {
      address: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
      send(data, stampMs) {
        if (socket === null) return connected.promise;
        const sent = deferred<void>();
        socket.send(stamped(data, stampMs), () => sent.resolve());
        return socket.bufferedAmount < WAITING_BYTES_MAX ? undefined : sent.promise;
      },
    };
  },
  async receive(address, arrived) {
    const socket = new WebSocket(address, options);
    socket.on('message', (data: Buffer) => arrived(data.readDoubleLE(0), data.length));
    await new Promise((resolve) => socket.once('open', resolve));
    return { address: '' };
  },
};
