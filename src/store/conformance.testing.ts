/** What every implementation of the two stores must do; each engine's test file calls these with a way to open one. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OrchestratorError } from '../contracts/errors.js';
import type { NodeFacts } from '../contracts/node.js';
import type { SessionPlan } from '../contracts/plan.js';
import {
  LEDGER_FATES,
  type LedgerFate,
  type LedgerRow,
  PACKET_EVENTS,
  type ProfileSample,
  type Report,
  type SinkFate,
} from '../contracts/report.js';
import type { StoredSession } from '../contracts/session.js';
import type { LedgerAccounts } from './ledger-accounts.js';
import { packetEvents, reportRows } from './report-rows.js';
import {
  type PacketsQuery,
  type ReportInput,
  STATE_RETENTION,
  type StateStore,
  type StoredReport,
  TELEMETRY_RETENTION,
  TELEMETRY_TABLES,
  type TelemetryStore,
} from './store.js';

/** When the rows of these suites are, s since the epoch. */
export const T0 = 1_700_000_000;

export function stateStoreConformance(open: () => Promise<StateStore>): void {
  describe('StateStore', () => {
    let store: StateStore;
    beforeEach(async () => {
      store = await open();
    });
    afterEach(() => store.close());

    it('hands out growing epochs', async () => {
      expect([await store.nextEpoch(), await store.nextEpoch(), await store.nextEpoch()]).toEqual([1, 2, 3]);
    });

    it('stores no session in the name of an epoch that another one has followed', async () => {
      store.fence(await store.nextEpoch());
      await store.saveSession(storedSession(1));
      const other = await store.nextEpoch();
      const refused = { code: 'NOT_LEADER', context: { epoch_newest: other } };
      await expect(store.saveSession(storedSession(2))).rejects.toMatchObject(refused);
      await expect(store.deleteSession(1)).rejects.toMatchObject(refused);
      expect((await store.sessions()).map(({ session_id }) => session_id)).toEqual([1]);
      store.fence(other);
      expect(await store.deleteSession(1)).toBe(true);
    });

    it('hands out session ids that no session has or had', async () => {
      expect(await store.nextSessionId()).toBe(1);
      await store.saveSession(storedSession(7));
      await store.deleteSession(7);
      expect(await store.nextSessionId()).toBe(8);
      await store.saveSession(storedSession(3));
      expect(await store.nextSessionId()).toBe(9);
    });

    it('stores, replaces and deletes a session with its placements', async () => {
      const session = storedSession(2, { placedOn: [1, 2] });
      await store.saveSession(session);
      await store.saveSession(storedSession(1));
      expect(await store.session(2)).toEqual(session);
      expect(await store.session(5)).toBeNull();
      expect((await store.sessions()).map(({ session_id }) => session_id)).toEqual([1, 2]);
      expect((await store.placements(2)).map(({ node_id }) => node_id)).toEqual([1, 2]);

      const moved = { ...storedSession(2, { placedOn: [3] }), generation: 2, desired: 'stopped' as const };
      const ended = { ...moved, ended: { at: T0, state: 'failed' as const, reason: 'no camera' } };
      await store.saveSession(ended);
      expect(await store.session(2)).toEqual(ended);
      expect(await store.placements(2)).toEqual([
        {
          ...{ session_id: 2, generation: 2, handler_id: 0, handler_name: 'handler0', handler_type: 7 },
          ...{ node_id: 3, alternative: 'small' },
        },
      ]);
      expect([await store.deleteSession(2), await store.deleteSession(2)]).toEqual([true, false]);
      expect((await store.placements()).map(({ session_id }) => session_id)).toEqual([1]);
    });

    it('hands out copies', async () => {
      const session = storedSession(1);
      await store.saveSession(session);
      session.plan.reasons.push('changed later');
      (await store.session(1))!.desired = 'stopped';
      expect(await store.session(1)).toMatchObject({ desired: 'running', plan: { reasons: [] } });
    });

    it('remembers the nodes it has seen', async () => {
      const facts = { hostname: 'edge', cpu_cores: 4, labels: ['gpu'] } as Partial<NodeFacts> as NodeFacts;
      await store.saveNodeSeen({ node_id: 2, node_name: 'edge', last_seen: T0, facts: null });
      await store.saveNodeSeen({ node_id: 1, node_name: 'cloud', last_seen: T0, facts: null });
      await store.saveNodeSeen({ node_id: 2, node_name: 'edge', last_seen: T0 + 0.5, facts });
      expect(await store.nodesSeen()).toEqual([
        { node_id: 1, node_name: 'cloud', last_seen: T0, facts: null },
        { node_id: 2, node_name: 'edge', last_seen: T0 + 0.5, facts },
      ]);
    });

    it('remembers which nodes are drained until they are not, in the name of the newest epoch only', async () => {
      store.fence(await store.nextEpoch());
      await store.saveDrained(2, T0);
      await store.saveDrained(1, T0 + 0.5);
      await store.saveDrained(2, T0 + 1);
      expect(await store.drained()).toEqual([
        { node_id: 1, since: T0 + 0.5 },
        { node_id: 2, since: T0 + 1 },
      ]);
      await store.saveDrained(1, null);
      await store.saveDrained(3, null);
      expect(await store.drained()).toEqual([{ node_id: 2, since: T0 + 1 }]);
      await store.nextEpoch();
      await expect(store.saveDrained(2, null)).rejects.toMatchObject({ code: 'NOT_LEADER' });
      expect(await store.drained()).toEqual([{ node_id: 2, since: T0 + 1 }]);
    });

    it('keeps events in order and finds them by time, node and session', async () => {
      const event = (at: number, place: object) => ({ timestamp: T0 + at, kind: 'k', message: `at ${at}`, ...place });
      const events = [
        event(1, { node_id: 1 }),
        event(2, { session_id: 4 }),
        event(3, { session_id: 4, handler_id: 0 }),
      ];
      await store.appendEvents(events);
      expect(await store.events()).toEqual(events);
      expect(await store.events({ limit: 1 })).toEqual([events[2]]);
      expect(await store.events({ since: T0 + 2 })).toEqual([events[1], events[2]]);
      expect(await store.events({ session_id: 4, since: T0 + 3 })).toEqual([events[2]]);
      expect(await store.events({ node_id: 1 })).toEqual([events[0]]);
    });

    it('deletes ended sessions and events over their bounds, and nothing else', async () => {
      const ended = (at: number) => ({ at, state: 'stopped' as const, reason: 'stopped' });
      await store.saveSession({ ...storedSession(1), ended: ended(T0) });
      await store.saveSession({ ...storedSession(2), ended: ended(T0 + 90) });
      await store.saveSession(storedSession(3));
      await store.appendEvents([0, 60, 70, 80].map((at) => ({ timestamp: T0 + at, kind: 'k', message: String(at) })));
      const retention = { ...STATE_RETENTION, endedSessionsS: 50, eventsS: 50, eventRowsMax: 2 };
      expect(await store.prune(T0 + 100, retention)).toBe(3);
      expect((await store.sessions()).map(({ session_id }) => session_id)).toEqual([2, 3]);
      expect((await store.events()).map(({ message }) => message)).toEqual(['70', '80']);
    });
  });
}

