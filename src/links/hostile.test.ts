/** Peers that lie, dialling and serving: refused within bounds and with a reason, and the next honest peer finds all in order. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { contentOf, dialTo, Ledger } from './faults.testing.js';
import { written } from './frame-writer.testing.js';
import type { SocketAddress } from './handshake.js';
import { firstOf, HANDSHAKE_BYTES_MAX, type LinkPacket } from './link.js';
import type { LinkSender } from './link-sender.js';
import { PREFIX_BYTES } from './prefix.js';
import { bytesPacket, endPacket, LINK_PATH, newReceiver, newSender, serveLink } from './socket-link.testing.js';

const WAIT_MS = 15_000;
const COUNT = 5;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function closing<T extends { close(): unknown }>(thing: T): T {
  closers.push(() => thing.close());
  return thing;
}

/** What a frame looks like before it is spoilt; every one is valid. */
const FRAMES = {
  ack: written((writer) => writer.ack({ settled: 1, received: 2 }, 3)),
  ping: written((writer) => writer.ping(1)),
  bytes: packetBytes(bytesPacket(0, contentOf(0, 20))),
  frame: frameOf({ type: 'frame', width: 2, height: 1, data: Buffer.alloc(6) }),
  boxes: frameOf({
    type: 'boxes',
    frame_width: 9,
    frame_height: 9,
    boxes: [{ label: 'a', prob: 1, x: 0, y: 0, w: 1, h: 1 }],
  }),
  drop: packetBytes({ kind: 'drop', sequence: 3, timestamp: 1, deadline: 0, reason: 'late', handler_id: 1 }),
  end: packetBytes(endPacket(4)),
} as const;
type FrameName = keyof typeof FRAMES;

function frameOf(payload: Extract<LinkPacket, { kind: 'data' }>['payload']): Buffer {
  const packet: LinkPacket = { kind: 'data', sequence: 0, timestamp: 1, deadline: 0, payload, metadata: { a: 1 } };
  return packetBytes(packet);
}

function packetBytes(packet: LinkPacket): Buffer {
  return written((writer) => writer.packet(packet, 1, 0));
}

function spoilt(name: FrameName, spoil: (frame: Buffer) => void): Buffer {
  const frame = Buffer.from(FRAMES[name]);
  spoil(frame);
  return frame;
}

const U32_MAX = 2 ** 32 - 1;
const u8 = (offset: number, value: number) => (frame: Buffer) => frame.writeUInt8(value, offset);
const u32 = (offset: number, value: number) => (frame: Buffer) => frame.writeUInt32LE(value, offset);
const f64 = (offset: number, value: number) => (frame: Buffer) => frame.writeDoubleLE(value, offset);

/** Spoilt frames that either end must refuse, each with what the reason says. */
const REFUSED: [string, Buffer, RegExp][] = [
  ['another magic', spoilt('ping', u8(0, 0)), /magic \d+ is not/],
  ['kind 0', spoilt('ping', u8(2, 0)), /frame kind 0 is unknown/],
  ['kind 255', spoilt('ping', u8(2, 255)), /frame kind 255 is unknown/],
  ['metadata of 2^32-1 bytes', spoilt('bytes', u32(4, U32_MAX)), /metadata of 4294967295 bytes is over/],
  ['payload of 2^32-1 bytes', spoilt('bytes', u32(8, U32_MAX)), /payload of 4294967295 bytes is over/],
  ['a ping with a body', spoilt('ping', u32(8, 1)), /a ping has a body/],
  ['an ack with a body', spoilt('ack', u32(4, 9)), /a ack has a body/],
  ['settled 2^53', spoilt('ack', f64(24, 2 ** 53)), /settled 9007199254740992 is not an integer/],
  ['settled NaN', spoilt('ack', f64(24, Number.NaN)), /settled NaN is not an integer/],
  ['received -2', spoilt('ack', f64(56, -2)), /received -2 is not an integer of at least -1/],
  ['received 0.5', spoilt('ack', f64(56, 0.5)), /received 0.5 is not an integer/],
  ['carried Infinity', spoilt('ack', f64(72, Number.POSITIVE_INFINITY)), /carried Infinity is not an integer/],
  ['sequence 2^53', spoilt('end', f64(24, 2 ** 53)), /sequence 9007199254740992 is not an integer/],
  ['sequence -1', spoilt('end', f64(24, -1)), /sequence -1 is not an integer of at least 0/],
  ['a run that ends before it begins', spoilt('drop', f64(64, 4)), /first sequence 4 is after 3/],
  ['a time that is not finite', spoilt('end', f64(32, Number.NaN)), /a time is not finite/],
  ['an ordinal of 2^60', spoilt('end', f64(72, 2 ** 60)), /ordinal \d+ is not an integer/],
  ['a drop for no reason', spoilt('drop', u8(3, 77)), /drop reason 77 is unknown/],
  ['a drop by handler 2^53', spoilt('drop', f64(56, 2 ** 53)), /handler_id 9007199254740992 is not an integer/],
  ['a detail of 1 MiB', spoilt('drop', u32(4, 2 ** 20)), /detail of 1048576 bytes is over/],
  ['an unknown payload type', spoilt('bytes', u8(3, 200)), /payload type 200 is unknown/],
  [
    'a frame of 2^32-1 pixels a side',
    spoilt('frame', (frame) => frame.fill(0xff, 12, 20)),
    /a frame of 4294967295x4294967295 has 6 bytes/,
  ],
  ['JSON beyond the payload', spoilt('boxes', u32(20, U32_MAX)), /JSON of 4294967295 in \d+ bytes/],
  ['a packet of two sequences', spoilt('bytes', f64(24, 1)), /a data packet has one sequence/],
];

