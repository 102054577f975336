/** The ledger's promise over random graphs, cuts and kills: `all` delivers exactly once, `latest` accounts exactly once. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { withTimeout } from '../std/deferred.js';
import { seededRandom } from '../std/prng.js';
import { type ClusterOptions, TestCluster, type Topology } from './cluster.testing.js';

const PACKETS = 150;

const anyTopology: fc.Arbitrary<Topology> = fc
  .array(fc.array(fc.nat(), { minLength: 1, maxLength: 3 }), { minLength: 0, maxLength: 4 })
  .map((choices) => {
    const inputs: number[][] = [
      [],
      ...choices.map((picks, index) => [...new Set(picks.map((pick) => pick % (index + 1)))]),
    ];
    const fed = new Set(inputs.flat());
    const leaves = inputs.map((_, handler) => handler).filter((handler) => !fed.has(handler));
    return { inputs: [...inputs, leaves] };
  });

interface Faults {
  /** Mean packets at the sink between two faults: counted in progress, because most of the time is spent reconnecting. */
  readonly gap: number;
  readonly kills: 'none' | 'workers' | 'all';
}

async function play(options: ClusterOptions, faults: Faults): Promise<TestCluster> {
  const cluster = new TestCluster(options);
  const { random, inputs } = options;
  let over = false;
  const breakSomething = (): void => {
    if (faults.kills === 'none' || random() < 0.4) cluster.cut();
    else if (faults.kills === 'all') cluster.restart(Math.floor(random() * inputs.length));
    else if (inputs.length > 2) cluster.restart(1 + Math.floor(random() * (inputs.length - 2)));
  };
  const breaking = (async () => {
    for (let next = random() * faults.gap; !over; await new Promise(setImmediate)) {
      if (cluster.records.length < next) continue;
      next = cluster.records.length + 2 * random() * faults.gap;
      for (let together = Math.floor(random() * 3); together >= 0; together--) breakSomething();
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

const anySeed = fc.integer();
const anyGap = fc.integer({ min: 3, max: 60 });
const anyConcurrency = fc.integer({ min: 1, max: 4 });

const upTo = (count: number) => Array.from({ length: count }, (_, sequence) => sequence);

test.each(['none', 'workers', 'all'] as const)(
  'all: every sequence once, in order, whole (kills: %s)',
  async (kills) => {
    await fc.assert(
      fc.asyncProperty(anyTopology, anySeed, anyGap, anyConcurrency, async (topology, seed, gap, concurrency) => {
        const random = seededRandom(seed);
        const options = { ...topology, delivery: 'all', packets: PACKETS, random, concurrency } as const;
        const cluster = await play(options, { gap, kills });
        expect(cluster.records).toEqual(upTo(PACKETS).map((sequence) => ({ sequence, what: String(sequence) })));
      }),
      { numRuns: 15 },
    );
  },
);

test.each(['none', 'workers', 'all'] as const)('latest: delivered + dropped = emitted (kills: %s)', async (kills) => {
  await fc.assert(
    fc.asyncProperty(anyTopology, anySeed, anyGap, anyConcurrency, async (topology, seed, gap, concurrency) => {
      const random = seededRandom(seed);
      const options = { ...topology, delivery: 'latest', packets: PACKETS, random, concurrency } as const;
      const cluster = await play(options, { gap, kills });
      const total = cluster.sink.meter.lastSequence!;
      expect(total).toBeGreaterThanOrEqual(PACKETS);
      expect(cluster.records.map(({ sequence }) => sequence)).toEqual(upTo(total));
      for (const { sequence, what } of cluster.records) {
        if (/^\d+$/.test(what)) expect(what).toBe(String(sequence));
      }
    }),
    { numRuns: 15 },
  );
});

test('links of a `latest` session that deliver `all` lose nothing, whichever workers are killed', async () => {
  await fc.assert(
    fc.asyncProperty(anyTopology, fc.integer(), fc.integer({ min: 3, max: 60 }), async (topology, seed, gap) => {
      const random = seededRandom(seed);
      const options = { ...topology, delivery: 'latest', packets: PACKETS, random } as const;
      const cluster = await play({ ...options, linkDelivery: () => 'all' }, { gap, kills: 'workers' });
      expect(cluster.records).toEqual(upTo(PACKETS).map((sequence) => ({ sequence, what: String(sequence) })));
    }),
    { numRuns: 15 },
  );
});

test.each(['none', 'workers', 'all'] as const)(
  'links that deliver `latest` in an `all` session: delivered + dropped = emitted, and the rest loses nothing (kills: %s)',
  async (kills) => {
    await fc.assert(
      fc.asyncProperty(
        anyTopology,
        fc.integer(),
        fc.integer({ min: 3, max: 60 }),
        fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
        async (topology, seed, gap, isLatest) => {
          const random = seededRandom(seed);
          const linkDelivery = (source: number) => (isLatest[source] === true ? 'latest' : undefined);
          const options = { ...topology, delivery: 'all', packets: PACKETS, random, linkDelivery } as const;
          const cluster = await play(options, { gap, kills });
          expect(cluster.records.map(({ sequence }) => sequence)).toEqual(upTo(PACKETS));
          for (const { sequence, what } of cluster.records) {
            if (/^\d+$/.test(what)) expect(what).toBe(String(sequence));
            else expect(isLatest.slice(0, topology.inputs.length - 1)).toContain(true);
          }
        },
      ),
      { numRuns: 15 },
    );
  },
);

test('all: windows of any size never make a fork wait for itself', async () => {
  const anyWindow = fc.record({
    windowPackets: fc.integer({ min: 1, max: 5 }),
    windowBytes: fc.integer({ min: 1, max: 9 }),
  });
  await fc.assert(
    fc.asyncProperty(
      anyTopology,
      fc.integer(),
      fc.array(anyWindow, { minLength: 6, maxLength: 6 }),
      async (topology, seed, windows) => {
        const random = seededRandom(seed);
        const options = { ...topology, delivery: 'all', packets: 40, random, windows } as const;
        const cluster = await play(options, { gap: 15, kills: 'workers' });
        expect(cluster.records.map(({ what }) => what)).toEqual(upTo(40).map(String));
      },
    ),
    { numRuns: 20 },
  );
});

test('the faults of these tests do break connections', async () => {
  const chain = { inputs: [[], [0], [1]] };
  const random = seededRandom(3);
  const cluster = await play({ ...chain, delivery: 'all', packets: PACKETS, random }, { gap: 5, kills: 'all' });
  expect(cluster.connections).toBeGreaterThan(20);
});

test('all: errors and silence of a handler cost their packets only', async () => {
  const diamond = { inputs: [[], [0], [0, 1], [2]] };
  const failing = new Map([[1, new Set([3, 4, 90])]]);
  const silent = new Map([[2, new Set([10, 11])]]);
  const random = seededRandom(5);
  const options = { ...diamond, delivery: 'all', packets: PACKETS, random, failing, silent } as const;
  const cluster = await play(options, { gap: 20, kills: 'workers' });
  const expected = upTo(PACKETS)
    .filter((sequence) => !silent.get(2)!.has(sequence))
    .map((sequence) => ({ sequence, what: failing.get(1)!.has(sequence) ? 'error 1' : String(sequence) }));
  expect(cluster.records).toEqual(expected);
});