export function telemetryStoreConformance(open: () => Promise<TelemetryStore>): void {
  describe('TelemetryStore', () => {
    let store: TelemetryStore;
    beforeEach(async () => {
      store = await open();
    });
    afterEach(() => store.close());

    const put = async (report: Report, nodeId = 1, receivedAt = T0): Promise<StoredReport> => {
      const [outcome] = await store.storeReports([reportInput(report, nodeId, receivedAt)]);
      if (outcome instanceof Error) throw outcome;
      return outcome!;
    };
    const all = (table: keyof typeof TELEMETRY_TABLES) => store.recent(table, { limit: 100_000 });

    it('shows exactly the columns of each table, in order', async () => {
      await put(fullReport());
      for (const [table, columns] of Object.entries(TELEMETRY_TABLES)) {
        const [row] = await all(table as keyof typeof TELEMETRY_TABLES);
        expect(Object.keys(row!), table).toEqual(columns);
      }
    });

    it('takes a probe between nodes, which has no session and no handlers', async () => {
      const [row] = fullReport().link_info!;
      const probe = { ...row!, session_id: null, source_handler: null, target_handler: null, packets: 0, rtt_ms: 40.2 };
      await put({ link_info: [probe] });
      expect(await store.recent('link_info', { limit: 1 })).toEqual([probe]);
    });

    it('puts the first GPU into the reference’s tables and every GPU into gpu_info', async () => {
      expect(await put(fullReport(), 3)).toEqual({ stored: true, rows: 9 });
      const cpu = { timestamp: T0, cpu_util: 12.5, mem_util: 40 };
      const gpu = { gpu_util: 80, gpu_mem_util: 30, gpu_clock: 1500, gpu_power: 70 };
      expect(await all('sys_info')).toEqual([{ ...cpu, node_id: 3, mem_total: 16000, ...gpu }]);
      const handler = { session_id: 1, handler_id: 2 };
      expect(await all('proc_info')).toEqual([{ ...cpu, ...handler, gpu_util: 55, gpu_mem_util: null }]);
      const none = { gpu_util: null, gpu_mem_util: null, gpu_clock: null, gpu_power: null };
      const place = { timestamp: T0, node_id: 3, session_id: null, handler_id: null };
      expect(await all('gpu_info')).toEqual([
        { ...place, gpu_id: 0, ...gpu },
        { ...place, gpu_id: 1, ...none },
        { ...place, ...handler, gpu_id: 0, ...none, gpu_util: 55 },
      ]);
    });

    it('stores NULL for what was not measured', async () => {
      await put({ sys_info: [{ timestamp: T0, gpu_info: null }], proc_info: [{ timestamp: T0, ...packetPlace(0) }] });
      const [sys] = await all('sys_info');
      expect(sys).toMatchObject({ cpu_util: null, mem_total: null, gpu_util: null, gpu_power: null });
      expect(await all('gpu_info')).toEqual([]);
    });

    it('keeps events of one packet on one tick apart', async () => {
      const row = { timestamp: T0, ...packetPlace(1), sequence: 5 };
      await put({
        packet_info: [
          { ...row, event: 'end' },
          { ...row, event: 'end' },
          { ...row, event: 'sent', size: 77 },
        ],
      });
      expect((await all('packet_info')).map(({ event, size }) => [event, size])).toEqual([
        ['end', null],
        ['end', null],
        ['sent', 77],
      ]);
    });

    it('stores a report that is sent again once, per node', async () => {
      const report = { report_id: 'a', sys_info: [{ timestamp: T0 }] };
      expect(await put(report, 1)).toEqual({ stored: true, rows: 1 });
      expect(await put(report, 1)).toEqual({ stored: false, rows: 0 });
      expect(await put(report, 2)).toEqual({ stored: true, rows: 1 });
      const nameless = { sys_info: report.sys_info };
      await put(nameless);
      await put(nameless);
      expect(await all('sys_info')).toHaveLength(4);
    });

    it('stores a batch of reports, and only those that are new and fit', async () => {
      await put({ report_id: 'old', sys_info: [{ timestamp: T0 }] });
      const sys = (at: number) => [{ timestamp: T0 + at }];
      const bad = { ...fullReport(), report_id: 'bad' };
      const profile = [profileSample(), { ...profileSample(), service_ms: null as unknown as number }];
      const batch = [
        { report_id: 'a', sys_info: sys(1) },
        { report_id: 'old', sys_info: sys(2) },
        { ...bad, sys_info: sys(3), profile },
        { report_id: 'b', sys_info: sys(4) },
        { report_id: 'a', sys_info: sys(5) },
        { sys_info: sys(6) },
      ];
      const outcomes = await store.storeReports(batch.map((report) => reportInput(report, 1, T0)));
      expect(outcomes.map((one) => (one instanceof OrchestratorError ? one.code : [one.stored, one.rows]))).toEqual([
        ...[[true, 1], [false, 0], 'REPORT_INVALID', [true, 1], [false, 0], [true, 1]],
      ]);
      expect((await all('sys_info')).map(({ timestamp }) => Number(timestamp) - T0)).toEqual([0, 1, 4, 6]);
      expect(await all('packet_info')).toEqual([]);
      expect(await put({ report_id: 'bad' })).toEqual({ stored: true, rows: 0 });
      expect(await store.storeReports([])).toEqual([]);
    });

    it('keeps every figure as it was given', async () => {
      const times = [0, 1e11, T0 + 0.1, T0 + 2 ** -22, 1764077707.1234567];
      await put({
        packet_info: times.map((timestamp) => ({
          ...{ timestamp, session_id: 2 ** 31 - 1, handler_id: 0, sequence: Number.MAX_SAFE_INTEGER },
          ...{ event: 'sent' as const, size: Number.MAX_SAFE_INTEGER },
        })),
        profile: [
          { ...profileSample(), profile_key: `it's "é" \\ %_ \n;--`, service_ms: 1 / 3 },
          { ...profileSample(), timestamp: T0 + 1, threads: 2 },
        ],
      });
      const packets = await all('packet_info');
      expect(packets.map(({ timestamp }) => timestamp)).toEqual([...times].sort((a, b) => a - b));
      const huge = Number.MAX_SAFE_INTEGER;
      expect(packets[0]).toMatchObject({ session_id: 2 ** 31 - 1, sequence: huge, size: huge });
      expect(await all('profile')).toMatchObject([
        { profile_key: `it's "é" \\ %_ \n;--`, service_ms: 1 / 3, threads: null },
        { threads: 2 },
      ]);
    });

    it('tells keys apart that differ in case, accent or a final space', async () => {
      const keys = ['a', 'A', 'á', 'a '];
      await put({ profile: keys.map((profile_key) => ({ ...profileSample(), profile_key })) });
      expect((await store.profiles(0)).map(({ key }) => key)).toEqual(['A', 'a', 'a ', 'á']);
      for (const report_id of keys) expect((await put({ report_id })).stored).toBe(true);
      expect((await put({ report_id: 'á' })).stored).toBe(false);
    });

    it('averages profiles by packets, per type, key and node', async () => {
      const slow = { ...profileSample(), packets: 30, service_ms: 20, cpu_ms: 10, out_bytes: 300 };
      const fast = { ...profileSample(), packets: 10, service_ms: 40, cpu_ms: 20, out_bytes: 100, timestamp: T0 + 10 };
      await put({ profile: [slow, fast, { ...slow, profile_key: 'model=b' }, { ...slow, timestamp: T0 - 100 }] }, 1);
      await put({ profile: [{ ...slow, handler_type: 5 }] }, 2);
      const expected = { handler_type: 7, key: 'model=a', node_id: 1, samples: 40, service_ms: 25, cpu_ms: 12.5 };
      expect(await store.profiles(T0)).toEqual([
        { handler_type: 5, key: 'model=a', node_id: 2, samples: 30, service_ms: 20, cpu_ms: 10, out_bytes: 300 },
        { ...expected, out_bytes: 250 },
        { ...expected, key: 'model=b', samples: 30, service_ms: 20, cpu_ms: 10, out_bytes: 300 },
      ]);
      expect(await store.profiles(T0 + 11)).toEqual([]);
      const huge = { packets: 2 ** 31 - 1, service_ms: 1e12, cpu_ms: 1e12, out_bytes: 1e12, timestamp: T0 + 20 };
      await put({ profile: [1, 2, 3].map(() => ({ ...slow, ...huge })) });
      expect(await store.profiles(T0 + 11)).toMatchObject([{ samples: 3 * huge.packets, service_ms: 1e12 }]);
    });

    it('counts every sequence of a session once, over all its rows or those of a window', async () => {
      const row = (handler_id: number, fate: LedgerFate, first: number, last: number, at: number, more = {}) => ({
        ...{ ...ledgerRow(fate, first, last), handler_id, timestamp: T0 + at, at_handler: null, ...more },
      });
      await put({ ledger: [row(0, 'emitted', 0, 99, 1), row(5, 'delivered', 0, 39, 1), row(5, 'queue', 40, 49, 2)] });
      await put({ ledger: [row(5, 'delivered', 0, 9, 1, { session_id: 2 }), row(0, 'emitted', 0, 200, -50)] });
      const later = { incarnation: 1000 * T0 + 9 };
      const mixed = { ...later, at_handler: 2, packets: 3 };
      const late = [row(5, 'late', 70, 79, 5, mixed), row(5, 'delivered', 70, 79, 5, { ...later, packets: 7 })];
      await put({ ledger: [row(5, 'delivered', 45, 59, 4, later), row(5, 'settled', 0, 64, 3, later), ...late] }, 2);
      await put({ ledger: [row(4, 'skipped', 3, 4, 6)] }, 2);
      const sources = [{ handler_id: 0, first: 0, next: 100 }];
      const count = (fate: SinkFate, packets: number, at_handler: number | null = null) => ({
        fate,
        at_handler,
        packets,
      });
      const other = { handler_id: 4, first: 0, next: 5, fates: [count('skipped', 2)], settled: 0, unreported: 3 };
      const whole = { handler_id: 5, first: 0, next: 80, settled: 5, unreported: 5 };
      const query = { session_id: 1, from: T0 };
      const byFate = (accounts: LedgerAccounts) => ({
        ...accounts,
        sinks: accounts.sinks.map((sink) => ({
          ...sink,
          fates: sink.fates.toSorted((a, b) => (a.fate < b.fate ? -1 : 1)),
        })),
      });
      expect(byFate(await store.ledger(query))).toEqual({
        sources,
        sinks: [other, { ...whole, fates: [count('delivered', 57), count('late', 3, 2), count('queue', 10)] }],
      });
      expect(byFate(await store.ledger({ ...query, since: T0 + 4 }))).toEqual({
        sources,
        sinks: [other, { ...whole, first: 65, settled: 0, fates: [count('delivered', 7), count('late', 3, 2)] }],
      });
      expect(await store.ledger({ session_id: 9 })).toEqual({ sources: [], sinks: [] });
    });

    it('finds the events of the newest packets of a session', async () => {
      const row = (handler_id: number, sequence: number, at: number, more = {}) => ({
        ...{ timestamp: T0 + at, session_id: 1, handler_id, sequence, event: 'end' as const, ...more },
      });
      const sequences = Array.from({ length: 10 }, (_, sequence) => sequence);
      await put({
        packet_info: [
          ...sequences.flatMap((sequence) => [row(1, sequence, sequence), row(2, sequence, sequence + 0.5)]),
          ...[row(1, 10, 10, { event: 'sent', size: 77 }), row(3, 4, 4), row(1, 8, 8, { session_id: 2 })],
          ...[row(1, 8, -50)],
        ],
      });
      const found = async (query: Partial<PacketsQuery>) => {
        const all = { session_id: 1, from: T0, handlers: [1, 2], sinks: [2], sequencesMax: 100, ...query };
        const { packets, truncated } = await store.packets(all);
        const events = [...packetEvents(packets)].map(({ handler_id, sequence }) => `${sequence}.${handler_id}`);
        return { events: events.sort((a, b) => Number(a) - Number(b)), truncated };
      };
      const from = (first: number) => [...sequences.slice(first).flatMap((at) => [`${at}.1`, `${at}.2`]), '10.1'];
      expect(await found({})).toEqual({ events: from(0), truncated: false });
      expect(await found({ sequencesMax: 3 })).toEqual({ events: from(8), truncated: false });
      expect(await found({ since: T0 + 7 })).toEqual({ events: from(7), truncated: false });
      expect(await found({ since: T0 + 7, sequencesMax: 2 })).toEqual({ events: from(9), truncated: true });
      expect(await found({ since: T0 + 50 })).toEqual({ events: [], truncated: false });
      expect(await found({ session_id: 9 })).toEqual({ events: [], truncated: false });
      const { packets } = await store.packets({ session_id: 1, handlers: [1], sinks: [], sequencesMax: 1 });
      expect([...packetEvents(packets)]).toEqual([row(1, 10, 10, { event: 'sent', size: 77 })]);
    });

    it('returns the newest rows, oldest first', async () => {
      await put({ sys_info: [30, 10, 20].map((at) => ({ timestamp: T0 + at })) });
      const times = async (query: { since?: number; limit: number }) =>
        (await store.recent('sys_info', query)).map(({ timestamp }) => Number(timestamp) - T0);
      expect(await times({ limit: 10 })).toEqual([10, 20, 30]);
      expect(await times({ limit: 2 })).toEqual([20, 30]);
      expect(await times({ limit: 10, since: T0 + 25 })).toEqual([30]);
    });

    it('deletes old rows, rows over the bound, and old report ids', async () => {
      await put({ report_id: 'old', sys_info: [0, 80, 90, 95].map((at) => ({ timestamp: T0 + at })) }, 1, T0);
      await put({ report_id: 'new', link_info: fullReport().link_info! }, 1, T0 + 90);
      const retention = { ...TELEMETRY_RETENTION, rowsS: 50, tableRowsMax: 2, reportIdsS: 50, reportIdsMax: 10 };
      // sys_info 0 by age and 80 by number, the link_info row and the id `old` by age.
      expect(await store.prune(T0 + 100, retention)).toBe(4);
      expect((await all('sys_info')).map(({ timestamp }) => Number(timestamp) - T0)).toEqual([90, 95]);
      expect((await put({ report_id: 'old' })).stored).toBe(true);
      expect((await put({ report_id: 'new' })).stored).toBe(false);
      expect(await store.prune(T0 + 100, { ...TELEMETRY_RETENTION, reportIdsMax: 1 })).toBe(1);
    });

    it('stores every row of any valid report', async () => {
      await fc.assert(
        fc.asyncProperty(arbitraryReport, async (report) => {
          const before = await Promise.all(REPORT_TABLES.map(async (table) => (await all(table)).length));
          const { rows } = await put(report);
          const after = await Promise.all(REPORT_TABLES.map(async (table) => (await all(table)).length));
          const grown = REPORT_TABLES.map((_, i) => after[i]! - before[i]!);
          const gpus = [...(report.sys_info ?? []), ...(report.proc_info ?? [])].map(
            (row) => row.gpu_info?.length ?? 0,
          );
          expect(grown).toEqual(REPORT_TABLES.map((table) => report[table]?.length ?? 0));
          expect(rows).toBe([...grown, ...gpus].reduce((a, b) => a + b, 0));
        }),
        { numRuns: 25 },
      );
    });
  });
}