/** Refused when they are complete: by whoever reads packets. */
const REFUSED_PACKETS: [string, Buffer, RegExp][] = [
  ['metadata that is no JSON', spoilt('frame', u8(PREFIX_BYTES, 0)), /JSON of 7 bytes/],
  ['boxes that are no JSON', spoilt('boxes', u8(PREFIX_BYTES + 7, 0)), /JSON of \d+ bytes/],
];

/** A sender that remembers why its connections ended, with COUNT packets to send. */
async function servedSender(): Promise<{
  sender: LinkSender;
  address: SocketAddress;
  port: number;
  reasons: string[];
}> {
  const sender = closing(newSender({ delivery: 'all' }));
  const reasons: string[] = [];
  const attach = sender.attach.bind(sender);
  vi.spyOn(sender, 'attach').mockImplementation((hello, open) =>
    attach(hello, (events) =>
      open({
        ...events,
        closed: (reason) => {
          reasons.push(reason);
          events.closed(reason);
        },
      }),
    ),
  );
  for (let sequence = 0; sequence < COUNT; sequence++) sender.send(bytesPacket(sequence, contentOf(sequence, 10)));
  sender.send(endPacket(COUNT));
  const { address } = closing(await serveLink(() => sender));
  return { sender, address, port: Number(new URL((address as { url: string }).url).port), reasons };
}

/** An honest receiver gets everything exactly once. */
async function honestlyReceived(address: SocketAddress): Promise<void> {
  const ledger = new Ledger();
  const receiver = closing(
    newReceiver({ delivery: 'all', dial: dialTo(address), onPacket: (packet) => ledger.take(packet) }),
  );
  receiver.start();
  await ledger.ended.promise;
  expect(ledger.entries).toHaveLength(COUNT);
  expect(receiver.problem).toBeNull();
}

function dialRaw(port: number): { socket: Socket; answer: () => string; closed: Promise<void> } {
  const socket = connect(port, '127.0.0.1');
  closers.push(() => socket.destroy());
  let answer = '';
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1');
  });
  return { socket, answer: () => answer, closed: new Promise((resolve) => socket.once('close', () => resolve())) };
}

const upgradeWith = (headers: Readonly<Record<string, string>> = {}): string =>
  [
    ...[`GET ${LINK_PATH} HTTP/1.1`, 'host: x', 'connection: Upgrade', 'upgrade: orchestrator-link/1'],
    ...[...Object.entries(headers).map(([name, value]) => `${name}: ${value}`), '', ''],
  ].join('\r\n');

test.each(REFUSED)('dialling with %s', async (_, frame, reason) => {
  const { address, port, reasons } = await servedSender();
  const { socket, closed } = dialRaw(port);
  socket.write(Buffer.concat([Buffer.from(upgradeWith()), frame]));
  await closed;
  expect(reasons).toEqual([expect.stringMatching(reason)]);
  await honestlyReceived(address);
});

test.each(['bytes', 'frame', 'boxes', 'drop', 'end'] as const)('a receiver that sends a packet (%s)', async (name) => {
  const { address, port, reasons } = await servedSender();
  const { socket, closed } = dialRaw(port);
  socket.write(Buffer.concat([Buffer.from(upgradeWith()), FRAMES[name]]));
  await closed;
  expect(reasons).toEqual(['a receiver sent a packet']);
  await honestlyReceived(address);
});

test.each([
  ['x-link-after', '9007199254740992'],
  ['x-link-after', 'NaN'],
  ['x-link-received', '-2'],
  ['x-link-received', '1e400'],
  ['x-link-generation', '0.5'],
  ['x-link-stripe', '1e2'],
])('a handshake with %s: %s', async (name, value) => {
  const { sender, address, port } = await servedSender();
  const { socket, answer, closed } = dialRaw(port);
  socket.write(upgradeWith({ [name]: value }));
  await closed;
  expect(answer()).toMatch(/^HTTP\/1\.1 400 LINK_PROTOCOL\r\n/);
  expect(answer()).toContain(`${name}: ${value} is not an integer of at least -1`);
  expect(sender.attached).toBe(false);
  await honestlyReceived(address);
});

