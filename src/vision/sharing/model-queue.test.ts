import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ModelQueue, type Waiting } from './model-queue.js';

interface Item extends Waiting {
  readonly name: string;
}

const item = (name: string, given: Partial<Waiting> = {}): Item => ({
  ...{ name, pictures: 1, shape: 'a', arrivedMs: 0, deadlineMs: Number.POSITIVE_INFINITY },
  ...given,
});

function queueOf(options: Partial<ConstructorParameters<typeof ModelQueue>[0]> = {}) {
  const queue = new ModelQueue<string, Item>({ batches: true, batchMax: 4, waitMs: 0, ...options });
  const names = (nowMs = 0, runMs = 0) => queue.take(nowMs, runMs).run.map((one) => one.name);
  return { queue, names };
}

test('one request a run takes turns, however many one client has waiting', () => {
  const { queue, names } = queueOf({ batches: false });
  for (const client of ['x', 'y']) queue.join(client);
  for (const name of ['x1', 'x2', 'x3']) queue.add('x', item(name));
  queue.add('y', item('y1'));
  expect([names(), names(), names(), names(), names()]).toEqual([['x1'], ['y1'], ['x2'], ['x3'], []]);
});

test('requests of one size share a run up to the bound, one of each client first', () => {
  const { queue, names } = queueOf({ batchMax: 3 });
  for (const client of ['x', 'y', 'z']) queue.join(client);
  for (const name of ['x1', 'x2']) queue.add('x', item(name));
  queue.add('y', item('y1', { shape: 'b' }));
  queue.add('z', item('z1'));
  expect(names()).toEqual(['x1', 'x2', 'z1']);
  expect(names()).toEqual(['y1']);
  queue.add('x', item('x3', { pictures: 9 }));
  expect(names()).toEqual(['x3']);
});

test('requests of which few may share a run wait for no more', () => {
  const { queue, names } = queueOf({ waitMs: 20 });
  for (const client of ['x', 'y', 'z']) queue.join(client);
  for (const client of ['x', 'y', 'z']) queue.add(client, item(client, { togetherMax: 2 }));
  expect([names(), names()]).toEqual([['x', 'y'], []]);
  queue.add('x', item('large', { shape: 'b', togetherMax: 0 }));
  expect([names(20), names(20)]).toEqual([['z'], ['large']]);
});

test('a request behind one of another size keeps its place', () => {
  const { queue, names } = queueOf();
  for (const client of ['x', 'y']) queue.join(client);
  queue.add('x', item('x1'));
  queue.add('x', item('x2', { shape: 'b' }));
  queue.add('x', item('x3'));
  queue.add('y', item('y1'));
  expect(names()).toEqual(['x1', 'y1']);
  expect(names()).toEqual(['x2']);
  expect(names()).toEqual(['x3']);
});

test('an incomplete batch waits for others, but never past what a deadline among it leaves', () => {
  const { queue } = queueOf({ waitMs: 20 });
  for (const client of ['x', 'y', 'z']) queue.join(client);
  queue.add('x', item('x1', { arrivedMs: 100 }));
  expect(queue.take(105, 30)).toEqual({ run: [], late: [], againMs: 120 });
  queue.add('y', item('y1', { arrivedMs: 106, deadlineMs: 142 }));
  expect(queue.take(107, 30)).toEqual({ run: [], late: [], againMs: 112 });
  expect(queue.take(112, 30).run).toHaveLength(2);
});

test('nothing waits when everybody has a request in, when it is full, or when somebody cannot join', () => {
  const everybody = queueOf({ waitMs: 20 });
  everybody.queue.join('x');
  everybody.queue.add('x', item('x1'));
  expect(everybody.names()).toEqual(['x1']);
  const full = queueOf({ waitMs: 20, batchMax: 2 });
  for (const client of ['x', 'y', 'z']) full.queue.join(client);
  full.queue.add('x', item('x1', { pictures: 2 }));
  expect(full.names()).toEqual(['x1']);
  full.queue.add('y', item('y1'));
  full.queue.add('z', item('z1', { shape: 'b' }));
  expect(full.names()).toEqual(['y1']);
});

test('what is late is never run, and a client that leaves frees its place', () => {
  const { queue, names } = queueOf();
  for (const client of ['x', 'y']) queue.join(client);
  queue.add('x', item('x1', { deadlineMs: 10 }));
  queue.add('y', item('y1', { deadlineMs: 11 }));
  expect(queue.take(10, 5)).toMatchObject({ late: [{ name: 'x1' }], run: [{ name: 'y1' }] });
  queue.add('x', item('x2'));
  expect(queue.leave('x').map((one) => one.name)).toEqual(['x2']);
  expect(queue.size).toBe(0);
  expect(names()).toEqual([]);
});

test('whatever comes: each request ends once, in the order of its client, within the bounds of a batch', () => {
  const event = fc.record({
    client: fc.integer({ min: 0, max: 3 }),
    pictures: fc.integer({ min: 1, max: 6 }),
    shape: fc.constantFrom('a', 'b'),
    leftMs: fc.option(fc.integer({ min: 1, max: 60 })),
    passMs: fc.integer({ min: 0, max: 15 }),
    take: fc.boolean(),
  });
  const bounds = { batches: fc.boolean(), batchMax: fc.integer({ min: 1, max: 8 }), waitMs: fc.constantFrom(0, 10) };
  fc.assert(
    fc.property(fc.record(bounds), fc.array(event, { maxLength: 60 }), (options, events) => {
      const queue = new ModelQueue<number, Item & { client: number; id: number }>(options);
      for (let client = 0; client < 4; client++) queue.join(client);
      const ended = new Set<number>();
      const lastRun = new Map<number, number>();
      let nowMs = 0;
      const take = () => {
        const { run, late, againMs } = queue.take(nowMs, 5);
        for (const one of [...run, ...late]) {
          expect(ended.has(one.id)).toBe(false);
          ended.add(one.id);
        }
        for (const one of run) {
          expect(one.deadlineMs).toBeGreaterThan(nowMs);
          expect(one.id).toBeGreaterThan(lastRun.get(one.client) ?? -1);
          lastRun.set(one.client, one.id);
        }
        const pictures = run.reduce((sum, one) => sum + one.pictures, 0);
        expect(run.length <= 1 || pictures <= options.batchMax).toBe(true);
        expect(run.length <= 1 || options.batches).toBe(true);
        expect(new Set(run.map((one) => one.shape)).size).toBeLessThanOrEqual(1);
        if (againMs !== null) expect(againMs).toBeLessThanOrEqual(nowMs + options.waitMs);
        return run.length + late.length > 0 || againMs !== null;
      };
      events.forEach(({ client, pictures, shape, leftMs, passMs, take: takes }, id) => {
        nowMs += passMs;
        const deadlineMs = leftMs === null ? Number.POSITIVE_INFINITY : nowMs + leftMs;
        queue.add(client, { client, id, name: '', pictures, shape, arrivedMs: nowMs, deadlineMs });
        if (takes) take();
      });
      while (queue.size > 0) {
        nowMs += 10;
        expect(take()).toBe(true);
      }
      expect(ended.size).toBe(events.length);
    }),
  );
});
