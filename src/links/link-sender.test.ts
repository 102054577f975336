import { expect, test } from 'vitest';
import type { DropReason } from '../contracts/packet.js';
import type { LinkPacket, OutgoingEvents } from './link.js';
import { bytesPacket, newSender } from './socket-link.testing.js';

/** A peer that takes what is written and acknowledges when it is told to. */
function peerOf(options: { windowBytes: number }) {
  const drops: DropReason[] = [];
  const written: LinkPacket[] = [];
  const sender = newSender({ delivery: 'latest', ...options, onDropped: (reason) => drops.push(reason) });
  let events: OutgoingEvents | null = null;
  sender.attach({ after: -1, received: -1, generation: 0 }, (given) => {
    events = given;
    return {
      ...{ transport: 'tcp', writable: () => true, close: () => {} },
      write: (packet) => written.push(packet),
    };
  });
  const sequences = () => written.map(({ kind, sequence }) => `${kind} ${sequence}`);
  return { sender, drops, sequences, ack: (received: number) => events!.ack({ settled: -1, received }) };
}

test('latest: bytes on the way and bytes that wait are bounded, not only packets', () => {
  const { sender, drops, sequences, ack } = peerOf({ windowBytes: 1000 });
  for (let sequence = 0; sequence < 8; sequence++) sender.send(bytesPacket(sequence, Buffer.alloc(600)));
  // Two are on the way (the first left room), and of those that wait only as many as 1000 bytes hold.
  expect(sequences()).toEqual(['data 0', 'data 1']);
  expect(drops).toEqual(['queue', 'queue', 'queue', 'queue', 'queue']);
  expect(sender.retainedBytes).toBeLessThan(3 * 600 + 100);
  ack(1);
  expect(sequences()).toEqual(['data 0', 'data 1', 'drop 6', 'data 7']);
});

test('latest: one packet may always go, however large', () => {
  const { sender, drops, sequences, ack } = peerOf({ windowBytes: 10 });
  sender.send(bytesPacket(0, Buffer.alloc(600)));
  sender.send(bytesPacket(1, Buffer.alloc(600)));
  expect(sequences()).toEqual(['data 0']);
  ack(0);
  expect(sequences()).toEqual(['data 0', 'data 1']);
  expect(drops).toEqual([]);
});
