/** What every TelemetryStore that knows SQL must do besides: aggregates by the minute and the hour, and series of both. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Report } from '../contracts/report.js';
import type { SeriesQuery } from '../contracts/series.js';
import { fullReport, ledgerRow, packetPlace, profileSample, reportInput, T0 } from './conformance.testing.js';
import { TELEMETRY_RETENTION, type TelemetryStore } from './store.js';

export function rollupConformance(open: () => Promise<TelemetryStore>): void {
  describe('aggregates and series', () => {
    let store: TelemetryStore;
    beforeEach(async () => {
      store = await open();
    });
    afterEach(() => store.close());

    const HOUR = Math.ceil(T0 / 3600) * 3600;
    const put = (report: Report, nodeId = 1) => store.storeReports([reportInput(report, nodeId, T0)]);
    const keep = { ...TELEMETRY_RETENTION, rowsS: 1e9 };
    const cpu = (at: number, cpu_util: number | null) => ({ timestamp: HOUR + at, cpu_util });
    const points = async (query: Partial<SeriesQuery> = {}) => {
      const all = { table: 'sys_info', column: 'cpu_util', from: HOUR, to: HOUR + 7200, step: 60, ...query };
      const { lines } = await store.series(all, HOUR);
      return lines.map(({ key, points }) => [
        Object.values(key).join(),
        ...points.map(([time, value]) => [time - HOUR, value]),
      ]);
    };

    it('are the same before rows are in the aggregates, half-way, after it, and once the rows are gone', async () => {
      await put({ sys_info: [cpu(0, 10), cpu(59.9, 20), cpu(60, 30), cpu(61, null), cpu(3600, 7), cpu(130, null)] });
      await put({ sys_info: [cpu(5, 50)] }, 2);
      await store.prune(HOUR, keep);
      await put({ sys_info: [cpu(1, 60), cpu(3601, 9)] });
      const byMinute = [
        ['1', [0, 30], [60, 30], [3600, 8]],
        ['2', [0, 50]],
      ];
      const byHour = [
        ['1', [0, 30], [3600, 8]],
        ['2', [0, 50]],
      ];
      for (const retention of [null, keep, { ...keep, rowsS: -7200 }]) {
        if (retention !== null) await store.prune(HOUR, retention);
        expect(await points()).toEqual(byMinute);
        expect(await points({ step: 3600 })).toEqual(byHour);
        expect(await points({ node_id: 2 })).toEqual(byMinute.slice(1));
        expect(await points({ column: 'cpu_util_max', node_id: 1, to: HOUR + 60 })).toEqual([['1', [0, 60]]]);
      }
      expect(await store.recent('sys_info', { limit: 10 })).toEqual([]);
      // Rows that come late, and after the numbers of the deleted ones were given again.
      await put({ sys_info: [cpu(2, 30), cpu(59, 30)] });
      expect((await points({ node_id: 1 }))[0]!.slice(0, 2)).toEqual(['1', [0, 30]]);
      await store.prune(HOUR, keep);
      expect((await points({ column: 'cpu_util_samples', node_id: 1 }))[0]!.slice(0, 2)).toEqual(['1', [0, 5]]);
      expect(await store.prune(HOUR, { ...keep, minutesS: -7200, hoursS: -3600 })).toBe(7);
      expect(await points()).toEqual([]);
      expect(await points({ step: 3600 })).toEqual([['1', [3600, 8]]]);
    });

    it('weigh what is a mean of packets by them, count events and bytes, and keep the worst', async () => {
      const at = { timestamp: HOUR };
      const profile = { ...profileSample(), ...at };
      await put({
        profile: [{ ...profile, packets: 3, service_ms: 10, service_ms_p95: 11 }],
        packet_info: [1, 2, 3].map((sequence) => ({
          ...at,
          ...packetPlace(1),
          sequence,
          event: 'end',
          size: sequence,
        })),
        ledger: [
          { ...ledgerRow('queue', 3, 7), ...at },
          { ...ledgerRow('delivered', 0, 2), ...at, at_handler: null },
        ],
        link_info: [{ ...fullReport().link_info![0]!, ...at }],
      });
      await store.prune(HOUR, keep);
      await put({
        profile: [{ ...profile, packets: 1, service_ms: 50, service_ms_p95: 80 }],
        packet_info: [{ ...at, ...packetPlace(1), sequence: 1, event: 'start' }],
        link_info: [{ ...fullReport().link_info![0]!, ...at, rtt_ms: 0.5, latency_ms: 4 }],
      });
      await store.prune(HOUR, keep);
      const one = async (table: string, column: string) => (await points({ table, column })).map((line) => line[1]![1]);
      expect(await one('profile', 'service_ms')).toEqual([20]);
      expect(await one('profile', 'service_ms_p95')).toEqual([80]);
      expect(await one('packet_info', 'packets')).toEqual([3, 1]);
      expect(await one('packet_info', 'bytes')).toEqual([6, 0]);
      expect(await one('ledger', 'packets')).toEqual([3, 5]);
      expect([await one('link_info', 'rtt_ms'), await one('link_info', 'latency_ms')]).toEqual([[0.5], [4]]);
    });

    it('are what the rows themselves give, however these were reported and whenever they were deleted', async () => {
      let nodeId = 0;
      const row = fc.record({ at: fc.nat(299), util: fc.option(fc.integer({ min: 0, max: 100 }), { nil: null }) });
      const report = fc.record({
        rows: fc.array(row, { maxLength: 20 }),
        keepsRows: fc.option(fc.boolean(), { nil: null }),
      });
      const property = async (
        reports: readonly { rows: { at: number; util: number | null }[]; keepsRows: boolean | null }[],
      ) => {
        nodeId += 1;
        for (const { rows, keepsRows } of reports) {
          await put({ sys_info: rows.map(({ at, util }) => cpu(at, util)) }, nodeId);
          if (keepsRows !== null) await store.prune(HOUR, keepsRows ? keep : { ...keep, rowsS: -7200 });
        }
        const byMinute = new Map<number, number[]>();
        for (const { at, util } of reports.flatMap(({ rows }) => rows)) {
          const minute = Math.floor(at / 60) * 60;
          byMinute.set(minute, [...(byMinute.get(minute) ?? []), ...(util === null ? [] : [util])]);
        }
        const expected = [...byMinute].filter(([, utils]) => utils.length > 0).sort(([a], [b]) => a - b);
        const [line = []] = await points({ node_id: nodeId });
        const found = line.slice(1) as [number, number][];
        expect(found.map(([time]) => time)).toEqual(expected.map(([minute]) => minute));
        for (const [index, [, utils]] of expected.entries()) {
          expect(found[index]![1]).toBeCloseTo(utils.reduce((sum, util) => sum + util, 0) / utils.length, 9);
        }
      };
      await fc.assert(fc.asyncProperty(fc.array(report, { maxLength: 4 }), property), {
        numRuns: 15,
        endOnFailure: true,
      });
    });

    it('lose and double nothing while reports are stored and rows deleted', async () => {
      let stored = 0;
      let writing = true;
      const writer = async (nodeId: number) => {
        for (let round = 0; round < 30; round++) {
          const sys_info = Array.from({ length: 40 }, (_, row) => cpu(round * 60 + row, 1));
          await put({ sys_info }, nodeId);
          stored += sys_info.length;
        }
      };
      const pruner = async () => {
        while (writing) await store.prune(HOUR, { ...keep, rowsS: -900 });
      };
      const pruning = pruner();
      await Promise.all([1, 2, 3].map(writer));
      writing = false;
      await pruning;
      await store.prune(HOUR, keep);
      const lines = await points({ column: 'cpu_util_samples' });
      const counted = lines.flatMap((line) => line.slice(1)).reduce((sum, point) => sum + Number(point[1]), 0);
      expect(counted).toBe(stored);
    });

    it.each<[Partial<SeriesQuery>, RegExp]>([
      [{ table: 'packet_info; drop table x' }, /no series of table packet_info; drop.*there are: sys_info/],
      [{ column: 'colour' }, /no series of column colour of sys_info; there are: cpu_util, /],
      [{ session_id: 1 }, /no series of sys_info by session_id; there are: node_id/],
      [{ step: 90 }, /step 90 s is no multiple of 60 s/],
      [{ to: HOUR }, /to \d+ is not after from/],
      [{ step: 1 }, /are 7200 points, the bound is 2000: take a step of 4 s or more/],
    ])('refuse %j', async (query, message) => {
      await expect(points(query)).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
      await expect(points(query)).rejects.toThrow(message);
    });
  });
}
