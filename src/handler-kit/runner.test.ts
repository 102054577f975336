import { afterEach, expect, test, vi } from 'vitest';
import type { Delivery, Payload } from '../contracts/packet.js';
import type { LinkPacket } from '../links/link.js';
import { LinkReceiver } from '../links/link-receiver.js';
import { memoryDial } from '../links/memory-link.js';
import { systemClock } from '../std/clock.js';
import { deferred } from '../std/deferred.js';
import { silentLogger } from '../std/logger.js';
import { Account } from './account.js';
import { type HandlerManifest, PacketDropped, type ProcessingHandler } from './define.js';
import { TAPS_MAX } from './outputs.js';
import { HandlerRunner } from './runner.js';
import { Telemetry } from './telemetry.js';

/** Bound of each wait on a machine that is busy with other tests. */
const WAIT_MS = 20_000;
const clock = systemClock();
const LINK = { source_handler: 4, source_output: 0, target_handler: 5, target_input: 0 };
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

interface Setup extends Pick<ProcessingHandler, 'concurrency'> {
  readonly delivery?: Delivery;
  readonly speed?: number;
  readonly process: ProcessingHandler['process'];
}

/** A handler with one output, and what comes out of it. */
function setup({ delivery = 'all', speed = 1, process, concurrency }: Setup) {
  const manifest: HandlerManifest = {
    handler_type_id: 1,
    handler_type_name: 'test',
    aliases: [],
    description: '',
    inputs: [{ name: 'in', accepts: ['bytes'] }],
    outputs: [{ name: 'out', emits: 'bytes' }],
    params: null,
    cost: { cpu_ms: 0, gpu_ms: 0, mem_mb: 0, out_bytes: 0 },
    host: 'own',
    load: () => Promise.reject(new Error('not loaded here')),
  };
  const handler: ProcessingHandler = { kind: 'processing', concurrency, process, close() {} };
  const telemetry = new Telemetry({ session_id: 1, clock });
  const account = new Account({ sessionId: 1, handlerId: 4, accounted: -1, clock, send() {} });
  const runner = new HandlerRunner({
    ...{ handlerId: 4, manifest, handler, delivery, latencyMsMax: null, speed },
    ...{ clock, logger: silentLogger, telemetry, account },
  });
  const sender = runner.outputs.add(LINK);
  const out: LinkPacket[] = [];
  const dial = memoryDial({ find: () => sender, clock });
  const onPacket = (packet: LinkPacket) => out.push(packet);
  const receiver = new LinkReceiver({
    link: LINK,
    delivery,
    clock,
    logger: silentLogger,
    dial,
    generation: 0,
    settled: null,
    onPacket,
  });
  receiver.start();
  closers.push(
    () => receiver.close(),
    () => runner.close(),
  );
  return { runner, out, receiver, telemetry };
}

const bytes = (text = 'x'): Payload => ({ type: 'bytes', data: Buffer.from(text) });
const data = (sequence: number, deadline = 0): LinkPacket => ({
  kind: 'data',
  sequence,
  timestamp: clock.now(),
  deadline,
  payload: bytes(),
  metadata: { input: 'a.jpg' },
});

test('outputs inherit sequence, times and metadata of input 0', async () => {
  const { runner, out } = setup({ process: () => ({ outputs: [bytes('y')], metadata: { boxes: [] } }) });
  const packet = data(7, 0);
  runner.accept(0, packet, null);
  await vi.waitFor(() => expect(out).toHaveLength(1), WAIT_MS);
  expect(out[0]).toEqual({ ...packet, payload: bytes('y'), metadata: { input: 'a.jpg', boxes: [] } });
});

test.each([
  ['of the wrong type', { outputs: [{ type: 'jpeg', data: Buffer.alloc(1) } as const] }, 'emits bytes, not jpeg'],
  ['that is missing', { outputs: [] }, 'no result for output 0 (out)'],
])('an output %s is an error of the packet', async (_, result, detail) => {
  const { runner, out } = setup({ process: () => result });
  runner.accept(0, data(0), null);
  await vi.waitFor(() => expect(out).toHaveLength(1), WAIT_MS);
  expect(out[0]).toMatchObject({
    kind: 'drop',
    reason: 'error',
    handler_id: 4,
    detail: expect.stringContaining(detail),
  });
});

test('latest: a packet past its deadline is not processed', async () => {
  const process = vi.fn(() => ({ outputs: [bytes()] }));
  const { runner, out } = setup({ delivery: 'latest', process });
  runner.accept(0, data(0, clock.now() - 1), null);
  await vi.waitFor(() => expect(out).toHaveLength(1), WAIT_MS);
  expect(out[0]).toMatchObject({ kind: 'drop', reason: 'late', handler_id: 4 });
  expect(process).not.toHaveBeenCalled();
  expect(runner.stats().dropped).toEqual({ late: 1 });
});

test('emulated speed makes a packet take 1/speed as long, without counting as work', async () => {
  const busyMs = 20;
  const process = () => {
    for (const untilMs = performance.now() + busyMs; performance.now() < untilMs; );
    return { outputs: [bytes()] };
  };
  const { runner, out } = setup({ speed: 0.25, process });
  runner.accept(0, data(0), null);
  await vi.waitFor(() => expect(out).toHaveLength(1), WAIT_MS);
  expect(runner.stats().service_ms_p50).toBeGreaterThanOrEqual((busyMs / 0.25) * 0.95);
  expect(runner.meter.busyMs).toBeLessThan(runner.stats().service_ms_p50! / 2);
});

