import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LedgerRow } from '../contracts/report.js';
import { reportInput } from '../store/conformance.testing.js';
import { MemoryTelemetryStore } from '../store/memory/memory-telemetry-store.js';
import { startTestCluster, type TestCluster } from './cluster.testing.js';

const telemetry = new MemoryTelemetryStore();
let cluster: TestCluster;
let session: number;

beforeAll(async () => {
  cluster = await startTestCluster({ coordinator: { telemetry } });
  const { session_id } = await cluster.client.createSession({ service: 'faces', source_node: 0 });
  session = session_id!;
});
afterAll(() => cluster.close());

const row = (handler_id: number, fate: LedgerRow['fate'], first: number, last: number, more = {}): LedgerRow => ({
  ...{ timestamp: Date.now() / 1000, session_id: session, handler_id, incarnation: 1, fate, at_handler: null },
  ...{ first_sequence: first, last_sequence: last, packets: last - first + 1 },
  ...more,
});
const report = (...ledger: LedgerRow[]) => telemetry.storeReports([reportInput({ ledger }, 0, 1)]);

const DRAWN = { handler_id: 4, handler_name: 'render', first_sequence: 0 };

test('a session sums at any time: before the first report, on the way, over a window, after its end', async () => {
  const loss = async (query = {}) => (await cluster.client.loss(session, query)).sinks;
  const nothing = { ...DRAWN, next_sequence: 0, sent: 0, delivered: 0, delivered_by_settlement: 0 };
  expect(await loss()).toEqual([{ ...nothing, skipped: 0, drops: [], in_flight: 0 }]);

  await report(row(1, 'emitted', 0, 9));
  expect(await loss()).toEqual([{ ...nothing, next_sequence: 10, sent: 10, skipped: 0, drops: [], in_flight: 10 }]);

  const before = { timestamp: Date.now() / 1000 - 5 };
  await report(row(4, 'delivered', 0, 4, before), row(4, 'late', 5, 5, { at_handler: 2 }), row(4, 'skipped', 6, 6));
  await report(row(4, 'delivered', 8, 11, { incarnation: 2 }));
  const drops = [
    { reason: 'late', handler_id: 2, handler_name: 'detect', packets: 1 },
    { reason: 'failover', handler_id: null, handler_name: null, packets: 1 },
  ];
  const decided = { ...DRAWN, next_sequence: 12, delivered_by_settlement: 0, skipped: 1, drops, in_flight: 0 };
  expect(await loss()).toEqual([{ ...decided, sent: 12, delivered: 9 }]);
  expect(await loss({ last: 3 })).toEqual([{ ...decided, first_sequence: 5, sent: 7, delivered: 4 }]);

  await report(row(1, 'emitted', 10, 14));
  await cluster.client.stopSession(session);
  await cluster.awaitState(session, 'stopped');
  const ended = await cluster.client.loss(session);
  expect(ended).toMatchObject({ ended: true, since: null, sinks: [{ sent: 15, delivered: 9, in_flight: 3 }] });
});

test('an unknown session, a window that is none, and a coordinator without a database are said', async () => {
  await expect(cluster.client.loss(99)).rejects.toMatchObject({ code: 'SESSION_NOT_FOUND' });
  await expect(cluster.client.loss(session, { last: 0 })).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  await cluster.restart({ telemetry: null });
  await expect(cluster.client.loss(session)).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
});