test('dialling with any bytes, cut anywhere', async () => {
  const { sender, port } = await servedSender();
  const anyFrame = fc.constantFrom<FrameName>('ping', 'ack', 'bytes', 'frame', 'boxes', 'drop', 'end');
  const anyFlaw = fc.record({ at: fc.nat(), bytes: fc.uint8Array({ maxLength: 40 }), remove: fc.nat(40) });
  await fc.assert(
    fc.asyncProperty(anyFrame, anyFlaw, fc.nat(), fc.boolean(), async (name, { at, bytes, remove }, end, early) => {
      const frame = FRAMES[name];
      const place = at % frame.length;
      const flawed = Buffer.concat([frame.subarray(0, place), bytes, frame.subarray(place + remove)]);
      const { socket, closed } = dialRaw(port);
      const text = Buffer.concat([Buffer.from(early ? '' : upgradeWith()), flawed]);
      socket.end(text.subarray(0, (end % text.length) + 1));
      await closed;
    }),
    { numRuns: 200 },
  );
  await vi.waitFor(() => expect(sender.connected).toBe(false), WAIT_MS);
  // What looks like an acknowledgement is believed; so another sender is asked whether this process is well.
  await honestlyReceived((await servedSender()).address);
});

/** Answers every connection with `answer`, and keeps it open. */
async function hostileServer(answer: (request: string) => Buffer | string): Promise<SocketAddress> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', (chunk) => socket.write(answer(chunk.toString('latin1'))));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { kind: 'http', url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const switching = (settled: string): string =>
  `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: orchestrator-link/1\r\nx-link-settled: ${settled}\r\n\r\n`;

/** A receiver that has met the hostile server says why it left, and is served by an honest one afterwards. */
async function leavesAndRecovers(answer: Buffer | string, reason: RegExp): Promise<void> {
  const ledger = new Ledger();
  const dial = dialTo(await hostileServer(() => answer));
  const receiver = closing(newReceiver({ delivery: 'all', dial, onPacket: (packet) => ledger.take(packet) }));
  receiver.start();
  await vi.waitFor(() => expect(receiver.problem).toMatch(reason), WAIT_MS);
  expect(receiver.connected).toBe(false);
  expect(ledger.entries).toEqual([]);
  const { address } = await servedSender();
  receiver.retarget(dialTo(address));
  await ledger.ended.promise;
  expect(ledger.entries).toHaveLength(COUNT);
}

test.each([...REFUSED, ...REFUSED_PACKETS])('serving %s', async (_, frame, reason) => {
  await leavesAndRecovers(Buffer.concat([Buffer.from(switching('-1')), frame]), reason);
});

test.each<[string, Buffer | string, RegExp]>([
  ['a sender that acknowledges', Buffer.concat([Buffer.from(switching('-1')), FRAMES.ack]), /sent an acknowledgement/],
  [
    'an endless answer',
    `HTTP/1.1 101 Switching Protocols\r\nx: ${'x'.repeat(2 * HANDSHAKE_BYTES_MAX)}`,
    /endless answer/,
  ],
  ['an answer that is not HTTP', `SSH-2.0-x\r\n\r\n`, /refused with an answer that is not HTTP/],
  [
    'a refusal',
    'HTTP/1.1 503 Busy\r\ncontent-length: 19\r\n\r\n{"detail":"starts"}',
    /refused with status 503: starts/,
  ],
  [
    'a refusal that is too long to read',
    `HTTP/1.1 500 No\r\ncontent-length: 9007199254740992\r\n\r\n${'y'.repeat(HANDSHAKE_BYTES_MAX)}`,
    /refused with status 500: y{200}/,
  ],
])('serving %s', async (_, answer, reason) => {
  await leavesAndRecovers(answer, reason);
});

test.each(['99999999999999999999', '1e3', '', '-2'])('serving a settled count that cannot be (%s)', async (settled) => {
  await leavesAndRecovers(switching(settled), /x-link-settled: \S* ?is not an integer of at least -1/);
});

test('serving packets with any flaw, cut anywhere: in order or not at all, and the link recovers', async () => {
  const { address } = await servedSender();
  const anyFlaw = fc.record({ at: fc.nat(), bytes: fc.uint8Array({ maxLength: 40 }), remove: fc.nat(40) });
  await fc.assert(
    fc.asyncProperty(anyFlaw, async ({ at, bytes, remove }) => {
      const stream = Buffer.concat([FRAMES.bytes, FRAMES.ping, FRAMES.drop, FRAMES.boxes, FRAMES.end]);
      const place = at % stream.length;
      const flawed = Buffer.concat([stream.subarray(0, place), bytes, stream.subarray(place + remove)]);
      const server = createServer((socket) => {
        socket.on('error', () => {});
        socket.once('data', () => socket.end(Buffer.concat([Buffer.from(switching('-1')), flawed])));
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const firsts: number[] = [];
      const receiver = newReceiver({
        delivery: 'all',
        dial: dialTo({ kind: 'http', url }),
        onPacket: (packet) => firsts.push(firstOf(packet)),
      });
      receiver.start();
      await vi.waitFor(() => expect(receiver.problem).not.toBeNull(), WAIT_MS);
      receiver.close();
      await new Promise((resolve) => server.close(resolve));
      expect(firsts).toEqual([...new Set(firsts)].sort((a, b) => a - b));
    }),
    { numRuns: 60 },
  );
  await honestlyReceived(address);
});

test('a handshake that is never answered ends in time', async () => {
  await leavesAndRecovers('', /the upgrade was not answered in time/);
});
