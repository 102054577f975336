import { mkdtempSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { LINK_WINDOW_PACKETS, LINK_WINDOW_SMALL_PACKETS } from '../contracts/limits.js';
import { systemClock } from '../std/clock.js';
import { deferred } from '../std/deferred.js';
import { seededRandom } from '../std/prng.js';
import type { SocketAddress } from './handshake.js';
import type { LinkPacket } from './link.js';
import type { LinkReceiver } from './link-receiver.js';
import type { LinkSender } from './link-sender.js';
import { bytesPacket, endPacket, LINK_PATH, newReceiver, newSender, pathTo, serveLink } from './socket-link.testing.js';
import { socketDial } from './upgrade.js';

/** Bound of each wait on a machine that is busy with other tests. */
const WAIT_MS = 15_000;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function closing<T extends { close(): unknown }>(thing: T): T {
  closers.push(() => thing.close());
  return thing;
}

const dialTo = (address: SocketAddress, keepAlive?: { pingMs: number; deadMs: number }) =>
  socketDial({ address, path: LINK_PATH, token: null, clock: systemClock(), keepAlive });

/** Content that tells its sequence, of random size. */
function contentOf(sequence: number, random: () => number): Buffer {
  const data = Buffer.alloc(8 + Math.floor(random() * (random() < 0.2 ? 300_000 : 2000)), sequence & 0xff);
  data.writeDoubleLE(sequence, 0);
  return data;
}

async function sendAll(sender: LinkSender, count: number, random: () => number): Promise<void> {
  for (let sequence = 0; sequence < count; sequence++) {
    await sender.room();
    sender.send(bytesPacket(sequence, contentOf(sequence, random)));
  }
  await sender.room();
  sender.send(endPacket(count));
}

/** Checks order and content, settles at once, and resolves at the end. */
function collector(settle: (sequence: number) => void) {
  const done = deferred<number[]>();
  const sequences: number[] = [];
  return {
    done: done.promise,
    onPacket(packet: LinkPacket) {
      if (packet.kind === 'end') done.resolve(sequences);
      if (packet.kind === 'data' && packet.payload.type === 'bytes') {
        const { data } = packet.payload;
        if (data.readDoubleLE(0) !== packet.sequence || data.at(-1) === undefined) done.reject(new Error('content'));
        if (data.length > 8 && data.at(-1) !== (packet.sequence & 0xff)) done.reject(new Error('torn content'));
      }
      if (packet.kind !== 'end') sequences.push(packet.sequence);
      settle(packet.sequence);
    },
  };
}

const upTo = (count: number) => Array.from({ length: count }, (_, sequence) => sequence);
const unixPath = () => join(mkdtempSync(join(tmpdir(), 'link-')), 's');

test.each([
  ['TCP', () => undefined],
  ['a Unix socket', unixPath],
])('all over %s: exactly once while connections are cut at random bytes', async (_, socketPath) => {
  const random = seededRandom(7);
  const sender = closing(newSender({ delivery: 'all' }));
  const server = closing(await serveLink(() => sender, socketPath()));
  let cuts = 12;
  const path = closing(
    await pathTo(server.address, () => {
      cuts -= 1;
      return cuts < 0 ? Number.POSITIVE_INFINITY : 300 + Math.floor(random() * 400_000);
    }),
  );
  const { done, onPacket } = collector((sequence) => receiver.settle(sequence));
  const receiver: LinkReceiver = closing(newReceiver({ delivery: 'all', dial: dialTo(path.address), onPacket }));
  receiver.start();
  await sendAll(sender, 600, random);
  expect(await done).toEqual(upTo(600));
  expect(path.shaper.connections).toBeGreaterThan(5);
  expect(receiver.meter.reconnects).toBeGreaterThan(1);
  await vi.waitFor(() => expect(sender.retained).toBe(0), WAIT_MS);
});

test.each([
  ['small packets', 100, LINK_WINDOW_SMALL_PACKETS],
  ['large packets', 40_000, LINK_WINDOW_PACKETS],
])('all: a slow reader of %s holds the sender back within its window', async (_, bytes, window) => {
  const sender = closing(newSender({ delivery: 'all' }));
  const server = closing(await serveLink(() => sender));
  const received: number[] = [];
  const onPacket = ({ sequence }: LinkPacket) => received.push(sequence);
  const receiver = closing(newReceiver({ delivery: 'all', dial: dialTo(server.address), onPacket }));
  receiver.start();
  const count = 3 * window;
  let sent = 0;
  const sending = (async () => {
    for (; sent < count; sent++) {
      await sender.room();
      sender.send(bytesPacket(sent, Buffer.alloc(bytes)));
    }
  })();
  await vi.waitFor(() => expect(received).toHaveLength(window), WAIT_MS);
  expect(sent).toBe(window);
  const step = window / 2;
  for (let settled = step - 1; settled < count; settled += step) {
    receiver.settle(settled);
    const most = Math.min(count, settled + 1 + window);
    await vi.waitFor(() => expect(received).toHaveLength(most), WAIT_MS);
  }
  await sending;
  expect(received).toEqual(upTo(count));
});

test('latest: a path that is too slow costs packets, not freshness or memory', async () => {
  const dropped = vi.fn();
  const sender = closing(newSender({ delivery: 'latest', onDropped: dropped }));
  for (let sequence = 0; sequence < 1000; sequence++) sender.send(bytesPacket(sequence, Buffer.alloc(1000)));
  sender.send(endPacket(1000));
  expect(sender.retainedBytes).toBeLessThan(10_000);
  const server = closing(await serveLink(() => sender));
  const packets: LinkPacket[] = [];
  const done = deferred<void>();
  const onPacket = (packet: LinkPacket) => {
    packets.push(packet);
    if (packet.kind === 'end') done.resolve();
  };
  closing(newReceiver({ delivery: 'latest', dial: dialTo(server.address), onPacket })).start();
  await done.promise;
  expect(packets[0]).toMatchObject({ kind: 'drop', reason: 'queue', first: 0, sequence: 995 });
  expect(packets.slice(1, 5).map(({ kind, sequence }) => `${kind} ${sequence}`)).toEqual(
    [996, 997, 998, 999].map((sequence) => `data ${sequence}`),
  );
  expect(dropped).toHaveBeenCalledTimes(996);
});

test('latest: what is past its deadline is not sent', async () => {
  const sender = closing(newSender({ delivery: 'latest' }));
  sender.send({ ...bytesPacket(0, Buffer.alloc(10)), deadline: 1 } as LinkPacket);
  sender.send(bytesPacket(1, Buffer.alloc(10)));
  const server = closing(await serveLink(() => sender));
  const packets: LinkPacket[] = [];
  const onPacket = (packet: LinkPacket) => packets.push(packet);
  closing(newReceiver({ delivery: 'latest', dial: dialTo(server.address), onPacket })).start();
  await vi.waitFor(() => expect(packets).toHaveLength(2), WAIT_MS);
  expect(packets[0]).toMatchObject({ kind: 'drop', sequence: 0, reason: 'late', handler_id: 1 });
});

test('a peer that went silent without closing is left, at both ends', async () => {
  const keepAlive = { pingMs: 20, deadMs: 150 };
  const sender = closing(newSender({ delivery: 'all' }));
  // Slower than the receiver, which must notice by itself and not by the sender's closing.
  const server = closing(await serveLink(() => sender, undefined, { pingMs: 20, deadMs: 1000 }));
  const path = closing(await pathTo(server.address));
  const received: number[] = [];
  const onPacket = ({ sequence }: LinkPacket) => received.push(sequence);
  const receiver = closing(newReceiver({ delivery: 'all', dial: dialTo(path.address, keepAlive), onPacket }));
  receiver.start();
  sender.send(bytesPacket(0, Buffer.alloc(10)));
  await vi.waitFor(() => expect(received).toEqual([0]), WAIT_MS);
  path.shaper.blackhole();
  sender.send(bytesPacket(1, Buffer.alloc(10)));
  await vi.waitFor(() => expect(sender.connected).toBe(false), WAIT_MS);
  await vi.waitFor(() => expect(receiver.connected).toBe(false), WAIT_MS);
  expect(receiver.problem).toMatch(/no word from the peer/);
  receiver.retarget(dialTo(server.address, keepAlive));
  await vi.waitFor(() => expect(received).toEqual([0, 1]), WAIT_MS);
});

test('a refusal is tried again, and says why meanwhile', async () => {
  let sender: LinkSender | null = null;
  const authorized: (string | undefined)[] = [];
  const server = createServer();
  server.on('upgrade', (request, socket) => {
    authorized.push(request.headers.authorization);
    const body = JSON.stringify({ detail: 'the bearer token is not the configured one' });
    socket.end(`HTTP/1.1 403 Forbidden\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const dial = socketDial({ address: { kind: 'http', url }, path: LINK_PATH, token: 'secret', clock: systemClock() });
  const onPacket = vi.fn();
  const receiver = closing(newReceiver({ delivery: 'all', dial, onPacket }));
  receiver.start();
  await vi.waitFor(() => expect(authorized.length).toBeGreaterThan(2), WAIT_MS);
  expect(receiver.problem).toBe('refused with status 403: the bearer token is not the configured one');
  expect(authorized[0]).toBe('Bearer secret');
  sender = closing(newSender({ delivery: 'all' }));
  sender.send(bytesPacket(0, Buffer.alloc(1)));
  const found = sender;
  receiver.retarget(dialTo(closing(await serveLink(() => found)).address));
  await vi.waitFor(() => expect(onPacket).toHaveBeenCalledOnce(), WAIT_MS);
  expect(receiver.problem).toBeNull();
});

test('a receiver of an older generation cannot take the link back', async () => {
  const sender = closing(newSender({ delivery: 'all' }));
  const server = closing(await serveLink(() => sender));
  const options = { delivery: 'all', dial: dialTo(server.address), onPacket: vi.fn() } as const;
  const old = closing(newReceiver({ ...options, generation: 4 }));
  old.start();
  await vi.waitFor(() => expect(old.connected).toBe(true), WAIT_MS);
  const replacement = closing(newReceiver({ ...options, generation: 5 }));
  replacement.start();
  await vi.waitFor(
    () => expect(old.problem).toMatch(/status 409: generation 4 of the receiver is older than 5/),
    WAIT_MS,
  );
  expect(replacement.connected).toBe(true);
  expect(replacement.meter.reconnects).toBe(0);
});

test('bytes that are not the protocol end the connection, not the process', async () => {
  const sender = closing(newSender({ delivery: 'all' }));
  const server = closing(await serveLink(() => sender));
  const socket = connect(Number(new URL((server.address as { url: string }).url).port), '127.0.0.1');
  closers.push(() => socket.destroy());
  socket.write(
    `GET ${LINK_PATH} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: orchestrator-link/1\r\n\r\n${'x'.repeat(100)}`,
  );
  await new Promise((resolve) => socket.on('close', resolve).resume());
  expect(sender.connected).toBe(false);
});