/** A report as the collector hands it to a store. */
export function reportInput(report: Report, nodeId: number, receivedAt: number): ReportInput {
  return { nodeId, reportId: report.report_id ?? null, receivedAt, rows: reportRows(nodeId, report) };
}

const REPORT_TABLES = ['sys_info', 'proc_info', 'packet_info', 'profile', 'link_info', 'ledger'] as const;

export const packetPlace = (session_id: number) => ({ session_id, handler_id: 2 });

export function profileSample(): ProfileSample {
  return {
    ...{ timestamp: T0, session_id: 1, handler_id: 2, handler_type: 7, profile_key: 'model=a', packets: 1 },
    ...{ service_ms: 1, service_ms_p95: 2, queue_ms: 0, cpu_ms: 1, out_bytes: 1 },
  };
}

/** Of handler 5 of session 1. */
export function ledgerRow(fate: LedgerFate, first_sequence: number, last_sequence: number): LedgerRow {
  const place = { timestamp: T0, session_id: 1, handler_id: 5, incarnation: 1000 * T0, at_handler: 2 };
  return { ...place, fate, first_sequence, last_sequence, packets: last_sequence - first_sequence + 1 };
}

/** One row of each kind, two GPUs. */
export function fullReport(): Report {
  const gpu = { gpu_id: 0, gpu_util: 80, gpu_mem_util: 30, gpu_clock: 1500, gpu_power: 70 };
  const measured = { timestamp: T0, cpu_util: 12.5, mem_util: 40 };
  return {
    sys_info: [{ ...measured, mem_total: 16000, gpu_info: [gpu, { gpu_id: 1 }] }],
    proc_info: [{ ...measured, ...packetPlace(1), gpu_info: [{ gpu_id: 0, gpu_util: 55 }] }],
    packet_info: [{ timestamp: T0, ...packetPlace(1), sequence: 9, event: 'recv', size: 1234 }],
    profile: [profileSample()],
    link_info: [
      {
        ...{ timestamp: T0, session_id: 1, source_handler: 1, target_handler: 2, source_node: 0, target_node: 3 },
        ...{ packets: 5, bytes: 6000, latency_ms: null, rtt_ms: 1.5, mbit_per_s: null },
      },
    ],
    ledger: [ledgerRow('queue', 3, 7)],
  };
}

