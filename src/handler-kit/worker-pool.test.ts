import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { written } from '../links/frame-writer.testing.js';
import type { LinkPacket } from '../links/link.js';
import { systemClock } from '../std/clock.js';
import { WORKERS_MAX } from './worker-pool.js';
import { answerTo, type PoolServer, type Program, packet, servePool, textOf } from './worker-pool.testing.js';

/** Bound of each wait on a machine that is busy with other tests. */
const WAIT = { timeout: 15_000, interval: 2 };
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function serve(options?: Parameters<typeof servePool>[0]): Promise<PoolServer> {
  const server = await servePool(options);
  closers.push(() => server.close());
  return server;
}

const answering = (program: Program): Program => {
  program.onPacket = (one) => {
    if (one.kind === 'data') program.send(answerTo(one));
  };
  for (const one of program.received) program.onPacket(one);
  return program;
};

function answerNewest(program: Program | undefined): void {
  const newest = program?.received.at(-1);
  if (newest?.kind === 'data') program?.send(answerTo(newest));
}

const has = (program: Program, ...sequences: number[]) =>
  vi.waitFor(() => expect(program.received.map((one) => one.sequence)).toEqual(sequences), WAIT);

test('packets wait for a program, and its answers come back', async () => {
  const { pool, join } = await serve();
  const answers = [pool.process(packet(0)), pool.process(packet(1))];
  expect(pool.note()).toBe('waiting for a program to join at http://node/v1/sessions/1/handlers/2/worker');
  const program = answering(await join());
  expect((await Promise.all(answers)).map(textOf)).toEqual(['0 0', '1 1']);
  expect(await program.answered).toMatch(/^HTTP\/1\.1 101 .*upgrade: orchestrator-link\/1/s);
  expect(pool.note()).toBeUndefined();
});

test('answers are told apart by sequence, in whatever order and of whatever kind they come', async () => {
  const { pool, join } = await serve();
  const program = await join();
  const answers = [0, 1, 2].map((sequence) => pool.process(packet(sequence)));
  await has(program, 0, 1, 2);
  program.send({ kind: 'skip', sequence: 2, timestamp: 0, deadline: 0 });
  program.send({
    kind: 'drop',
    sequence: 0,
    timestamp: 0,
    deadline: 0,
    reason: 'error',
    handler_id: 0,
    detail: 'dark',
  });
  program.send(answerTo(packet(1)));
  expect((await Promise.all(answers)).map(textOf)).toEqual(['drop', '1 1', 'skip']);
  expect(await answers[0]).toMatchObject({ reason: 'error', detail: 'dark' });
});

test('what a killed program had in hand goes to the next that joins, the lowest sequence first', async () => {
  const { pool, join } = await serve();
  const first = await join();
  const answers = [5, 6, 7].map((sequence) => pool.process(packet(sequence)));
  await has(first, 5, 6, 7);
  first.send(answerTo(packet(6)));
  expect(textOf(await answers[1]!)).toBe('6 6');
  first.kill();
  await vi.waitFor(() => expect(pool.note()).toContain('the last one left'), WAIT);
  const next = answering(await join());
  expect((await Promise.all(answers)).map(textOf)).toEqual(['5 5', '6 6', '7 7']);
  expect(next.received.map((one) => one.sequence)).toEqual([5, 7]);
});

test('programs share the work: each packet goes to the one with the fewest in hand', async () => {
  const { pool, join } = await serve();
  const [a, b] = [await join(), await join()];
  const answers = [0, 1, 2, 3].map((sequence) => pool.process(packet(sequence)));
  await has(a, 0, 2);
  await has(b, 1, 3);
  answering(a);
  answering(b);
  await Promise.all(answers);
});

test('every packet is answered once whatever programs do', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom('answer', 'kill', 'join', 'packet'), { minLength: 1, maxLength: 40 }),
      async (steps) => {
        const server = await servePool({ attempts: 1000 });
        const programs: Program[] = [];
        const answers: Promise<LinkPacket>[] = [];
        for (const step of steps) {
          if (step === 'packet') answers.push(server.pool.process(packet(answers.length)));
          else if (step === 'join') programs.push(await server.join());
          else if (step === 'kill') programs.shift()?.kill();
          else if (step === 'answer') answerNewest(programs[0]);
        }
        // A program that answered one packet twice was cut off; its other packets are still to be answered.
        for (const program of programs) program.kill();
        answering(await server.join());
        const texts = (await Promise.all(answers)).map(textOf);
        expect(texts).toEqual(answers.map((_, sequence) => `${sequence} ${sequence}`));
        await server.close();
      },
    ),
    { numRuns: 25 },
  );
});

