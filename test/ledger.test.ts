/**
 * The ledger's promise from the handlers to the sums: whatever dies, is sent again, comes late or gets lost, every
 * sequence counts exactly once; and where nothing got lost, under the cause that it ended with.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { coarsen } from '../src/contracts/ledger.js';
import { type LedgerRow, SINK_FATES, type SinkFate } from '../src/contracts/report.js';
import { TestCluster } from '../src/handler-kit/cluster.testing.js';
import { withTimeout } from '../src/std/deferred.js';
import { seededRandom } from '../src/std/prng.js';
import { reportInput } from '../src/store/conformance.testing.js';
import type { LedgerAccounts, SinkAccount } from '../src/store/ledger-accounts.js';
import { MemoryTelemetryStore } from '../src/store/memory/memory-telemetry-store.js';

const SINK = 7;

async function accountsOf(rows: readonly LedgerRow[], since?: number): Promise<LedgerAccounts> {
  const store = new MemoryTelemetryStore();
  await store.storeReports([reportInput({ ledger: [...rows] }, 1, 1)]);
  return store.ledger({ session_id: 1, since });
}

function sumOf({ fates, settled, unreported }: SinkAccount): number {
  return fates.reduce((sum, { packets }) => sum + packets, settled + unreported);
}

const packetsOf = ({ fates }: SinkAccount, fate: SinkFate) =>
  fates.filter((one) => one.fate === fate).reduce((sum, { packets }) => sum + packets, 0);

interface Life {
  readonly back: number;
  readonly count: number;
  readonly told: number;
  readonly knowsSettled: boolean;
}

/** What a life of the sink does: how far back it begins, how many sequences it sees, how many of its rows get through. */
const anyLife: fc.Arbitrary<Life> = fc.record({
  back: fc.nat(8),
  count: fc.integer({ min: 1, max: 60 }),
  told: fc.double({ min: 0, max: 1, noNaN: true }),
  knowsSettled: fc.boolean(),
});
const anyFates = fc.array(fc.constantFrom(...SINK_FATES), { minLength: 1, maxLength: 40 });

interface Played {
  readonly rows: LedgerRow[];
  /** One past the highest sequence that any row tells of. */
  readonly next: number;
}

/** Rows of one life after another; every sequence has one fate whoever tells of it. */
function play(lives: readonly Life[], fateOf: (sequence: number) => SinkFate): Played {
  const rows: LedgerRow[] = [];
  let at = 0;
  lives.forEach(({ back, count, told, knowsSettled }, life) => {
    const account = { session_id: 1, handler_id: SINK, incarnation: 1000 + life, at_handler: null };
    const first = Math.max(0, at - back);
    const run = (fate: LedgerRow['fate'], from: number, to: number): LedgerRow => ({
      ...{ ...account, timestamp: life + 1, fate, first_sequence: from, last_sequence: to, packets: to - from + 1 },
    });
    if (knowsSettled && first > 0) rows.push(run('settled', 0, first - 1));
    for (let sequence = first; sequence < first + Math.floor(count * told); sequence++) {
      rows.push(run(fateOf(sequence), sequence, sequence));
    }
    at = first + count;
  });
  return { rows, next: Math.max(0, ...rows.map((row) => row.last_sequence + 1)) };
}

const emitted = (next: number): LedgerRow => ({
  ...{ timestamp: 1, session_id: 1, handler_id: 0, incarnation: 1, fate: 'emitted', at_handler: null },
  ...{ first_sequence: 0, last_sequence: next - 1, packets: next },
});

test('rows of lives that overlap, die untold, come late, twice or not at all: the sum is exact', async () => {
  await fc.assert(
    fc.asyncProperty(
      ...([fc.array(anyLife, { minLength: 1, maxLength: 6 }), anyFates, fc.integer(), fc.nat(3)] as const),
      async (lives, fates, seed, lossy) => {
        const random = seededRandom(seed);
        const { rows } = play(lives, (sequence) => fates[sequence % fates.length]!);
        const arrived = rows.flatMap((row) => {
          const lot = random();
          return lossy > 0 && lot < 0.1 * lossy ? [] : lot > 0.9 ? [row, { ...row }] : [row];
        });
        const shuffled = arrived.map((row) => ({ row, at: random() })).sort((a, b) => a.at - b.at);
        const some = shuffled.map(({ row }) => row);
        const sent = random() < 0.5 ? some : coarsen(some);
        const next = Math.max(0, ...sent.map((row) => row.last_sequence + 1));
        const { sinks } = await accountsOf([...sent, emitted(next + 5)]);
        expect(sinks).toHaveLength(next === 0 ? 0 : 1);
        if (next === 0) return;
        expect(sinks[0]).toMatchObject({ handler_id: SINK, first: 0, next });
        expect(sumOf(sinks[0]!)).toBe(next);
        for (const { packets } of sinks[0]!.fates) expect(packets).toBeGreaterThan(0);
      },
    ),
    { numRuns: 300 },
  );
});

