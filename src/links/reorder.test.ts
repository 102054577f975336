/** Acknowledgements and packets that come twice, late, in any order and over several connections. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Delivery } from '../contracts/packet.js';
import { firstOf, type IncomingEvents, type LinkAck, type LinkPacket, type OutgoingEvents } from './link.js';
import { bytesPacket, newReceiver, newSender } from './socket-link.testing.js';

const anyDelivery = fc.constantFrom<Delivery>('all', 'latest');

/** A connection of a sender that keeps what was written on it. */
function attach(sender: ReturnType<typeof newSender>, after: number) {
  const written: LinkPacket[] = [];
  let events!: OutgoingEvents;
  sender.attach({ after, received: after, generation: 0 }, (given) => {
    events = given;
    return {
      transport: 'tcp',
      writable: () => true,
      write: (packet) => written.push(packet),
      close: () => {},
    };
  });
  return { written, ack: (ack: LinkAck) => events.ack(ack) };
}

test('acknowledgements in any order, twice, and of a connection that is gone: the highest that counts, counts', () => {
  const anyAcks = fc.array(
    fc.record({ settled: fc.integer({ min: -1, max: 11 }), lag: fc.nat(4), stale: fc.boolean() }),
  );
  fc.assert(
    fc.property(anyDelivery, anyAcks, fc.integer({ min: -1, max: 11 }), (delivery, acks, after) => {
      const settledCalls: number[] = [];
      const sender = newSender({
        ...{ delivery, windowPackets: 100, queuePackets: 100 },
        onSettled: (sequence) => settledCalls.push(sequence),
      });
      const stale = attach(sender, -1);
      const current = attach(sender, -1);
      for (let sequence = 0; sequence < 12; sequence++) sender.send(bytesPacket(sequence, Buffer.alloc(4)));
      let expected = -1;
      for (const { settled, lag, stale: old } of acks) {
        const ack = { settled, received: Math.min(11, settled + lag) };
        (old ? stale : current).ack(ack);
        if (!old) expected = Math.max(expected, delivery === 'all' ? ack.settled : ack.received);
        expect(sender.settled).toBe(expected);
        expect(sender.retained).toBe(11 - expected);
      }
      expect(settledCalls).toEqual([...new Set(settledCalls)].sort((a, b) => a - b));
      // A new connection is written what is left, once and in order, whatever the peer says that it lacks.
      const { written } = attach(sender, after);
      const first = Math.max(expected, after) + 1;
      expect(written.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 12 - first }, (_, i) => first + i));
      sender.close();
    }),
  );
});

type Event = { readonly kind: 'data' | 'drop' | 'skip'; readonly first: number; readonly length: number } | 'reconnect';

const anyEvent: fc.Arbitrary<Event> = fc.oneof(
  { weight: 1, arbitrary: fc.constant('reconnect' as const) },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constantFrom('data', 'drop', 'skip'),
      first: fc.nat(30),
      length: fc.integer({ min: 1, max: 6 }),
    }),
  },
);

function packetOf({ kind, first, length }: Exclude<Event, string>): LinkPacket {
  const header = { sequence: first + length - 1, first, timestamp: 1, deadline: 0 };
  if (kind === 'data') return bytesPacket(first, Buffer.alloc(1));
  return kind === 'skip' ? { kind, ...header } : { kind, ...header, reason: 'late', handler_id: 1 };
}

test('packets and runs in any order, overlapping, twice, over several connections: each sequence once and in order', () => {
  fc.assert(
    fc.property(anyDelivery, fc.array(anyEvent, { maxLength: 60 }), (delivery, events) => {
      let connection!: IncomingEvents;
      const taken: LinkPacket[] = [];
      const receiver = newReceiver({
        delivery,
        dial: (_, given) => {
          connection = given;
          return { transport: 'tcp', ack: () => {}, close: () => {} };
        },
        onPacket: (packet) => taken.push(packet),
      });
      receiver.start();
      const redial = (): void =>
        receiver.retarget((_, given) => {
          connection = given;
          return { transport: 'tcp', ack: () => {}, close: () => {} };
        });
      for (const event of events) {
        if (event === 'reconnect') redial();
        else connection.packet(packetOf(event), { bytes: 1, sentAt: 1 });
      }
      let next = taken[0] === undefined ? 0 : firstOf(taken[0]);
      for (const packet of taken) {
        expect(firstOf(packet)).toBe(next);
        next = packet.sequence + 1;
      }
      const highest = Math.max(-1, ...events.map((event) => (event === 'reconnect' ? -1 : packetOf(event).sequence)));
      expect(receiver.received).toBe(highest);
      // What a connection that was given up still brings has no effect.
      const gone = connection;
      redial();
      gone.packet(packetOf({ kind: 'data', first: 99, length: 1 }), { bytes: 1, sentAt: 1 });
      expect(receiver.received).toBe(highest);
      receiver.close();
    }),
  );
});