test('a packet that ends every program fails in the end', async () => {
  const { pool, join } = await serve({ attempts: 3 });
  const answer = pool.process(packet(4)).catch((error) => error);
  for (let lost = 0; lost < 3; lost++) {
    const program = await join();
    await has(program, 4);
    program.kill();
    await vi.waitFor(() => expect(pool.size).toBe(0), WAIT);
  }
  expect(await answer).toMatchObject({
    code: 'HANDLER_FAILED',
    message: expect.stringMatching(/3 programs.*sequence 4/),
  });
});

test('a program that does not answer in time is cut off, and only that packet fails', async () => {
  const { pool, join } = await serve({ timeoutMs: 100 });
  const slow = await join();
  const late = pool.process(packet(0)).catch((error) => error);
  await has(slow, 0);
  expect(await late).toMatchObject({ code: 'HANDLER_TIMEOUT', message: expect.stringContaining('100 ms') });
  await slow.closed;
  const next = pool.process(packet(1));
  answering(await join());
  expect(textOf(await next)).toBe('1 1');
});

test.each([
  ['a sequence that it does not have', (program: Program) => program.send(answerTo(packet(9)))],
  ['a run', (program: Program) => program.send({ kind: 'skip', first: 0, sequence: 1, timestamp: 0, deadline: 0 })],
  ['an end', (program: Program) => program.send({ kind: 'end', sequence: 1, timestamp: 0, deadline: 0 })],
  [
    'an acknowledgement',
    (program: Program) => program.sendBytes(written((writer) => writer.ack({ settled: 0, received: 0 }, 0))),
  ],
  ['bytes that are no frame', (program: Program) => program.sendBytes(Buffer.alloc(80, 1))],
])('a program that sends %s is cut off, and its packet goes to the next', async (_, send) => {
  const { pool, join } = await serve();
  const bad = await join();
  const answer = pool.process(packet(0));
  await has(bad, 0);
  send(bad);
  await bad.closed;
  expect(pool.note()).toMatch(/the last one left: ./);
  answering(await join());
  expect(textOf(await answer)).toBe('0 0');
});

test('one program more than the bound, and another protocol, are refused with the reason', async () => {
  const { pool, join } = await serve();
  await Promise.all(Array.from({ length: WORKERS_MAX }, () => join()));
  const refused = await join();
  expect(await refused.answered).toMatch(/^HTTP\/1\.1 409 .*PROGRAMS_FULL/s);
  expect(pool.size).toBe(WORKERS_MAX);
  const other = await join({ upgrade: 'websocket' });
  expect(await other.answered).toMatch(/^HTTP\/1\.1 400 .*websocket.*orchestrator-link\/1/s);
});

test('latest: packets wait for a program for a bounded time, then end at once until one joins', async () => {
  const { pool, join } = await serve({ delivery: 'latest' });
  const refusal = { reason: 'queue', message: expect.stringContaining('no program has joined at http://node/') };
  await expect(pool.process(packet(0))).rejects.toMatchObject(refusal);
  await expect(pool.process(packet(1))).rejects.toMatchObject(refusal);
  answering(await join());
  expect(textOf(await pool.process(packet(2)))).toBe('2 2');
});

test('latest: a packet past its deadline waits for nobody', async () => {
  const { pool } = await serve({ delivery: 'latest' });
  const deadline = systemClock().now() + 0.05;
  await expect(pool.process(packet(0, { deadline }))).rejects.toMatchObject({ reason: 'late' });
});

test('the end is told to every program, and to those that join after it', async () => {
  const { pool, join } = await serve();
  const before = await join();
  pool.end({ kind: 'end', sequence: 3, timestamp: 0, deadline: 0 });
  const after = await join();
  await has(before, 3);
  await has(after, 3);
  expect([...before.received, ...after.received].map((one) => one.kind)).toEqual(['end', 'end']);
});

test('closing ends what waits and what is in hand, and lets nobody in', async () => {
  const { pool, join } = await serve();
  const waiting = pool.process(packet(0)).catch((error) => error);
  const program = await join();
  await has(program, 0);
  pool.close();
  expect(await waiting).toMatchObject({ code: 'HANDLER_FAILED' });
  await program.closed;
  expect(await (await join()).answered).toMatch(/^HTTP\/1\.1 503/);
  await expect(pool.process(packet(1))).rejects.toMatchObject({ code: 'HANDLER_FAILED' });
});
