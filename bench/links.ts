/**
 * Packets from process to process over loopback: raw TCP with the link's framing as the limit, the link with everything
 * on, and what else could carry them. Saturation gives packets per second and CPU per packet (both ends), a flow of
 * 30 packets per second the time one way. Ratios are to raw TCP at the same size in the same run.
 */
import { type BenchCase, type BenchRow, runCases } from './harness.js';
import { Pair } from './links/pair.js';
import { printLinksTable } from './links/table.js';
import { TRANSPORTS } from './links/transports.js';
import type { BenchContext } from './run.js';

const SIZES = [
  { name: '1 KB', bytes: 1024 },
  { name: '64 KB', bytes: 65_536 },
  { name: 'raw frame', bytes: 640 * 480 * 3 },
];
const LIMIT = TRANSPORTS[0]!.name;

export async function run({ rounds, rawFile }: BenchContext): Promise<BenchRow[]> {
  const pairs = TRANSPORTS.map((transport) => ({ name: transport.name, pair: new Pair(transport) }));
  try {
    for (const { pair } of pairs) await pair.open();
    const cases: BenchCase[] = SIZES.flatMap((size) =>
      pairs.map(({ name, pair }) => ({
        name: `${size.name}: ${name}`,
        measure: async () => ({ ...(await pair.saturate(size.bytes)), ...(await pair.pace(size.bytes)) }),
      })),
    );
    return await runCases({
      ...{ bench: 'links', cases, rounds, rawFile },
      units: { packets: '/s', cpu: 'ms', p50: 'ms', p99: 'ms' },
      lessIsBetter: ['cpu', 'p50', 'p99'],
      referenceOf: (name) => `${name.split(':', 1)[0]}: ${LIMIT}`,
    });
  } finally {
    for (const { pair } of pairs) pair.close();
  }
}

export const print = printLinksTable;
