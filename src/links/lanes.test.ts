/** Links over several connections, links whose sender dials, and links over TLS. */
import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { systemClock } from '../std/clock.js';
import { deferred } from '../std/deferred.js';
import { seededRandom } from '../std/prng.js';
import type { LaneEvents } from './dialled-socket.js';
import type { FrameSocket } from './frame-socket.js';
import type { SocketAddress } from './handshake.js';
import { IncomingLanes } from './incoming-lanes.js';
import type { LinkPacket } from './link.js';
import type { LinkReceiver } from './link-receiver.js';
import type { LinkSender } from './link-sender.js';
import { OutgoingLanes } from './outgoing-lanes.js';
import { AwaitedLink, LinkPusher } from './push.js';
import {
  bytesPacket,
  endPacket,
  LINK_PATH,
  newReceiver,
  newSender,
  pathTo,
  serveLink,
  serveUpgrades,
} from './socket-link.testing.js';
import { LINK_STRIPES_MAX, StripePolicy } from './stripe-policy.js';
import { TEST_TLS } from './tls.testing.js';
import { acceptLink, socketDial } from './upgrade.js';

const WAIT_MS = 15_000;
const clock = systemClock();
/** Pings often, so that a round trip is known soon. */
const BRISK = { pingMs: 20, deadMs: 5000 };

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function closing<T extends { close(): unknown }>(thing: T): T {
  closers.push(() => thing.close());
  return thing;
}

const upTo = (count: number) => Array.from({ length: count }, (_, sequence) => sequence);

async function sendSome(sender: LinkSender, from: number, to: number, bytes: () => number): Promise<void> {
  for (let sequence = from; sequence < to; sequence++) {
    await sender.room();
    sender.send(bytesPacket(sequence, Buffer.alloc(bytes(), sequence & 0xff)));
  }
}

async function sendEnd(sender: LinkSender, sequence: number): Promise<void> {
  await sender.room();
  sender.send(endPacket(sequence));
}

async function sendAll(sender: LinkSender, count: number, bytes: () => number): Promise<void> {
  await sendSome(sender, 0, count, bytes);
  await sendEnd(sender, count);
}

/** Resolves when every connection that a link may have carries it. */
const striped = (sender: LinkSender) =>
  vi.waitFor(() => {
    expect(sender.channel).toBeInstanceOf(OutgoingLanes);
    expect((sender.channel as OutgoingLanes).size).toBe(LINK_STRIPES_MAX);
  }, WAIT_MS);

/** Settles at once; resolves with what came when the end has come. */
function gather() {
  const done = deferred<number[]>();
  const sequences: number[] = [];
  const taker = {
    receiver: null as LinkReceiver | null,
    done: done.promise,
    onPacket(packet: LinkPacket) {
      if (packet.kind === 'end') done.resolve(sequences);
      else sequences.push(packet.sequence);
      if (packet.kind === 'data' && packet.payload.type === 'bytes') {
        expect(packet.payload.data.at(-1)).toBe(packet.sequence & 0xff);
      }
      taker.receiver!.settle(packet.sequence);
    },
  };
  return taker;
}

const sizes = (seed: number) => {
  const random = seededRandom(seed);
  return () => 1 + Math.floor(random() * (random() < 0.3 ? 200_000 : 3000));
};

test('a link over a long path runs over several connections, in order and exactly once while they are cut', async () => {
  const sender = closing(newSender({ delivery: 'all' }));
  const server = closing(await serveLink(() => sender, undefined, BRISK));
  const random = seededRandom(11);
  let cuts = 6;
  const path = closing(
    await pathTo(
      server.address,
      () => {
        cuts -= 1;
        return cuts < 0 ? Number.POSITIVE_INFINITY : 200_000 + Math.floor(random() * 2_000_000);
      },
      6,
    ),
  );
  const taker = gather();
  const dial = socketDial({ address: path.address, path: LINK_PATH, token: null, clock, keepAlive: BRISK });
  const receiver = closing(newReceiver({ delivery: 'all', dial, onPacket: taker.onPacket }));
  taker.receiver = receiver;
  receiver.start();
  await sendSome(sender, 0, 20, sizes(3));
  await striped(sender);
  await sendSome(sender, 20, 500, sizes(4));
  await sendEnd(sender, 500);
  expect(await taker.done).toEqual(upTo(500));
  await vi.waitFor(() => expect(sender.retained).toBe(0), WAIT_MS);
  expect(receiver.meter.reconnects).toBeGreaterThan(0);
});

test('a short path keeps to one connection', async () => {
  const sender = closing(newSender({ delivery: 'all' }));
  const server = closing(await serveLink(() => sender, undefined, BRISK));
  const taker = gather();
  const dial = socketDial({ address: server.address, path: LINK_PATH, token: null, clock, keepAlive: BRISK });
  const receiver = closing(newReceiver({ delivery: 'all', dial, onPacket: taker.onPacket }));
  taker.receiver = receiver;
  receiver.start();
  await sendAll(sender, 50, sizes(4));
  expect(await taker.done).toEqual(upTo(50));
  await vi.waitFor(() => expect(receiver.meter.period().rttMs).toBeGreaterThan(0), WAIT_MS);
});

