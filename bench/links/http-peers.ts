/** One POST per packet over one kept connection: node:http as it comes, and undici with its pipelining. */
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Client } from 'undici';
import type { Arrived, ReceivingEnd, SendingEnd, Transport } from './transport.js';

/** Posts under way at once on undici's connection. */
const UNDICI_PIPELINING = 8;

async function receive(_: string, arrived: Arrived): Promise<ReceivingEnd> {
  const server = createServer((incoming, response) => {
    const stampMs = Number(incoming.headers['x-stamp']);
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
      arrived(stampMs, body.length);
      response.writeHead(204).end();
    });
  });
  server.requestTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

export const nodeHttp: Transport = {
  name: 'node:http, POST per packet',
  listens: 'receiver',
  async send(address): Promise<SendingEnd> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const post = (data: Buffer, stampMs: number) =>
      new Promise<void>((resolve, reject) => {
        const headers = { 'x-stamp': String(stampMs), 'content-length': data.length };
        const outgoing = request(`${address}/packet`, { method: 'POST', agent, headers }, (response) => {
          response.on('end', resolve).resume();
        });
        outgoing.on('error', reject).end(data);
      });
    return { address: '', send: post };
  },
  receive,
};

export const undici: Transport = {
  name: 'undici, POST per packet',
  listens: 'receiver',
  async send(address): Promise<SendingEnd> {
    const client = new Client(address, { pipelining: UNDICI_PIPELINING });
    const under = new Set<Promise<unknown>>();
    return {
      address: '',
      send(data, stampMs) {
        const headers = { 'x-stamp': String(stampMs) };
        // Marked as idempotent, which POST is not by itself, because only then will undici pipeline it.
        const post = client
          .request({ method: 'POST', path: '/packet', headers, body: data, idempotent: true })
          .then(({ body }) => body.dump());
        under.add(post);
        void post.finally(() => under.delete(post));
        return under.size < UNDICI_PIPELINING ? undefined : Promise.race(under);
      },
    };
  },
  receive,
};
