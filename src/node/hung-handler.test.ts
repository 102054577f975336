/** Real handler hosts whose handlers hang: the process lives, and packets do not progress. */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { type HandlerType, HandlerTypeRegistry } from '../contracts/handler-type.js';
import type { ObservedHandler } from '../contracts/node.js';
import { handler, share, startAgent, until } from './agent.testing.js';

const ENTRY = fileURLToPath(new URL('../handler-kit/host-entry.testing.mjs', import.meta.url));
const PACKETS = 40;
/** Answers of a busy machine come late, and are counted. */
const BOUNDS = { pingPeriodMs: 50, pingsMissedMax: 20, stallFloorMs: 500, firstPacketMs: 10_000, stallTimes: 20 };
const SLOW = { timeout: 60_000 };

const bytesType = (id: number, name: string, isSource: boolean, isSink: boolean): HandlerType => ({
  ...{ handler_type_id: id, handler_type_name: name, aliases: [], description: name, params: null, host: 'own' },
  inputs: isSource ? [] : [{ name: 'in', accepts: ['bytes'] }],
  outputs: isSink ? [] : [{ name: 'out', emits: 'bytes' }],
  cost: { cpu_ms: 1, gpu_ms: 0, mem_mb: 1, out_bytes: 1 },
});
const TYPES = new HandlerTypeRegistry([
  bytesType(100, 'count', true, false),
  bytesType(101, 'relay', false, false),
  bytesType(102, 'journal', false, true),
]);

/** count 1 -> relay 2 -> journal 3 under `all`. */
async function running(relay: object, { packets = PACKETS, bounds = {} } = {}) {
  const dataDir = await mkdtemp(join(tmpdir(), 'hung-'));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const agent = await startAgent({ types: TYPES, hostEntry: ENTRY, dataDir, bounds: { ...BOUNDS, ...bounds } });
  const handlers = [handler(1, 100, { packets }), handler(2, 101, { ...relay }), handler(3, 102)];
  const links = [1, 2].map((id) => ({
    ...{ source_handler: id, source_output: 0, target_handler: id + 1, target_input: 0 },
    ...{ source_node: 1, target_node: 1 },
  }));
  await agent.client.putSession(share({ handlers, links, delivery: 'all' }));
  const relayOf = async (): Promise<ObservedHandler> => (await agent.client.listSessions())[0]!.handlers[1]!;
  const journal = () => {
    try {
      return readFileSync(join(dataDir, 'outputs', '5', 'h3.txt'), 'utf8')
        .trim()
        .split('\n');
    } catch {
      return [];
    }
  };
  return { relayOf, journal, ended: () => until(() => journal().at(-1) === 'end', 'the end', 40_000) };
}

const whole = [...Array.from({ length: PACKETS }, (_, sequence) => `${sequence} ${sequence}`), 'end'];

test(
  'a handler whose packet never ends is killed and started again, and no packet is lost or doubled',
  SLOW,
  async () => {
    const { relayOf, journal, ended } = await running({ hang_once_at: 7 });
    await ended();
    expect(journal()).toEqual(whole);
    const { restarts, last_exit } = await relayOf();
    expect(restarts).toBe(1);
    expect(last_exit).toMatch(
      /^session 5 handlers 2: handler 2 has not ended packet 7 in \d+\.\d s \(p95 \d+ ms\), killed$/,
    );
  },
);

test('a handler that keeps its event loop busy is killed and started again as well', SLOW, async () => {
  const { relayOf, journal, ended } = await running({ spin_once_at: 7 });
  await ended();
  expect(journal()).toEqual(whole);
  expect(await relayOf()).toMatchObject({ restarts: 1, last_exit: expect.stringContaining('no answer to pings for') });
});

test('one that hangs again has failed here', SLOW, async () => {
  const { relayOf, journal } = await running({ hang_at: 7 });
  const failed = await until(
    async () => {
      const one = await relayOf();
      return one.state === 'failed' ? one : undefined;
    },
    'failed',
    40_000,
  );
  expect(failed.restarts).toBe(1);
  expect(failed.error).toContain('has not ended packet 7');
  expect(journal()).toEqual(whole.slice(0, 7));
});

test('a slow one is left alone', SLOW, async () => {
  const bounds = { stallFloorMs: 100, pingsMissedMax: 100 };
  const { relayOf, ended } = await running({ pause_ms: 400 }, { packets: 6, bounds });
  await ended();
  expect((await relayOf()).restarts).toBe(0);
});
