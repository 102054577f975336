import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HANDOVER_MS, HANDOVER_QUIET_MS } from './handover.js';
import type { IncomingEvents, LinkPacket } from './link.js';
import type { LinkReceiver } from './link-receiver.js';
import { bytesPacket, newReceiver } from './socket-link.testing.js';

interface Connection extends IncomingEvents {
  acked: number;
  isClosed: boolean;
  give(...sequences: number[]): void;
}

/** Under `latest`, with an open connection that has given 0 and 1. */
function receiving() {
  const taken: string[] = [];
  const connections: Connection[] = [];
  const dial: Parameters<LinkReceiver['retarget']>[0] = (_, events) => {
    const connection: Connection = {
      ...events,
      ...{ acked: -1, isClosed: false },
      give: (...sequences) => {
        for (const sequence of sequences) {
          events.packet(bytesPacket(sequence, Buffer.alloc(1)), { bytes: 1, sentAt: 1 });
        }
      },
    };
    connections.push(connection);
    return {
      transport: 'tcp',
      ack: ({ received }) => {
        connection.acked = received;
      },
      close: () => {
        connection.isClosed = true;
      },
    };
  };
  const words = (packet: LinkPacket) =>
    packet.kind === 'drop' ? `${packet.reason} ${packet.first}-${packet.sequence}` : packet.sequence;
  const receiver = newReceiver({ delivery: 'latest', dial, onPacket: (packet) => taken.push(String(words(packet))) });
  receiver.start();
  const old = connections[0]!;
  old.open(-1);
  old.give(0, 1);
  const retarget = (): Connection => {
    receiver.retarget(dial);
    const connection = connections.at(-1)!;
    connection.open(-1);
    return connection;
  };
  return { receiver, taken, old, retarget };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a `latest` link whose sender is replaced', () => {
  test('takes what the old one still holds, and then what the new one gave', () => {
    const { taken, old, retarget } = receiving();
    const fresh = retarget();
    old.give(2);
    fresh.give(5, 6);
    expect(taken).toEqual(['0', '1', '2']);
    old.give(3);
    expect(old).toMatchObject({ acked: 3, isClosed: false });
    old.give(4);
    expect(taken).toEqual(['0', '1', '2', '3', '4', '5', '6']);
    expect(old.isClosed).toBe(true);
    fresh.give(7);
    expect(taken.at(-1)).toBe('7');
  });

  test('drops the old connection with the first packet of the new one when nothing is held', () => {
    const { taken, old, retarget } = receiving();
    retarget().give(1, 2);
    expect(taken).toEqual(['0', '1', '2']);
    expect(old.isClosed).toBe(true);
  });

  test('accounts what the old one held when its connection closes', () => {
    const { taken, old, retarget } = receiving();
    const fresh = retarget();
    fresh.give(4);
    old.closed('gone');
    expect(taken).toEqual(['0', '1', 'failover 2-3', '4']);
  });

  test('waits no longer than its bound', () => {
    const { taken, old, retarget } = receiving();
    retarget().give(4);
    vi.advanceTimersByTime(HANDOVER_MS - 1);
    expect(taken).toEqual(['0', '1']);
    vi.advanceTimersByTime(1);
    expect(taken).toEqual(['0', '1', 'failover 2-3', '4']);
    expect(old.isClosed).toBe(true);
    old.give(2);
    expect(taken).toHaveLength(4);
  });

  test('waits for nothing where the old one has long been silent', () => {
    const { taken, retarget } = receiving();
    vi.advanceTimersByTime(HANDOVER_QUIET_MS + 1);
    retarget().give(4);
    expect(taken).toEqual(['0', '1', 'failover 2-3', '4']);
  });

  test('keeps the connection that gives when it is retargeted again before the new one gave', () => {
    const { taken, old, retarget } = receiving();
    const between = retarget();
    const last = retarget();
    expect(between.isClosed).toBe(true);
    old.give(2);
    last.give(3);
    expect(taken).toEqual(['0', '1', '2', '3']);
  });
});

test('however the two connections interleave, each sequence comes once, in order and without a hole', () => {
  const plan = fc.record({
    held: fc.integer({ min: 0, max: 8 }),
    again: fc.integer({ min: 0, max: 4 }),
    fresh: fc.integer({ min: 1, max: 8 }),
    turns: fc.array(fc.boolean(), { maxLength: 30 }),
  });
  fc.assert(
    fc.property(plan, ({ held, again, fresh, turns }) => {
      const { receiver, taken, old, retarget } = receiving();
      const next = retarget();
      const left = {
        old: Array.from({ length: held }, (_, index) => 2 + index),
        // What the old one had not acknowledged upstream comes again.
        next: Array.from({ length: again + fresh }, (_, index) => Math.max(0, 2 + held - again) + index),
      };
      const highest = left.next.at(-1)!;
      for (const isOld of [...turns, ...Array(40).fill(true), ...Array(40).fill(false)]) {
        const [from, connection] = isOld ? ([left.old, old] as const) : ([left.next, next] as const);
        const sequence = from.shift();
        if (sequence !== undefined && !connection.isClosed) connection.give(sequence);
      }
      expect(taken).toEqual(Array.from({ length: highest + 1 }, (_, sequence) => String(sequence)));
      receiver.close();
    }),
  );
});
