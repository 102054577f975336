import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { createFollowingClient } from './following.js';

let servers: Server[] = [];
afterEach(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  servers = [];
});

interface Peer {
  readonly url: string;
  readonly asked: string[];
  close(): Promise<void>;
}

/** Leads when `leader` answers undefined. */
async function peer(name: string, leader: () => string | null | undefined): Promise<Peer> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.method!);
    const where = leader();
    if (where === undefined) return response.end(JSON.stringify({ name }));
    const problem = {
      title: 'x',
      status: 503,
      detail: 'another one leads',
      code: 'NOT_LEADER',
      context: { leader: where },
    };
    response.writeHead(503, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () =>
    new Promise<void>((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, close };
}

const follow = (...urls: string[]) =>
  createFollowingClient({ urls, token: null, unreachable: 'SERVICE_UNREACHABLE', peer: 'coordinator' });

test('goes where a follower says that the leader is, and stays there', async () => {
  const leader = await peer('leader', () => undefined);
  const follower = await peer('follower', () => leader.url);
  const client = follow(follower.url);
  expect(await client.request('POST', '/x')).toEqual({ name: 'leader' });
  expect(await client.request('GET', '/x')).toEqual({ name: 'leader' });
  expect([follower.asked, leader.asked, client.url]).toEqual([['POST'], ['POST', 'GET'], leader.url]);
  await client.close();
});

test('waits while nobody leads, and passes one that cannot be reached', async () => {
  let electing = 3;
  const gone = await peer('gone', () => null);
  await gone.close();
  const late = await peer('late', () => (electing-- > 0 ? null : undefined));
  const client = follow(gone.url, late.url);
  expect(await client.request('POST', '/x')).toEqual({ name: 'late' });
  await client.close();
});

test('one address that cannot be reached is an error at once', async () => {
  const gone = await peer('gone', () => null);
  await gone.close();
  const client = follow(gone.url);
  await expect(client.request('GET', '/x')).rejects.toMatchObject({
    code: 'SERVICE_UNREACHABLE',
    context: { cause: 'ECONNREFUSED' },
  });
  await client.close();
});

test('a request that may have been taken is not sent to another one', async () => {
  const taking = createServer((request) => request.socket.destroy());
  servers.push(taking);
  await new Promise<void>((resolve) => taking.listen(0, '127.0.0.1', resolve));
  const other = await peer('other', () => undefined);
  const client = follow(`http://127.0.0.1:${(taking.address() as AddressInfo).port}`, other.url);
  await expect(client.request('POST', '/x')).rejects.toMatchObject({ code: 'SERVICE_UNREACHABLE' });
  expect(other.asked).toEqual([]);
  expect(await client.request('GET', '/x')).toEqual({ name: 'other' });
  await client.close();
});