test('an input is settled only when the output is', async () => {
  const { runner, out, receiver } = setup({ process: () => ({ outputs: [bytes()] }) });
  runner.accept(0, data(0), null);
  runner.accept(0, data(1), null);
  await vi.waitFor(() => expect(out).toHaveLength(2), WAIT_MS);
  expect(runner.settled).toBe(-1);
  receiver.settle(0);
  await vi.waitFor(() => expect(runner.settled).toBe(0), WAIT_MS);
  receiver.settle(1);
  await vi.waitFor(() => expect(runner.settled).toBe(1), WAIT_MS);
});

test('several packets are at work at a time, begin in order and leave in order', async () => {
  const begun: number[] = [];
  const work = Array.from({ length: 5 }, () => deferred<void>());
  const process: ProcessingHandler['process'] = async ([packet]) => {
    begun.push(packet!.sequence);
    await work[packet!.sequence]!.promise;
    if (packet!.sequence === 1) throw new PacketDropped('queue', 'nobody is there');
    return { outputs: [bytes()] };
  };
  const { runner, out } = setup({ concurrency: 3, process });
  for (let sequence = 0; sequence < 4; sequence++) runner.accept(0, data(sequence), null);
  runner.accept(0, { kind: 'end', sequence: 4, timestamp: 0, deadline: 0 }, null);
  await vi.waitFor(() => expect(begun).toEqual([0, 1, 2]), WAIT_MS);
  work[2]!.resolve();
  work[1]!.resolve();
  await new Promise(setImmediate);
  expect([out, runner.idle]).toEqual([[], false]);
  work[0]!.resolve();
  await vi.waitFor(() => expect(out.map(({ sequence }) => sequence)).toEqual([0, 1, 2]), WAIT_MS);
  expect(out[1]).toMatchObject({ kind: 'drop', reason: 'queue', detail: 'nobody is there' });
  await vi.waitFor(() => expect(begun).toEqual([0, 1, 2, 3]), WAIT_MS);
  work[3]!.resolve();
  await vi.waitFor(() => expect(out.map(({ kind }) => kind)).toEqual(['data', 'drop', 'data', 'data', 'end']), WAIT_MS);
  expect(runner.stats()).toMatchObject({ processed: 3, dropped: { queue: 1 } });
});

test('a tap reads what is emitted from now on, and nobody waits for it', async () => {
  const { runner, out, receiver } = setup({ process: () => ({ outputs: [bytes('y')] }) });
  runner.accept(0, data(0), null);
  await vi.waitFor(() => expect(out).toHaveLength(1), WAIT_MS);
  const sender = runner.outputs.tap(0);
  const tapped: LinkPacket[] = [];
  const events = { open() {}, closed() {}, packet: (packet: LinkPacket) => tapped.push(packet) };
  const tap = memoryDial({ find: () => sender, clock })({ after: -1, received: -1, generation: -1 }, events);
  await vi.waitFor(() => expect(sender.connected).toBe(true), WAIT_MS);
  const LAST = 60;
  for (let sequence = 1; sequence <= LAST; sequence++) {
    runner.accept(0, data(sequence), null);
    receiver.settle(sequence - 1);
  }
  await vi.waitFor(() => expect(out).toHaveLength(LAST + 1), WAIT_MS);
  expect(tapped.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 16 }, (_, index) => index + 1));
  receiver.settle(LAST);
  await vi.waitFor(() => expect(runner.settled).toBe(LAST), WAIT_MS);
  tap.ack({ settled: 16, received: 16 });
  await vi.waitFor(() => expect(tapped.at(-1)).toMatchObject({ kind: 'data', sequence: LAST }), WAIT_MS);
  expect(tapped[16]).toMatchObject({ kind: 'drop', reason: 'queue', first: 17 });
  tap.close('enough');
  await vi.waitFor(() => expect(sender.connected).toBe(false), WAIT_MS);
});

test('a handler has a bounded number of taps, and forgets those whose readers have gone', () => {
  const { runner } = setup({ process: () => ({ outputs: [bytes()] }) });
  const open = { transport: 'tcp', writable: () => true, write: () => 1, close() {} } as const;
  const tap = () => {
    const sender = runner.outputs.tap(0);
    sender.attach({ after: -1, received: -1, generation: -1 }, () => open);
    return sender;
  };
  const taps = Array.from({ length: TAPS_MAX }, tap);
  expect(tap).toThrow(expect.objectContaining({ code: 'LINK_BUSY' }));
  taps[0]!.close();
  expect(tap).not.toThrow();
});

test('rows beyond the bound are counted, not kept', () => {
  const telemetry = new Telemetry({ session_id: 1, clock, rowsMax: 2 });
  for (let sequence = 0; sequence < 5; sequence++) telemetry.event(1, sequence, 'sent', 10);
  expect(telemetry.flush([], [])).toMatchObject({
    packet_info: [{ sequence: 0, size: 10 }, { sequence: 1 }],
    lost_rows: 3,
  });
  expect(telemetry.flush([], [])).toBeNull();
});
