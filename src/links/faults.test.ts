/** Links over real sockets against everything that can happen on the way: the ledger is exact, `all` loses and doubles nothing. */
import { connect } from 'node:net';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { LATEST_QUEUE_PACKETS, LATEST_WINDOW_PACKETS, LINK_WINDOW_BYTES } from '../contracts/limits.js';
import type { Delivery } from '../contracts/packet.js';
import { withTimeout } from '../std/deferred.js';
import { seededRandom } from '../std/prng.js';
import { BreakableLink, type BreakableOptions, type Transport } from './faults.testing.js';
import { SOCKET_BUFFER_BYTES } from './link.js';
import type { CutAfterBytes } from './shaper.js';
import { bytesPacket, LINK_PATH, newSender, serveLink } from './socket-link.testing.js';

/** Rounds of each randomised schedule; ORCHESTRATOR_FAULT_ROUNDS=1000 for a long run by hand. */
const ROUNDS = Number(process.env.ORCHESTRATOR_FAULT_ROUNDS ?? 12);

/** Bound of each wait on a machine that is busy with other tests, and of each round. */
const WAIT_MS = 30_000;

const NEVER = { in: Number.POSITIVE_INFINITY, out: Number.POSITIVE_INFINITY };
const KINDS: [Delivery, Transport][] = [
  ['all', 'tcp'],
  ['all', 'unix'],
  ['latest', 'tcp'],
  ['latest', 'unix'],
];

async function withLink<T>(options: BreakableOptions, use: (link: BreakableLink) => Promise<T>): Promise<T> {
  const link = await BreakableLink.open(options);
  try {
    return await withTimeout(use(link), WAIT_MS, () => new Error(`stalled: ${link.receiver.problem}`));
  } finally {
    await link.close();
  }
}

const delivered = (count: number): string[] => Array.from({ length: count }, () => 'delivered');

/** No more than `latest` keeps for a peer that is away: nothing may be dropped. */
const SHORT = 4;

/** One exchange whose first connection is cut; returns how many connections and bytes it took. */
async function shortExchange([delivery, transport]: [Delivery, Transport], firstCut: CutAfterBytes) {
  const cuts = [firstCut];
  const shaper = { cutAfterBytes: () => cuts.shift() ?? NEVER };
  return await withLink({ delivery, transport, shaper }, async (link) => {
    link.receiver.start();
    await link.send(SHORT, (sequence) => sequence * 5);
    await link.settled(SHORT);
    expect(link.ledger.entries).toEqual(delivered(SHORT));
    expect(link.sender.retained).toBe(0);
    return { connections: link.shaper.connections, ...link.shaper.passedBytes };
  });
}

/** Exchanges at a time. */
const TOGETHER = 32;

test.each(KINDS)(
  '%s over %s: a short exchange cut after every byte, in both directions',
  async (...kind) => {
    const whole = await shortExchange(kind, NEVER);
    expect(whole.connections).toBe(1);
    const cuts = (['in', 'out'] as const).flatMap((direction) =>
      Array.from({ length: whole[direction] + 1 }, (_, bytes) => ({ ...NEVER, [direction]: bytes })),
    );
    let broken = 0;
    const next = async (): Promise<void> => {
      for (let cut = cuts.pop(); cut !== undefined; cut = cuts.pop()) {
        const { connections } = await shortExchange(kind, cut);
        broken += connections - 1;
      }
    };
    await Promise.all(Array.from({ length: TOGETHER }, next));
    // The request and the answer with all packets always pass; how acknowledgements are gathered varies.
    expect(broken).toBeGreaterThan(0.8 * whole.out);
  },
  4 * WAIT_MS,
);

type Step = 'cut' | 'blackhole' | 'refuse' | 'rest';
const anySteps = fc.array(fc.constantFrom<Step>('cut', 'cut', 'blackhole', 'refuse', 'rest'), { maxLength: 12 });
const KEEP_ALIVE = { pingMs: 20, deadMs: 120 };

/** Breaks the path step by step, each after some more packets have come through; leaves it clear. */
async function breakPath(link: BreakableLink, steps: readonly Step[], gap: number): Promise<void> {
  const { shaper, ledger } = link;
  for (const step of steps) {
    const goal = ledger.entries.length + gap;
    const over = Symbol('over');
    const ended = ledger.ended.promise.then(() => over);
    while (ledger.entries.length < goal) {
      if ((await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 1))])) === over) return;
    }
    if (step === 'cut') shaper.cut();
    if (step === 'refuse') await shaper.refuse();
    if (step === 'blackhole') {
      shaper.blackhole();
      await vi.waitFor(() => expect([link.sender.connected, link.receiver.connected]).toEqual([false, false]), WAIT_MS);
    }
    await shaper.clear();
  }
}

