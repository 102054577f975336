import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type PacketEvent, type TracePlan, traceSession } from './trace.js';

/** capture 1 -> detect 2 -> draw 4 -> render 5, and capture -> slow 3 -> draw. */
const DIAMOND: TracePlan = {
  handlers: ['capture', 'detect', 'slow', 'draw', 'render'].map((handler_name, index) => ({
    ...{ handler_id: index + 1, handler_name, node_name: 'edge' },
  })),
  links: [
    { source_handler: 1, target_handler: 2 },
    { source_handler: 1, target_handler: 3 },
    { source_handler: 2, target_handler: 4 },
    { source_handler: 3, target_handler: 4 },
    { source_handler: 4, target_handler: 5 },
  ],
  sinks: [5],
};

/** `recv 3 @12.5 b400`: handler 3 received 400 bytes at 12.5 ms. */
function eventsOf(sequence: number, text: string): PacketEvent[] {
  return [...text.matchAll(/(start|end|sent|recv) (\d+) @([\d.]+)(?: b(\d+))?/g)].map(([, event, id, at, size]) => ({
    ...{ sequence, handler_id: Number(id), event: event as PacketEvent['event'] },
    ...{ timestamp: 1000 + Number(at) / 1000, size: size === undefined ? null : Number(size) },
  }));
}

const trace = (events: PacketEvent[], more: Partial<Parameters<typeof traceSession>[0]> = {}) =>
  traceSession({ session_id: 1, plan: DIAMOND, events, since: null, slowest: 10, truncated: false, ...more });

const stepsOf = (result: ReturnType<typeof traceSession>, index = 0) =>
  result.slowest[index]!.steps.map(
    ({ kind, handler_name, ms }) => `${kind} ${handler_name} ${Math.round(ms * 10) / 10}`,
  );

const SLOW_BRANCH = `start 1 @0, end 1 @0, sent 1 @1, sent 1 @1.5 b900, recv 2 @1.1, start 2 @2, end 2 @20, sent 2 @21 b50,
  recv 4 @22 b50, recv 3 @9.5 b900, start 3 @10, end 3 @12, sent 3 @13 b70, recv 4 @40 b70, start 4 @43, end 4 @44, sent 4 @44,
  recv 5 @44, start 5 @45, end 5 @47`;

test('the way over the input that came last, from the source to the sink', () => {
  const result = trace(eventsOf(7, SLOW_BRANCH));
  expect(stepsOf(result)).toEqual([
    ...['compute capture 0', 'send capture 1.5', 'link slow 8', 'queue slow 0.5', 'compute slow 2', 'send slow 1'],
    ...['link draw 27', 'queue draw 3', 'compute draw 1', 'send draw 0', 'link render 0', 'queue render 1'],
    'compute render 2',
  ]);
  const [packet] = result.slowest;
  expect(packet).toMatchObject({ sequence: 7, sink: 5, started_at: 1000, bottleneck: 6 });
  expect(packet!.end_to_end_ms).toBeCloseTo(47, 6);
  expect(result).toMatchObject({ packets: 1, incomplete: 0, first_sequence: 7, last_sequence: 7 });
  expect(result.handlers[1]).toMatchObject({ handler_name: 'detect', packets: 1 });
  expect(result.handlers[1]!.compute!.p50).toBeCloseTo(18, 6);
  expect(result.links.map((link) => `${link.source_name} ${link.target_name} ${link.packets}`)).toEqual([
    ...['capture slow 1', 'slow draw 1', 'draw render 1'],
  ]);
});

test('packets whose rows are not all there are counted and left out', () => {
  const whole = eventsOf(1, SLOW_BRANCH);
  for (const missing of ['start 1', 'sent 3', 'recv 5', 'end 5', 'end 3']) {
    const [event, id] = missing.split(' ');
    const torn = eventsOf(2, SLOW_BRANCH).filter((one) => one.event !== event || one.handler_id !== Number(id));
    expect(trace([...whole, ...torn]), missing).toMatchObject({ packets: 1, incomplete: 1, last_sequence: 1 });
  }
  expect(trace([])).toMatchObject({ packets: 0, incomplete: 0, end_to_end: null, slowest: [] });
});

test('an arrival before its departure is 0 and said, and the steps still sum', () => {
  const skewed = SLOW_BRANCH.replace('recv 3 @9.5 b900', 'recv 3 @1.2 b900');
  const result = trace(eventsOf(1, skewed));
  expect(result.corrected.packets).toBe(1);
  expect(result.corrected.ms_max).toBeCloseTo(0.3, 6);
  expect(stepsOf(result).slice(1, 4)).toEqual(['send capture 1.5', 'link slow 0', 'queue slow 8.5']);
  expect(result.slowest[0]!.end_to_end_ms).toBeCloseTo(47, 6);
});

test('what a restarted handler did again counts with its last run; a posted packet begins where it came in', () => {
  const again = `${SLOW_BRANCH}, recv 2 @15, start 2 @16, recv 5 @60, start 5 @62, end 5 @63`;
  expect(stepsOf(trace(eventsOf(1, again))).slice(-3)).toEqual([
    'link render 16',
    'queue render 2',
    'compute render 1',
  ]);
  const posted = SLOW_BRANCH.replace('start 1 @0, end 1 @0', 'recv 1 @0 b10, start 1 @0.2, end 1 @0.5');
  expect(stepsOf(trace(eventsOf(1, posted))).slice(0, 3)).toEqual([
    ...['queue capture 0.2', 'compute capture 0.3', 'send capture 1'],
  ]);
});

test('any times: every way is complete, and its steps sum to its end to end', () => {
  const took = fc.double({ min: 0, max: 100, noNaN: true });
  const anyPacket = fc.array(took, { minLength: 20, maxLength: 20 });
  fc.assert(
    fc.property(fc.array(anyPacket, { minLength: 1, maxLength: 20 }), (packets) => {
      const ends: number[] = [];
      const events = packets.flatMap((times, sequence) => {
        let next = 0;
        const list: PacketEvent[] = [];
        const note = (event: PacketEvent['event'], handler_id: number, atMs: number, size: number | null = null) => {
          list.push({ sequence, handler_id, event, timestamp: 1000 + atMs / 1000, size });
          return atMs;
        };
        const took = () => times[next++ % times.length]!;
        const work = (id: number, fromMs: number) => note('end', id, note('start', id, fromMs + took()) + took());
        const carry = (from: number, to: number, atMs: number) => {
          const size = 10 * from + to;
          return note('recv', to, note('sent', from, atMs + took(), size) + took(), size);
        };
        const captured = work(1, 0);
        const detected = carry(2, 4, work(2, carry(1, 2, captured)));
        const slow = carry(3, 4, work(3, carry(1, 3, captured)));
        ends[sequence] = work(5, carry(4, 5, work(4, Math.max(detected, slow)))) - times[0]!;
        return list;
      });
      const result = trace(events, { slowest: 1000 });
      expect(result).toMatchObject({ packets: packets.length, incomplete: 0, corrected: { packets: 0 } });
      for (const { sequence, end_to_end_ms, steps, bottleneck } of result.slowest) {
        expect(end_to_end_ms).toBeCloseTo(ends[sequence]!, 3);
        expect(steps.reduce((sum, { ms }) => sum + ms, 0)).toBeCloseTo(end_to_end_ms, 6);
        expect(steps[bottleneck]!.ms).toBe(Math.max(...steps.map(({ ms }) => ms)));
      }
    }),
    { numRuns: 100 },
  );
});