test('what is told counts under the cause that it ended with, however often it is told', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyLife, { minLength: 1, maxLength: 6 }), anyFates, async (lives, fates) => {
      const fateOf = (sequence: number) => fates[sequence % fates.length]!;
      const { rows, next } = play(lives, fateOf);
      if (next === 0) return;
      const { sinks } = await accountsOf([...rows, emitted(next)]);
      const told = new Set(rows.filter((row) => row.fate !== 'settled').map((row) => row.first_sequence));
      for (const fate of SINK_FATES) {
        expect(packetsOf(sinks[0]!, fate), fate).toBe([...told].filter((sequence) => fateOf(sequence) === fate).length);
      }
      const floor = Math.max(-1, ...rows.filter((row) => row.fate === 'settled').map((row) => row.last_sequence));
      const untold = Array.from({ length: next }, (_, sequence) => sequence).filter((sequence) => !told.has(sequence));
      expect(sinks[0]!.settled).toBe(untold.filter((sequence) => sequence <= floor).length);
    }),
    { numRuns: 300 },
  );
});

test('windows side by side sum to the whole', async () => {
  await fc.assert(
    fc.asyncProperty(
      ...([fc.array(anyLife, { minLength: 1, maxLength: 6 }), anyFates, fc.integer({ min: 1, max: 7 })] as const),
      async (lives, fates, since) => {
        const { rows, next } = play(lives, (sequence) => fates[sequence % fates.length]!);
        if (next === 0) return;
        const all = [...rows, emitted(next)];
        const early = (await accountsOf(all.filter((row) => row.timestamp < since))).sinks[0];
        const late = (await accountsOf(all, since)).sinks[0];
        const begin = early?.next ?? 0;
        expect(late).toMatchObject({ first: begin, next });
        expect(sumOf(late!)).toBe(next - begin);
      },
    ),
    { numRuns: 300 },
  );
});

const PACKETS = 150;
const GRAPHS = {
  chain: [[], [0], [1]],
  diamond: [[], [0], [0], [1, 2], [3]],
  wide: [[], [0], [0, 1], [0], [1, 2, 3]],
};

async function run(
  inputs: number[][],
  delivery: 'latest' | 'all',
  seed: number,
  sinkToo: boolean,
): Promise<TestCluster> {
  const random = seededRandom(seed);
  const cluster = new TestCluster({ inputs, delivery, packets: PACKETS, random });
  let over = false;
  const breaking = (async () => {
    for (let next = 5; !over; await new Promise(setImmediate)) {
      if (cluster.records.length < next) continue;
      next = cluster.records.length + 20 * random();
      if (random() < 0.4) cluster.cut();
      else cluster.restart(Math.floor(random() * (inputs.length - (sinkToo ? 0 : 1))));
    }
  })();
  try {
    await withTimeout(cluster.ended.promise, 20_000, () => new Error(`stalled after ${cluster.records.length}`));
  } finally {
    over = true;
    await breaking;
    await cluster.close();
  }
  return cluster;
}

const anyRun = [fc.constantFrom(...Object.values(GRAPHS)), fc.constantFrom('latest', 'all'), fc.integer()] as const;

test('handlers and cuts: the account says what the sink itself recorded, cause by cause', async () => {
  await fc.assert(
    fc.asyncProperty(...anyRun, async (inputs, delivery, seed) => {
      const cluster = await run(inputs, delivery, seed, false);
      const { sources, sinks } = await accountsOf(cluster.ledger);
      const total = cluster.sink.meter.lastSequence!;
      // What a killed source had emitted last is known from its sinks only.
      expect(sources).toMatchObject([{ handler_id: 0, first: 0 }]);
      expect(sources[0]!.next).toBeLessThanOrEqual(total);
      const counts: Record<string, number> = {};
      for (const { what } of cluster.records) {
        const key = /^\d+$/.test(what) ? 'delivered ' : what;
        counts[key] = (counts[key] ?? 0) + 1;
      }
      const told = sinks[0]!.fates.map(({ fate, at_handler, packets }) => [`${fate} ${at_handler ?? ''}`, packets]);
      expect(Object.fromEntries(told)).toEqual(counts);
      expect(sinks[0]).toMatchObject({ first: 0, next: total, settled: 0, unreported: 0 });
    }),
    { numRuns: 20 },
  );
});

test('a killed sink: the sum is exact, and what a durable sink had settled is never called lost', async () => {
  await fc.assert(
    fc.asyncProperty(...anyRun, async (inputs, delivery, seed) => {
      const cluster = await run(inputs, delivery, seed, true);
      const { sinks } = await accountsOf(cluster.ledger);
      const total = cluster.sink.meter.lastSequence!;
      expect(sinks[0]).toMatchObject({ first: 0, next: total, unreported: 0 });
      expect(sumOf(sinks[0]!)).toBe(total);
      if (delivery === 'all') expect(packetsOf(sinks[0]!, 'delivered') + sinks[0]!.settled).toBe(total);
    }),
    { numRuns: 20 },
  );
});
