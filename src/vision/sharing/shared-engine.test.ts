/** A server over a model that only counts, and the engines that handlers would have of it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type Deferred, deferred } from '../../std/deferred.js';
import { silentLogger } from '../../std/logger.js';
import type { Engine, OutputTensor, PixelBatch } from '../engine.js';
import { ModelServer } from './model-server.js';
import { encodeHeader } from './protocol.js';
import { openSharedEngine, type SharedModels } from './shared-engine.js';

interface Inference {
  readonly pixels: PixelBatch;
  readonly done: Deferred<Record<string, OutputTensor>>;
}

/** Answers each picture with the sum of its bytes. */
function sums({ data, batch }: PixelBatch): Record<string, OutputTensor> {
  const each = data.length / batch;
  const totals = Array.from({ length: batch }, (_, index) =>
    data.subarray(index * each, (index + 1) * each).reduce((sum, value) => sum + value, 0),
  );
  return { sum: { dims: [batch, 1], data: Float32Array.from(totals) } };
}

function socketPath(): string {
  const directory = mkdtempSync(join(tmpdir(), 'model-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 's');
}

/** `hold`: inferences wait until the test lets them go. */
async function serve(path: string, { hold = false, batches = true } = {}) {
  const inferences: Inference[] = [];
  const server = new ModelServer({
    engine: {
      ...{ provider: 'cpu', batches },
      async run(pixels) {
        if (!hold) return sums(pixels);
        const done = deferred<Record<string, OutputTensor>>();
        inferences.push({ pixels, done });
        return done.promise;
      },
    },
    ...{ threads: 1, batchMax: 16, batchWaitMs: 0, logger: silentLogger, onHung() {} },
  });
  await server.listen(path);
  onTestFinished(() => server.close());
  return { server, inferences };
}

async function engineAt(path: string, given: Partial<SharedModels> = {}): Promise<Engine & { cpuMs(): number }> {
  let spentMs = 0;
  const engine = await openSharedEngine(
    { model: 'counter', gpu: false },
    {
      ...{ session_id: 1, handler_id: 2, resend: false },
      open: async () => ({ socketPath: path, release() {} }),
      leftMs: () => Number.POSITIVE_INFINITY,
      spent(cpuMs) {
        spentMs += cpuMs;
      },
      ...given,
    },
  );
  onTestFinished(() => engine.dispose());
  return Object.assign(engine, { cpuMs: () => spentMs });
}

const picture = (value: number, side = 2): PixelBatch => ({
  ...{ data: new Uint8Array(side * side * 3).fill(value), batch: 1, height: side, width: side },
});
const sumOf = async (engine: Engine, value: number) => (await engine.run(picture(value))).sum!.data[0];

async function until(probe: () => boolean): Promise<void> {
  while (!probe()) await new Promise((resolve) => setTimeout(resolve, 1));
}

test('each handler gets its own answers, and is charged what they cost', async () => {
  const path = socketPath();
  const { server } = await serve(path);
  const engines = [await engineAt(path), await engineAt(path, { session_id: 7 })];
  const answers = await Promise.all([1, 2, 3, 4, 5, 6].map((value) => sumOf(engines[value % 2]!, value)));
  expect(answers).toEqual([12, 24, 36, 48, 60, 72]);
  expect(engines.map((engine) => engine.cpuMs() > 0)).toEqual([true, true]);
  expect(server.status().users.map((user) => user.session_id)).toEqual([1, 7]);
  expect(engines[0]).toMatchObject({ provider: 'cpu', batches: true });
});

test('what waits during an inference shares the next one', async () => {
  const path = socketPath();
  const { server, inferences } = await serve(path, { hold: true });
  const engines = [await engineAt(path), await engineAt(path), await engineAt(path)];
  const answers = Promise.all(engines.map((engine, index) => sumOf(engine, index + 1)));
  await until(() => inferences.length === 1 && server.status().waiting === 2);
  inferences[0]!.done.resolve(sums(inferences[0]!.pixels));
  await until(() => inferences.length === 2);
  expect(inferences[1]!.pixels.batch).toBe(2);
  inferences[1]!.done.resolve(sums(inferences[1]!.pixels));
  expect(await answers).toEqual([12, 24, 36]);
  expect(server.status()).toMatchObject({ runs: 2, pictures: 3, waiting: 0 });
});

test('a packet whose deadline passes in the queue is late, and its pixels are never run', async () => {
  const path = socketPath();
  const { server, inferences } = await serve(path, { hold: true });
  const busy = await engineAt(path);
  // Long enough that the request has come to the process before it is given up, on a busy machine too.
  const hurried = await engineAt(path, { leftMs: () => 4_000 });
  const first = sumOf(busy, 1);
  await until(() => inferences.length === 1);
  await expect(sumOf(hurried, 2)).rejects.toMatchObject({ code: 'DEADLINE_PASSED' });
  await until(() => server.status().waiting === 1);
  inferences[0]!.done.resolve(sums(inferences[0]!.pixels));
  expect(await first).toBe(12);
  await until(() => server.status().late === 1);
  expect(inferences).toHaveLength(1);
  await expect(sumOf(await engineAt(path, { leftMs: () => -1 }), 1)).rejects.toMatchObject({ code: 'DEADLINE_PASSED' });
});

test('a handler that is killed frees its place', async () => {
  const path = socketPath();
  const { server, inferences } = await serve(path, { hold: true, batches: false });
  const first = sumOf(await engineAt(path), 1);
  await until(() => inferences.length === 1);
  const killed = connect(path);
  killed.write(encodeHeader({ kind: 'hello', id: 0, payloadBytes: 16, a: 0, b: 0, c: 0, d: 0 }));
  killed.write(Buffer.alloc(16));
  for (const id of [1, 2]) {
    const size = { a: 1, b: 1, c: 1, d: Number.POSITIVE_INFINITY };
    killed.write(encodeHeader({ kind: 'run', id, payloadBytes: 3, ...size }));
    killed.write(Buffer.alloc(3));
  }
  await until(() => server.status().waiting === 2);
  killed.destroy();
  await until(() => server.status().waiting === 0);
  expect(server.status().users).toHaveLength(1);
  inferences[0]!.done.resolve(sums(inferences[0]!.pixels));
  expect(await first).toBe(12);
  expect(inferences).toHaveLength(1);
});

test('a process that dies: what was in it is run by the next one where every packet counts, and fails elsewhere', async () => {
  const path = socketPath();
  const { server, inferences } = await serve(path, { hold: true });
  const [lossless, live] = [await engineAt(path, { resend: true }), await engineAt(path)];
  const kept = sumOf(lossless, 3);
  const lost = sumOf(live, 4);
  lost.catch(() => {});
  await until(() => inferences.length === 1 && server.status().waiting === 1);
  server.close();
  await expect(lost).rejects.toMatchObject({ code: 'MODEL_EXITED' });
  await serve(path);
  expect(await kept).toBe(36);
  expect(await sumOf(live, 5)).toBe(60);
});

test('bytes that are no protocol, and runs that contradict themselves, cost the connection only', async () => {
  const path = socketPath();
  const { server } = await serve(path);
  const engine = await engineAt(path);
  const stranger = connect(path);
  stranger.on('error', () => {});
  const closed = new Promise((resolve) => stranger.once('close', resolve));
  stranger.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n');
  await closed;
  const wrong = engine.run({ ...picture(1), width: 3 });
  await expect(wrong).rejects.toMatchObject({ code: 'MODEL_EXITED' });
  expect(await sumOf(await engineAt(path), 1)).toBe(12);
  expect(server.status().waiting).toBe(0);
});