test.each(KINDS)(
  '%s over %s: cuts, silence and refusals at random, bytes of any size, jitter',
  async (delivery, transport) => {
    await fc.assert(
      fc.asyncProperty(anySteps, fc.integer(), fc.integer({ min: 1, max: 40 }), async (steps, seed, gap) => {
        const random = seededRandom(seed);
        const often = (): number => (random() < 0.3 ? 500 + random() * 300_000 : Number.POSITIVE_INFINITY);
        const shaper = { jitterMs: 2, random, cutAfterBytes: () => ({ in: often(), out: often() }) };
        const count = 300;
        await withLink({ delivery, transport, keepAlive: KEEP_ALIVE, shaper }, async (link) => {
          link.receiver.start();
          const breaking = breakPath(link, steps, gap);
          const pace =
            delivery === 'all' ? undefined : () => new Promise((resolve) => setTimeout(resolve, random() * 2));
          await link.send(count, () => Math.floor(random() * (random() < 0.1 ? 200_000 : 2000)), pace);
          await Promise.all([breaking, link.settled(count)]);
          if (delivery === 'all') expect(link.ledger.entries).toEqual(delivered(count));
          expect(link.ledger.entries).toHaveLength(count);
          expect(link.ledger.count('delivered') + link.ledger.count('queue')).toBe(count);
          expect(link.sender.retained).toBe(0);
        });
      }),
      { numRuns: ROUNDS },
    );
  },
  ROUNDS * WAIT_MS,
);

test.each(['all', 'latest'] as const)(
  '%s: a path that goes silent is left by both ends and taken again',
  async (delivery) => {
    await withLink({ delivery, keepAlive: KEEP_ALIVE }, async (link) => {
      const { shaper, sender, receiver, ledger } = link;
      receiver.start();
      const sent = link.send(SHORT, () => 100);
      await vi.waitFor(() => expect(ledger.entries).toHaveLength(SHORT), WAIT_MS);
      await sent;
      shaper.blackhole();
      await vi.waitFor(() => expect(sender.connected || receiver.connected).toBe(false), WAIT_MS);
      expect(receiver.problem).toMatch(/no word from the peer/);
      expect(shaper.open).toBe(1);
      await shaper.clear();
      await link.settled(SHORT);
      expect(ledger.entries).toEqual(delivered(SHORT));
    });
  },
);

test('latest: a slow path bounds what waits, and every packet is accounted', async () => {
  const count = 500;
  await withLink({ delivery: 'latest', shaper: { mbitPerS: 4, queueBytes: 8192 } }, async (link) => {
    link.receiver.start();
    let most = 0;
    await link.send(
      count,
      () => 2000,
      () => {
        most = Math.max(most, link.sender.retained);
        return new Promise((resolve) => setImmediate(resolve));
      },
    );
    await link.settled(count);
    // Written and waiting packets, and a run of markers between any two of them.
    expect(most).toBeLessThanOrEqual(2 * (LATEST_WINDOW_PACKETS + 5));
    expect(link.ledger.entries).toHaveLength(count);
    expect(link.ledger.count('queue')).toBeGreaterThan(0);
    expect(link.ledger.count('delivered') + link.ledger.count('queue')).toBe(count);
  });
});

const MiB = 1024 * 1024;

test.each(['all', 'latest'] as const)(
  '%s: a peer that stops reading bounds what the sender keeps',
  async (delivery) => {
    const sender = newSender({ delivery });
    const server = await serveLink(() => sender);
    const peer = connect(Number(new URL((server.address as { url: string }).url).port), '127.0.0.1').pause();
    try {
      peer.write(`GET ${LINK_PATH} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: orchestrator-link/1\r\n\r\n`);
      await vi.waitFor(() => expect(sender.connected).toBe(true), WAIT_MS);
      for (let sequence = 0; sequence < 200; sequence++) {
        if (sender.room() !== undefined) break;
        sender.send(bytesPacket(sequence, Buffer.alloc(MiB)));
        await new Promise((resolve) => setImmediate(resolve));
      }
      // One packet may always go beyond a bound in bytes.
      const bound =
        delivery === 'all' ? LINK_WINDOW_BYTES + MiB : (LATEST_WINDOW_PACKETS + LATEST_QUEUE_PACKETS + 1) * MiB;
      expect(sender.retainedBytes).toBeGreaterThan(MiB);
      expect(sender.retainedBytes).toBeLessThanOrEqual(bound);
      const waiting = [...server.sockets].map((socket) => socket.writableLength);
      expect(Math.max(...waiting)).toBeLessThanOrEqual(SOCKET_BUFFER_BYTES + 2 * MiB);
    } finally {
      peer.destroy();
      sender.close();
      await server.close();
    }
  },
);
