import { mkdtempSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { seededRandom } from '../std/prng.js';
import type { SocketAddress } from './handshake.js';
import { Shaper, type ShaperOptions } from './shaper.js';
import { Pacer } from './shaper-pipe.js';

const WAIT_MS = 15_000;
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Accepts and keeps; what arrives at each is in `received`. */
async function target(onSocket: (socket: Socket) => void = () => {}, path?: string) {
  const sockets: Socket[] = [];
  const received: Buffer[][] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const chunks: Buffer[] = [];
    sockets.push(socket);
    received.push(chunks);
    socket.on('error', () => {});
    socket.on('data', (chunk) => chunks.push(chunk));
    onSocket(socket);
  });
  await new Promise<void>((resolve) =>
    path === undefined ? server.listen(0, '127.0.0.1', resolve) : server.listen(path, resolve),
  );
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address: SocketAddress =
    path === undefined
      ? { kind: 'http', url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
      : { kind: 'unix', path };
  return { address, sockets, bytes: (index: number) => Buffer.concat(received[index] ?? []) };
}

function shaper(options?: ShaperOptions): Shaper {
  const made = new Shaper(options);
  closers.push(() => made.close());
  return made;
}

function dial(address: SocketAddress): Socket {
  const socket =
    address.kind === 'unix' ? connect(address.path) : connect(Number(new URL(address.url).port), '127.0.0.1');
  socket.on('error', () => {});
  closers.push(() => socket.destroy());
  return socket;
}

const closed = (socket: Socket) => new Promise<void>((resolve) => socket.resume().once('close', () => resolve()));

test('a rate lets bytes leave one after the other, and no earlier than they came', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ bytes: fc.nat(10_000), pauseMs: fc.nat(20) })), (offers) => {
      const pacer = new Pacer(100);
      let nowMs = 0;
      let before = 0;
      for (const { bytes, pauseMs } of offers) {
        nowMs += pauseMs;
        const leavesMs = pacer.leavesAtMs(bytes, nowMs);
        expect(leavesMs).toBeCloseTo(Math.max(before, nowMs) + bytes / 100, 6);
        before = leavesMs;
      }
    }),
  );
  expect(new Pacer(Number.POSITIVE_INFINITY).leavesAtMs(1e9, 5)).toBe(5);
});

test.each<[string, ShaperOptions, boolean]>([
  ['as it is', {}, false],
  ['with delay and jitter', { delayMs: 3, jitterMs: 5, random: seededRandom(1) }, false],
  ['at a rate', { mbitPerS: 100, queueBytes: 4096 }, false],
  ['over Unix sockets', { delayMs: 1, mbitPerS: 500 }, true],
])('content, order and half-closed ends pass both ways: %s', async (_, options, unix) => {
  const directory = mkdtempSync(join(tmpdir(), 'shaper-'));
  const { address, bytes } = await target((socket) => socket.pipe(socket), unix ? join(directory, 'far') : undefined);
  const path = shaper(options);
  const socket = dial(await path.forward(address, unix ? { path: join(directory, 'near') } : {}));
  const echoed: Buffer[] = [];
  socket.on('data', (chunk) => echoed.push(chunk));
  const content = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index % 251));
  socket.end(content);
  await new Promise((resolve) => socket.once('end', resolve));
  expect(Buffer.concat(echoed).equals(content)).toBe(true);
  expect(bytes(0).equals(content)).toBe(true);
  expect(path.passedBytes).toEqual({ in: content.length, out: content.length });
  await vi.waitFor(() => expect(path.open).toBe(0), WAIT_MS);
});

test('a writer whose bytes cannot leave is held back: the queue is bounded', async () => {
  const { address, sockets } = await target((socket) => socket.pause());
  const queueBytes = 100_000;
  const path = shaper({ mbitPerS: 0.001, queueBytes });
  const socket = dial(await path.forward(address));
  const chunk = Buffer.alloc(1024 * 1024);
  for (let count = 0; count < 64; count++) socket.write(chunk);
  await vi.waitFor(() => expect(path.heldBytes).toBeGreaterThanOrEqual(queueBytes), WAIT_MS);
  await vi.waitFor(() => expect(sockets).toHaveLength(1), WAIT_MS);
  expect(path.heldBytes).toBeLessThanOrEqual(queueBytes + 64 * 1024);
  expect(socket.writableLength).toBeGreaterThan(0);
});

