import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { LATEST_QUEUE_PACKETS } from '../contracts/limits.js';
import type { Delivery } from '../contracts/packet.js';
import { firstOf, type LinkPacket } from '../links/link.js';
import { JOIN_WAIT_PACKETS, Join, type Outcome } from './join.js';

let nowS = 100;
const clock = { now: () => nowS, monotonicMs: () => nowS * 1000 };
const join = (inputs: number, delivery: Delivery, onDropped = vi.fn()) =>
  new Join({ inputs, handlerId: 9, delivery, clock, onDropped });

const data = (sequence: number, deadline = 0): LinkPacket => ({
  kind: 'data',
  sequence,
  timestamp: 1,
  deadline,
  payload: { type: 'bytes', data: Buffer.from([sequence & 0xff]) },
  metadata: {},
});
const drop = (first: number, sequence = first): LinkPacket => ({
  kind: 'drop',
  first,
  sequence,
  timestamp: 1,
  deadline: 0,
  reason: 'queue',
  handler_id: 3,
});
const end = (sequence: number): LinkPacket => ({ kind: 'end', sequence, timestamp: 1, deadline: 0 });

function takeAll(of: Join): string[] {
  const outcomes: Outcome[] = [];
  for (let outcome = of.take(); outcome !== undefined; outcome = of.take()) outcomes.push(outcome);
  return outcomes.map((outcome) => {
    if (outcome.kind === 'set' || outcome.kind === 'end') return `${outcome.kind} ${outcome.sequence}`;
    const range = `${firstOf(outcome)}-${outcome.sequence}`;
    return outcome.kind === 'drop' ? `${outcome.reason} ${outcome.handler_id} ${range}` : `skip ${range}`;
  });
}

test('inputs are joined by equal sequence; an older one without a partner is dropped at once', () => {
  const pair = join(2, 'all');
  for (const sequence of [0, 1, 2]) pair.accept(0, data(sequence));
  expect(takeAll(pair)).toEqual([]);
  pair.accept(1, data(1));
  expect(takeAll(pair)).toEqual(['join 9 0-0', 'set 1']);
});

test("a marker ends its sequence with its own reason, without waiting for the other input's packet", () => {
  const pair = join(2, 'all');
  pair.accept(0, drop(0, 4));
  expect(takeAll(pair)).toEqual(['queue 3 0-4']);
  for (let sequence = 0; sequence < 6; sequence++) pair.accept(1, data(sequence));
  pair.accept(0, data(5));
  expect(takeAll(pair)).toEqual(['set 5']);
  expect(pair.idle).toBe(true);
});

test('the end comes once, after everything, when all inputs have ended', () => {
  const pair = join(2, 'all');
  pair.accept(0, data(0));
  pair.accept(0, end(1));
  expect(takeAll(pair)).toEqual([]);
  pair.accept(1, data(0));
  pair.accept(1, end(1));
  pair.raiseFloor(0);
  expect(takeAll(pair)).toEqual(['end 1']);
  pair.raiseFloor(1);
  expect(takeAll(pair)).toEqual([]);
});

test('what is settled already comes out no more', () => {
  const pair = join(2, 'all');
  for (const sequence of [5, 6, 7]) pair.accept(0, data(sequence));
  pair.raiseFloor(6);
  pair.accept(1, data(7));
  expect(takeAll(pair)).toEqual(['set 7']);
});

test('latest: a busy handler keeps the newest sets, the oldest become drops in their place', () => {
  const onDropped = vi.fn();
  const single = join(1, 'latest', onDropped);
  for (let sequence = 0; sequence < 10; sequence++) single.accept(0, data(sequence));
  const kept = [6, 7, 8, 9].slice(-LATEST_QUEUE_PACKETS).map((sequence) => `set ${sequence}`);
  expect(takeAll(single)).toEqual(['queue 9 0-5', ...kept]);
  expect(onDropped.mock.calls).toEqual(Array.from({ length: 6 }, () => ['queue']));
});