const arbitraryId = fc.oneof(fc.nat(), fc.constant(2 ** 31 - 1));
const arbitraryCount = fc.oneof(fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER));
const arbitraryUtil = fc.option(fc.double({ min: 0, max: 2 ** 31 - 1, noNaN: true }), { nil: null });
const arbitraryTime = fc.double({ min: 0, max: 1e11, noNaN: true });
const arbitraryGpus = fc.option(
  fc.array(fc.record({ gpu_id: arbitraryId, gpu_util: arbitraryUtil }, { requiredKeys: ['gpu_id'] }), { maxLength: 3 }),
  { nil: null },
);
const arbitraryMeasured = { timestamp: arbitraryTime, cpu_util: arbitraryUtil, gpu_info: arbitraryGpus };

/** Any report that ReportSchema accepts, without report_id. */
export const arbitraryReport: fc.Arbitrary<Report> = fc.record(
  {
    sys_info: fc.array(fc.record({ ...arbitraryMeasured, mem_total: arbitraryUtil }, { requiredKeys: ['timestamp'] })),
    proc_info: fc.array(
      fc.record(
        { ...arbitraryMeasured, session_id: arbitraryId, handler_id: arbitraryId },
        { requiredKeys: ['timestamp', 'session_id', 'handler_id'] },
      ),
    ),
    packet_info: fc.array(
      fc.record(
        {
          ...{ timestamp: arbitraryTime, session_id: arbitraryId, handler_id: arbitraryId, sequence: arbitraryCount },
          ...{ event: fc.constantFrom(...PACKET_EVENTS), size: fc.option(arbitraryCount, { nil: null }) },
        },
        { requiredKeys: ['timestamp', 'session_id', 'handler_id', 'sequence', 'event'] },
      ),
      { maxLength: 600, size: 'max' },
    ),
    profile: fc.array(fc.string({ maxLength: 256 }).map((key) => ({ ...profileSample(), profile_key: key }))),
    link_info: fc.array(fc.nat().map((bytes) => ({ ...fullReport().link_info![0]!, bytes }))),
    ledger: fc.array(
      fc
        .tuple(fc.constantFrom(...LEDGER_FATES), arbitraryCount, arbitraryCount)
        .map(([fate, a, b]) => ({ ...ledgerRow(fate, Math.min(a, b), Math.max(a, b)), packets: 1 })),
    ),
  },
  { requiredKeys: [] },
);

function storedSession(sessionId: number, { placedOn = [1] }: { placedOn?: number[] } = {}): StoredSession {
  const handlers = placedOn.map((node_id, handler_id) => ({
    ...{ handler_id, handler_name: `handler${handler_id}`, handler_type: 7, node_id, node_name: `n${node_id}` },
    ...{ alternative: 'small', params: { thresh: 0.5 }, post: false, compute_ms: 1, queue_ms: 0, cpu_ms_per_s: 10 },
    ...{ gpu_ms_per_s: 0, mem_mb: 10, profile: 'declared' as const, candidates: [] },
  }));
  const plan: SessionPlan = {
    ...{ service_name: 'detect', variant: 'small', accuracy: 0.9, latency_ms: 12.5, fps: 10, source_node: 0 },
    ...{ handlers, links: [], reasons: [], exact: true },
  };
  return {
    ...{ session_id: sessionId, request: { service: 'detect', start: true, dry_run: false }, desired: 'running' },
    ...{ generation: 1, plan, created_at: T0 + 0.25, ended: null },
  };
}