test.each([
  ['a path that cuts', 0, 8],
  ['a long path, over several connections', 6, 0],
])('a link whose sender dials: exactly once over %s', async (_, delayMs, cutCount) => {
  const random = seededRandom(5);
  const sender = closing(newSender({ delivery: 'all' }));
  const awaited = new AwaitedLink({ clock });
  const server = closing(await serveUpgrades((served) => awaited.accept(served), { keepAlive: BRISK }));
  let cuts = cutCount;
  const cutAfter = () => {
    cuts -= 1;
    return cuts < 0 ? Number.POSITIVE_INFINITY : 300 + Math.floor(random() * 900_000);
  };
  const path = closing(await pathTo(server.address, cutAfter, delayMs));
  const taker = gather();
  const receiver = closing(newReceiver({ delivery: 'all', dial: awaited.dial, onPacket: taker.onPacket }));
  taker.receiver = receiver;
  receiver.start();
  const address = { address: path.address, path: LINK_PATH, token: null, keepAlive: BRISK };
  const pusher = closing(new LinkPusher({ ...address, sender, clock, generation: 1 }));
  pusher.start();
  await sendSome(sender, 0, 10, sizes(8));
  if (delayMs > 0) await striped(sender);
  await sendSome(sender, 10, 400, sizes(9));
  await sendEnd(sender, 400);
  expect(await taker.done).toEqual(upTo(400));
  await vi.waitFor(() => expect(sender.retained).toBe(0), WAIT_MS);
  if (cutCount > 0) expect(receiver.meter.reconnects).toBeGreaterThan(1);
});

test('a pushing sender of an older generation cannot take the link back', async () => {
  const awaited = new AwaitedLink({ clock });
  const server = closing(await serveUpgrades((served) => awaited.accept(served)));
  const taker = gather();
  const receiver = closing(newReceiver({ delivery: 'all', dial: awaited.dial, onPacket: taker.onPacket }));
  taker.receiver = receiver;
  receiver.start();
  const push = (generation: number, problems: string[] = []) => {
    const sender = closing(newSender({ delivery: 'all' }));
    const address = { address: server.address, path: LINK_PATH, token: null };
    const onProblem = (reason: string) => problems.push(reason);
    closing(new LinkPusher({ ...address, sender, clock, generation, onProblem })).start();
    return sender;
  };
  const newer = push(3);
  await vi.waitFor(() => expect(newer.connected).toBe(true), WAIT_MS);
  const problems: string[] = [];
  push(2, problems);
  await vi.waitFor(() => expect(problems.length).toBeGreaterThan(1), WAIT_MS);
  expect(problems[0]).toBe('refused with status 409: generation 2 of the sender is older than 3');
  expect(newer.connected).toBe(true);
});

test('links run over TLS with the same code, and only to a peer whose certificate is trusted', async () => {
  const sender = closing(newSender({ delivery: 'all' }));
  const server = closing(await serveUpgrades((served) => acceptLink({ ...served, sender }), { tls: TEST_TLS }));
  const taker = gather();
  const options = { address: server.address, path: LINK_PATH, token: null, clock };
  const stranger = closing(newReceiver({ delivery: 'all', dial: socketDial(options), onPacket: () => {} }));
  stranger.start();
  await vi.waitFor(() => expect(stranger.problem).toMatch(/self-signed certificate/), WAIT_MS);
  stranger.close();
  const dial = socketDial({ ...options, tlsCa: TEST_TLS.cert });
  const receiver = closing(newReceiver({ delivery: 'all', dial, onPacket: taker.onPacket }));
  taker.receiver = receiver;
  receiver.start();
  await sendAll(sender, 200, sizes(1));
  expect(await taker.done).toEqual(upTo(200));
});

test.each([
  [
    'a group that is not there',
    { 'x-link-group': 'other', 'x-link-stripe': '1' },
    'no connection of group other is open',
  ],
  ['no group', { 'x-link-stripe': '1' }, 'no connection of group (none) is open'],
  ['a name of a group that is too long', { 'x-link-group': 'g'.repeat(65) }, 'x-link-group has 65 characters'],
])('a connection that joins %s is refused, and the link runs on', async (_, headers, message) => {
  const sender = closing(newSender({ delivery: 'all' }));
  const server = closing(await serveLink(() => sender));
  const dial = socketDial({ address: server.address, path: LINK_PATH, token: null, clock });
  const receiver = closing(newReceiver({ delivery: 'all', dial, onPacket: () => {} }));
  receiver.start();
  await vi.waitFor(() => expect(sender.connected).toBe(true), WAIT_MS);
  const answer = await upgradeByHand(server.address, headers);
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  expect(answer).toContain(message);
  expect(sender.connected).toBe(true);
});

