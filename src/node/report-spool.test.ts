import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LedgerRow, PacketInfo, Report } from '../contracts/report.js';
import { REPORT_ROWS, ReportSpool } from './report-spool.js';

const packets = (count: number, from = 0): PacketInfo[] =>
  Array.from({ length: count }, (_, index) => ({
    ...{ timestamp: 1, session_id: 1, handler_id: 1, sequence: from + index, event: 'start' as const },
  }));

function taken(spool: ReportSpool): Report[] {
  const reports: Report[] = [];
  for (let report = spool.peek(); report !== undefined; report = spool.peek()) {
    reports.push(JSON.parse(gunzipSync(report.bytes).toString()) as Report);
    spool.remove(report);
  }
  return reports;
}

test('rows of all kinds leave in one report', async () => {
  const spool = new ReportSpool();
  spool.add({ packet_info: packets(2), sys_info: [{ timestamp: 3, cpu_util: 5 }] });
  await spool.seal(7);
  expect(taken(spool)).toEqual([
    { node_id: 7, report_id: expect.any(String), sys_info: [{ timestamp: 3, cpu_util: 5 }], packet_info: packets(2) },
  ]);
  await spool.seal(7);
  expect(spool.peek()).toBeUndefined();
});

test('many rows are split, none is lost or repeated, and each report has its own id', async () => {
  const spool = new ReportSpool();
  spool.add({ packet_info: packets(REPORT_ROWS * 2 + 5) });
  await spool.seal(null);
  const reports = taken(spool);
  expect(reports.map((report) => report.packet_info?.length)).toEqual([REPORT_ROWS, REPORT_ROWS, 5]);
  expect(reports.flatMap((report) => report.packet_info?.map((row) => row.sequence))).toEqual(
    Array.from({ length: REPORT_ROWS * 2 + 5 }, (_, index) => index),
  );
  expect(new Set(reports.map((report) => report.report_id)).size).toBe(3);
  expect(reports[0]).not.toHaveProperty('node_id');
});

test('at the bound the oldest rows go, and every row is either kept or counted', async () => {
  const step = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constant('seal' as const));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const spool = new ReportSpool({ rowsMax: 50 });
      let added = 0;
      let lost = 0;
      for (const one of steps) {
        if (one === 'seal') await spool.seal(1);
        else {
          spool.add({ packet_info: packets(one, added) });
          added += one;
        }
        expect(spool.rows).toBeLessThanOrEqual(50);
        lost += spool.takeLostRows();
      }
      await spool.seal(1);
      lost += spool.takeLostRows();
      const kept = taken(spool).flatMap((report) => report.packet_info ?? []);
      expect(kept.length + lost).toBe(added);
      expect(kept.map((row) => row.sequence)).toEqual(kept.map((_, index) => lost + index));
    }),
    { numRuns: 50 },
  );
});

const run = (sequence: number, fate: LedgerRow['fate'], incarnation = 1): LedgerRow => ({
  ...{ timestamp: sequence, session_id: 1, handler_id: 5, incarnation, fate, at_handler: null },
  ...{ first_sequence: sequence, last_sequence: sequence, packets: 1 },
});

test('ledger rows side by side with one cause leave as one', async () => {
  const spool = new ReportSpool();
  for (const sequence of [0, 1, 2]) spool.add({ ledger: [run(sequence, 'delivered'), run(sequence, 'emitted')] });
  spool.add({ ledger: [run(3, 'late'), run(4, 'delivered', 2)] });
  await spool.seal(1);
  const rows = taken(spool).flatMap((report) => report.ledger ?? []);
  expect(rows.map((row) => [row.fate, row.first_sequence, row.last_sequence, row.packets, row.incarnation])).toEqual([
    ...[
      ['delivered', 0, 2, 3, 1],
      ['emitted', 0, 2, 3, 1],
    ],
    ...[
      ['late', 3, 3, 1, 1],
      ['delivered', 4, 4, 1, 2],
    ],
  ]);
});

test('ledger rows outlive the bound of the spool: by account and cause nothing is missing', async () => {
  const step = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constant('seal' as const));
  const fates = fc.array(fc.constantFrom('delivered' as const, 'late' as const), { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), fates, async (steps, pattern) => {
      const spool = new ReportSpool({ rowsMax: 50 });
      let sequence = 0;
      const expected = { delivered: 0, late: 0 };
      for (const one of steps) {
        if (one === 'seal') await spool.seal(1);
        else {
          const fate = pattern[sequence % pattern.length]!;
          spool.add({ packet_info: packets(one), ledger: [run(sequence, fate)] });
          expected[fate] += 1;
          sequence += 1;
        }
      }
      await spool.seal(1);
      const rows = taken(spool).flatMap((report) => report.ledger ?? []);
      const told = { delivered: 0, late: 0 };
      for (const row of rows) told[row.fate as 'delivered'] += row.packets;
      expect(told).toEqual(expected);
    }),
    { numRuns: 50 },
  );
});