test('a connection is cut at the byte that was said', async () => {
  const { address, bytes, sockets } = await target();
  let at = 0;
  const path = shaper({ cutAfterBytes: () => ({ in: at++ * 7, out: Number.POSITIVE_INFINITY }) });
  const near = await path.forward(address);
  for (let index = 0; index < 5; index++) {
    const socket = dial(near);
    socket.write(Buffer.alloc(100, index + 1));
    await closed(socket);
    await vi.waitFor(() => expect(sockets[index]?.readableEnded || sockets[index]?.destroyed).toBe(true), WAIT_MS);
    expect(bytes(index).length).toBe(index * 7);
  }
});

test('cut closes what is there and takes new connections', async () => {
  const { address, sockets } = await target();
  const path = shaper();
  const near = await path.forward(address);
  const socket = dial(near);
  await vi.waitFor(() => expect(sockets).toHaveLength(1), WAIT_MS);
  path.cut();
  await closed(socket);
  dial(near);
  await vi.waitFor(() => expect(sockets).toHaveLength(2), WAIT_MS);
});

test('a blackhole passes nothing, not even a close, until it is cleared', async () => {
  const { address, bytes, sockets } = await target();
  const path = shaper();
  const near = await path.forward(address);
  const quiet = dial(near);
  const leaving = dial(near);
  quiet.write('before ');
  leaving.write('before ');
  await vi.waitFor(() => expect(Buffer.concat([bytes(0), bytes(1)]).toString()).toBe('before before '), WAIT_MS);
  path.blackhole();
  quiet.write('after');
  leaving.destroy();
  const late = dial(near);
  late.write('late');
  await new Promise<void>((resolve) => late.once('connect', resolve));
  expect(sockets).toHaveLength(2);
  expect(sockets.map((socket) => socket.destroyed || socket.readableEnded)).toEqual([false, false]);
  await path.clear();
  await vi.waitFor(() => expect(sockets).toHaveLength(3), WAIT_MS);
  await vi.waitFor(() => {
    expect([bytes(0), bytes(1)].map(String).sort()).toEqual(['before ', 'before after']);
    expect(String(bytes(2))).toBe('late');
  }, WAIT_MS);
  await vi.waitFor(() => expect(sockets.filter((socket) => socket.readableEnded)).toHaveLength(1), WAIT_MS);
});

test('refusing closes and refuses, and the same address serves again', async () => {
  const { address, sockets } = await target();
  const path = shaper();
  const near = await path.forward(address);
  const socket = dial(near);
  await vi.waitFor(() => expect(sockets).toHaveLength(1), WAIT_MS);
  await path.refuse();
  await closed(socket);
  const refused = dial(near);
  const error = await new Promise<NodeJS.ErrnoException>((resolve) => refused.once('error', resolve));
  expect(error.code).toBe('ECONNREFUSED');
  await path.clear();
  dial(near);
  await vi.waitFor(() => expect(sockets).toHaveLength(2), WAIT_MS);
});

test('several addresses share one path; what comes from inside counts the other way', async () => {
  const { address, bytes } = await target();
  const path = shaper();
  dial(await path.forward(address)).write('12345');
  dial(await path.forward(address, { from: 'inside' })).write('123');
  await vi.waitFor(() => expect(bytes(0).length + bytes(1).length).toBe(8), WAIT_MS);
  expect(path.passedBytes).toEqual({ in: 5, out: 3 });
});

test.each<[keyof ShaperOptions, ShaperOptions]>([
  ['delayMs', { delayMs: -1 }],
  ['jitterMs', { jitterMs: 10_001 }],
  ['mbitPerS', { mbitPerS: 0 }],
  ['mbitPerS', { mbitPerS: Number.NaN }],
  ['queueBytes', { queueBytes: 2 ** 40 }],
])('%s out of its bounds is refused with value and bounds', (name, options) => {
  expect(() => new Shaper(options)).toThrow(
    new RegExp(`shaper: ${name} ${options[name]} is not within [\\d.]+ to \\d+`),
  );
});