async function upgradeByHand(address: SocketAddress, headers: Record<string, string>): Promise<string> {
  const { request } = await import('node:http');
  const { port } = new URL((address as { url: string }).url);
  return new Promise((resolve, reject) => {
    const upgrade = { connection: 'Upgrade', upgrade: 'orchestrator-link/1', ...headers };
    const asked = request({ host: '127.0.0.1', port, path: LINK_PATH, headers: upgrade });
    asked.on('error', reject);
    asked.on('response', async (response) => {
      let body = `HTTP/1.1 ${response.statusCode} \n`;
      for await (const chunk of response) body += chunk;
      resolve(body);
    });
    asked.end();
  });
}

/** A lane without a socket: remembers what was written to it. */
function fakeLane() {
  const written: number[] = [];
  let events: LaneEvents | null = null;
  const frames = {
    waitingBytes: 0,
    packet: ({ sequence }: LinkPacket) => written.push(sequence),
    writable: () => true,
    close: (reason: string) => events?.onClosed(reason),
  } as unknown as FrameSocket;
  return {
    written,
    get events() {
      return events!;
    },
    open: (given: LaneEvents) => {
      events = given;
      return frames;
    },
  };
}

test('whatever lanes packets come on and however late, they are handed on by ordinal', () => {
  const arrival = fc.record({ lane: fc.integer({ min: 0, max: 3 }), hold: fc.integer({ min: 0, max: 5 }) });
  fc.assert(
    fc.property(fc.array(arrival, { minLength: 1, maxLength: 60 }), (arrivals) => {
      const taken: number[] = [];
      const lanes = new IncomingLanes({
        ...{ transport: 'tcp', group: 'g', clock },
        events: { open: () => {}, closed: () => {}, packet: (packet) => taken.push(packet.sequence) },
      });
      const fakes = upTo(4).map(fakeLane);
      for (const fake of fakes) lanes.add(fake.open);
      // Within a lane order is kept: a packet is no earlier than the one before it on the same lane.
      const at = [0, 0, 0, 0];
      const timed = arrivals.map(({ lane, hold }, ordinal) => {
        at[lane] = Math.max(at[lane]!, ordinal + hold);
        return { lane, ordinal, time: at[lane]! };
      });
      timed.sort((a, b) => a.time - b.time || a.ordinal - b.ordinal);
      for (const { lane, ordinal } of timed) {
        const packet = bytesPacket(ordinal, Buffer.alloc(1));
        fakes[lane]!.events.onFrame({ kind: 'packet', packet, sentAt: 1, bytes: 81, ordinal });
      }
      expect(taken).toEqual(upTo(arrivals.length));
    }),
  );
});

test('an ordinal that comes twice is a fault of the peer', () => {
  const lanes = new IncomingLanes({
    ...{ transport: 'tcp', group: 'g', clock },
    events: { open: () => {}, closed: () => {}, packet: () => {} },
  });
  const fake = fakeLane();
  lanes.add(fake.open);
  const frame = { kind: 'packet', packet: bytesPacket(0, Buffer.alloc(1)), sentAt: 1, bytes: 81, ordinal: 0 } as const;
  fake.events.onFrame(frame);
  expect(() => fake.events.onFrame(frame)).toThrow('ordinal 0 came twice');
});

test('a packet goes out on the lane with the least on the way', () => {
  const fakes = upTo(3).map(fakeLane);
  const lanes = new OutgoingLanes({
    ...{ transport: 'tcp', group: 'g', clock },
    events: { ack: () => {}, writable: () => {}, closed: () => {} },
  });
  for (const fake of fakes) lanes.add(fake.open);
  for (let sequence = 0; sequence < 6; sequence++) lanes.write(bytesPacket(sequence, Buffer.alloc(1)));
  expect(fakes.map(({ written }) => written.length)).toEqual([2, 2, 2]);
  // Only what went over lane 1 has come: it is the one that takes the next two.
  fakes[1]!.events.onFrame({ kind: 'ack', ack: { settled: -1, received: 0 }, carried: 2 });
  for (let sequence = 6; sequence < 8; sequence++) lanes.write(bytesPacket(sequence, Buffer.alloc(1)));
  expect(fakes.map(({ written }) => written.length)).toEqual([2, 4, 2]);
});

test('a path is striped when it is long, or when packets are held back on it', () => {
  const policy = (rtts: number[], delays: number[] = []) => {
    const one = new StripePolicy();
    for (const rtt of rtts) one.rtt(rtt);
    for (const delay of delays) one.delay(delay);
    return one.wanted;
  };
  expect(policy([20, 21, 22, 23])).toBe(1);
  expect(policy([900, 20, 21, 800, 20])).toBe(LINK_STRIPES_MAX);
  expect(policy([40, 30, 50, 60, 0.1])).toBe(1);
  expect(policy([2, 2, 3, 2, 2], [7, 8, 7, 9])).toBe(1);
  expect(policy([2, 2, 3, 2, 2], [7, 250, 8, 260, 9, 240])).toBe(LINK_STRIPES_MAX);
  expect(policy([0.1, 0.1, 0.2, 0.1, 0.1], [7, 250, 8, 260, 9, 240])).toBe(1);
});