test('latest: a fast branch waits for a slow one, but only within bounds', () => {
  const pair = join(2, 'latest');
  for (let sequence = 0; sequence < JOIN_WAIT_PACKETS; sequence++) pair.accept(0, data(sequence));
  expect(takeAll(pair)).toEqual([]);
  pair.accept(0, data(JOIN_WAIT_PACKETS));
  expect(takeAll(pair)).toEqual(['join 9 0-0']);
  pair.accept(1, data(0));
  pair.accept(1, data(1));
  expect(takeAll(pair)).toEqual(['set 1']);
});

test('latest: nobody waits beyond the deadline', () => {
  const pair = join(2, 'latest');
  pair.accept(0, data(0, nowS + 1));
  nowS += 2;
  pair.accept(0, data(1, nowS + 1));
  expect(takeAll(pair)).toEqual(['join 9 0-0']);
});

test('all: a peer that ignores its window is refused', () => {
  const single = join(2, 'all');
  const flood = () => {
    for (let sequence = 0; sequence < 100_000; sequence++) single.accept(0, data(sequence));
  };
  expect(flood).toThrow(expect.objectContaining({ code: 'LINK_PROTOCOL' }));
});

test('every sequence comes out exactly once, in order, however the inputs are interleaved', () => {
  // Each input as a list of packets that accounts for 0..29 without holes, and a random merge of the inputs.
  const anyInput = fc
    .array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 4 })), { minLength: 30, maxLength: 30 })
    .map((steps) => {
      const packets: LinkPacket[] = [];
      for (let next = 0, step = 0; next < 30; step++) {
        const [isData, run] = steps[step]!;
        const last = Math.min(29, next + run - 1);
        packets.push(isData ? data(next) : drop(next, last));
        next = isData ? next + 1 : last + 1;
      }
      return [...packets, end(30)];
    });
  const anyCase = fc.record({
    inputs: fc.array(anyInput, { minLength: 1, maxLength: 3 }),
    order: fc.array(fc.nat(), { minLength: 200, maxLength: 200 }),
    delivery: fc.constantFrom<Delivery>('all', 'latest'),
    takeEvery: fc.integer({ min: 1, max: 20 }),
  });
  fc.assert(
    fc.property(anyCase, ({ inputs, order, delivery, takeEvery }) => {
      const joined = join(inputs.length, delivery);
      const left = inputs.map((packets) => [...packets]);
      const outcomes: Outcome[] = [];
      const take = () => {
        for (let outcome = joined.take(); outcome !== undefined; outcome = joined.take()) outcomes.push(outcome);
      };
      for (let turn = 0; left.some((packets) => packets.length > 0); turn++) {
        const open = left.flatMap((packets, index) => (packets.length > 0 ? [index] : []));
        const index = open[order[turn % order.length]! % open.length]!;
        joined.accept(index, left[index]!.shift()!);
        if (turn % takeEvery === 0) take();
      }
      take();
      const sequences = outcomes.flatMap((outcome) => {
        const first = outcome.kind === 'set' ? outcome.sequence : firstOf(outcome);
        return Array.from({ length: outcome.sequence - first + 1 }, (_, offset) => first + offset);
      });
      expect(sequences).toEqual(Array.from({ length: 31 }, (_, sequence) => sequence));
      expect(outcomes.at(-1)?.kind).toBe('end');
      if (delivery === 'all') {
        const whole = (sequence: number) =>
          inputs.every((packets) => packets.some((one) => one.kind === 'data' && one.sequence === sequence));
        const sets = outcomes.filter(({ kind }) => kind === 'set').map(({ sequence }) => sequence);
        expect(sets).toEqual(Array.from({ length: 30 }, (_, sequence) => sequence).filter(whole));
      }
    }),
    { numRuns: 300 },
  );
});
