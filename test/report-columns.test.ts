import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { OrchestratorError } from '../src/contracts/errors.js';
import type { Report } from '../src/contracts/report.js';
import { decodeReport, encodeReport } from '../src/contracts/report-columns.js';
import { arbitraryReport } from '../src/store/conformance.testing.js';

/** Null and absent mean the same in a report. */
const withoutNulls = (report: unknown): unknown =>
  JSON.parse(JSON.stringify(report, (_, value) => (value === null ? undefined : value)));

test('whatever a report holds comes back as it was', () => {
  fc.assert(
    fc.property(arbitraryReport, fc.option(fc.string(), { nil: undefined }), (rows, report_id) => {
      const report = { node_id: 3, report_id, ...rows };
      const nested = (value: unknown) =>
        JSON.parse(
          JSON.stringify(value, (_, one) =>
            Array.isArray(one) && one.length > 0 && one.every((gpu) => gpu?.gpu_id !== undefined)
              ? JSON.stringify(one)
              : one,
          ),
        );
      const decoded = decodeReport(encodeReport(report));
      expect(withoutNulls(nested(decoded))).toEqual(withoutNulls(nested(report)));
    }),
    { numRuns: 50 },
  );
});

test('numbers of every size and sign are exact', () => {
  const special = [
    0,
    -0,
    1,
    -1,
    0.1,
    2 ** 51,
    2 ** 52 + 1,
    -(2 ** 53),
    1764077707.1234567,
    5e-324,
    1.7e308,
    2 ** 31,
    -(2 ** 31),
  ];
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constantFrom(...special), fc.double({ noNaN: true }), fc.maxSafeInteger())),
      (values) => {
        const rows = values.map((size) => ({ size })) as unknown as Report['packet_info'];
        const decoded = decodeReport(encodeReport({ packet_info: rows })) as Report;
        expect(decoded.packet_info!.map(({ size }) => size)).toEqual(values);
      },
    ),
  );
});

test('compressed it is less than half of compressed JSON', () => {
  const packet_info = Array.from({ length: 2000 }, (_, at) => ({
    ...{ timestamp: 1764077707.1234567 + at / 117, session_id: 1, handler_id: at % 5, sequence: at >> 3 },
    ...{
      event: (['start', 'end', 'sent', 'recv'] as const)[at & 3]!,
      size: at % 2 === 0 ? 40_000 + ((at * 7919) % 1000) : null,
    },
  }));
  const [columns, json] = [encodeReport({ packet_info }), JSON.stringify({ packet_info })].map(
    (bytes) => gzipSync(bytes).length,
  );
  expect(columns! / json!).toBeLessThan(0.5);
});

test('cut, changed or invented bytes are refused with the place, and cost nothing', () => {
  const bytes = encodeReport({
    node_id: 1,
    packet_info: [{ timestamp: 1, session_id: 1, handler_id: 1, sequence: 1, event: 'end' }],
  });
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
      const changed = Uint8Array.from(bytes, (byte, index) => (index === at ? value : byte));
      for (const one of [changed, bytes.subarray(0, at)]) {
        try {
          decodeReport(one);
        } catch (error) {
          expect((error as OrchestratorError).code).toBe('REPORT_INVALID');
        }
      }
    }),
  );
  const withHead = (head: unknown) => {
    const text = new TextEncoder().encode(JSON.stringify(head));
    const out = new Uint8Array(4 + text.length);
    new DataView(out.buffer).setUint32(0, text.length, true);
    out.set(text, 4);
    return out;
  };
  const of = (columns: unknown, rows: unknown = 1) => withHead({ tables: { sys_info: { rows, columns } } });
  expect(() => decodeReport(of([['timestamp', 'int', false]]))).toThrow(/sys_info.timestamp does not end/);
  expect(() => decodeReport(of([], 1e9))).toThrow(/1000000000 rows, the bound is 100000/);
  expect(() => decodeReport(of([['__proto__', 'json', false, [{}]]]))).toThrow(/columns of sys_info/);
  expect(() => decodeReport(of([['a; drop table sys_info', 'json', false, [1]]]))).toThrow(/columns of sys_info/);
  expect(() => decodeReport(new Uint8Array([255, 255, 255, 255, 1]))).toThrow(/does not end/);
  expect(() => decodeReport(withHead(null))).toThrow(/no tables/);
});
